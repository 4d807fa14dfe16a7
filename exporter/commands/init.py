"""`init`: writes a first configuration from a few answers. It never asks for a key, only where one is."""

import re
from collections.abc import Collection
from pathlib import Path

import click
import yaml

from exporter.commands.usage import WAYS
from exporter.config import parse_config
from exporter.errors import ConfigError

_SHELLS_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KEY_BEGINS = "vvx_"
"""What keys of the API begin with (section Authentication of its documentation)."""


def command(
    config_file: Path,
    account: str | None,
    api_key_env: str | None,
    api_key_file: str | None,
    ids: tuple[str, ...],
) -> None:
    """Write a configuration; see `usage`."""
    if config_file.exists():
        raise ConfigError(f"{config_file} is there already; move it away, or name another with --config.file")
    if api_key_env and api_key_file:
        raise click.UsageError("give --api-key-env or --api-key-file, not both")
    try:
        account = account or click.prompt(
            "Name of the account, as it shall show in metrics", default="studio"
        )
        if not api_key_env and not api_key_file:
            place = click.prompt(
                "Where is its API key", type=click.Choice(["environment", "file"]), default="environment"
            )
            if place == "environment":
                api_key_env = click.prompt("Name of the variable (not the key)", default="VIVIX_API_KEY")
            else:
                api_key_file = click.prompt("Path of the file", default=f"secrets/{account}.key")
        ids = ids or _ask_for_ways()
    except click.Abort:
        raise click.UsageError(
            "answers are missing: give --account, --api-key-env or --api-key-file, and --ids"
        ) from None
    for answer in (account, api_key_env, api_key_file):
        _refuse_key(answer)
    if api_key_env and not _SHELLS_NAME.fullmatch(api_key_env):
        raise click.UsageError(
            "a variable's name is of letters, digits and underscores, and begins with no digit: a shell can "
            "export no other"
        )
    text = configuration(account, api_key_env, api_key_file, ids)
    parse_config(text, config_file, secrets=False)
    try:
        _write(config_file, text)
    except OSError as error:
        raise ConfigError(f"cannot write {config_file}: {error.strerror}") from error
    click.echo(f"Wrote {config_file}. Next:")
    for line in next_steps(config_file, api_key_env, api_key_file, ids):
        click.echo(f"  {line}")


def _write(path: Path, text: str) -> None:
    with path.open("x", encoding="utf-8") as file:
        try:
            file.write(text)
            file.flush()
        except OSError:
            path.unlink()  # half a file would be there already when the command is run again
            raise


def _ask_for_ways() -> tuple[str, ...]:
    click.echo("How do ids of generations come in?")
    for way, meaning in WAYS.items():
        click.echo(f"  {way:<10}{meaning}")
    while True:
        answer = click.prompt("One or several, separated by commas", default="http")
        ways = tuple(dict.fromkeys(part.strip().lower() for part in answer.split(",")))
        if set(ways) <= WAYS.keys():
            return ways
        click.echo(f"Expected some of {', '.join(WAYS)}.")


def _refuse_key(answer: str | None) -> None:
    """Refuse an answer that is a key: it would be written into a file that others read."""
    if answer and answer.startswith(_KEY_BEGINS):
        raise click.UsageError(
            "that is a key, which does not belong into the configuration: put it into a variable or a file, "
            "and give the name of that"
        )


def configuration(
    account: str, api_key_env: str | None, api_key_file: str | None, ids: Collection[str]
) -> str:
    """Return a commented configuration. Its answers are quoted where YAML needs that."""
    lines = [
        "# Made by `vivix-exporter init`; config.example.yaml has every key with its default.",
        "# No key, token or secret stands here: this file may be kept with your code.",
        "accounts:",
        f"  - name: {_scalar(account)}    # the label `account` of every metric",
        "    # Read again while the exporter runs: a key that is rotated needs no restart.",
        f"    api_key_env: {_scalar(api_key_env)}"
        if api_key_env
        else f"    api_key_file: {_scalar(api_key_file)}",
    ]
    if "files" in ids:
        lines += [
            "    # .txt has one id a line; files are followed while they are written.",
            "    generation_files: [ids/*.txt]",
        ]
    if "webhooks" in ids:
        lines += [
            f"    # Deliveries come to /webhooks/{account}, signed with the secret in this variable.",
            "    webhook_secret_env: VIVIX_WEBHOOK_SECRET",
        ]
    if "http" in ids:
        lines += [
            "web:",
            "  # POST /api/v1/generations asks for the token in this variable.",
            "  registration_token_env: VIVIX_EXPORTER_TOKEN",
        ]
    return "\n".join(lines) + "\n"


def next_steps(
    config_file: Path, api_key_env: str | None, api_key_file: str | None, ids: Collection[str]
) -> list[str]:
    """Return what is left to do, a line each."""
    steps = [
        f"export {api_key_env}=…"
        if api_key_env
        else f"put the key into {api_key_file}, readable by you alone"
    ]
    if "http" in ids:
        steps.append(
            "export VIVIX_EXPORTER_TOKEN=…      (a text of your own that applications register with)"
        )
    if "webhooks" in ids:
        steps.append("export VIVIX_WEBHOOK_SECRET=…      (the one that the vendor signs with)")
    named = f" --config.file {config_file}"
    return [*steps, f"vivix-exporter check{named} --online", f"vivix-exporter run{named}"]


def _scalar(text: str | None) -> str:
    if not text or not text.isprintable():
        raise click.UsageError(f"expected text of one line, not {text!r}")
    return yaml.safe_dump(text, width=10_000, allow_unicode=True).splitlines()[0]
