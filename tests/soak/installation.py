"""The files that one exporter is configured by, and how they are replaced while it runs."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from exporter.clock import MICROS

RETENTION_S = 3600
"""Simulated seconds: short, so that ended generations are forgotten during the run."""
GIVE_UP_S = 1200
RATE_LIMIT_SHARE = 0.5

BROKEN_CONFIGURATIONS = (
    "accounts: [{name: studio, api_kye_file: keys/studio}]\n",
    "accounts: !env ACCOUNTS\n",
    "state: {retention: 2026-02-30}\naccounts: []\n",
    'accounts: [{name: studio, api_key_file: "keys\\0"}]\n',
    "accounts: *studio\n",
    "accounts: [{name: studio, rate_limit_share: 0x_}]\n",
    "accounts: !!binary '=a'\n",
    "accounts: [",
)
"""Configurations that a reload must refuse, leaving the former one in force."""


def replace_file(path: Path, text: str) -> None:
    """Replace a file in one step, as a careful program does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(text)
    fresh.rename(path)


class Installation:
    """A folder with configuration, secrets and files of ids.

    `present` are the accounts that the configuration names at present; `listed` the ids that it lists by
    account, the tokens and secrets those that are written down now.
    """

    def __init__(
        self, folder: Path, base_url: str, with_webhooks: Mapping[str, bool], timeout_s: float
    ) -> None:
        self.folder = folder
        self.config = folder / "config.yaml"
        self.base_url = base_url
        self.present = dict.fromkeys(with_webhooks, True)
        self.listed: dict[str, list[str]] = {name: [] for name in with_webhooks}
        self.with_webhooks = with_webhooks
        self.timeout_s = timeout_s
        self.secrets_ever: set[str] = set()

    def write_config(self) -> None:
        """Write the configuration of the accounts present."""
        replace_file(self.config, yaml.safe_dump(self._configuration(), sort_keys=False))

    def write_broken_config(self, number: int) -> str:
        """Write one that must be refused; returns it."""
        text = BROKEN_CONFIGURATIONS[number % len(BROKEN_CONFIGURATIONS)]
        replace_file(self.config, text)
        return text

    def write_key(self, account: str, key: str) -> None:
        """Write down an API key."""
        self.secrets_ever.add(key)
        replace_file(self.folder / "keys" / account, key + "\n")

    def write_webhook_secrets(self, account: str, *secrets: str) -> None:
        """Write down the secrets of an account's webhooks, several while they are rotated."""
        self.secrets_ever.update(secrets)
        replace_file(self.folder / "secrets" / account, "\n".join(secrets) + "\n")

    def write_token(self, token: str) -> None:
        """Write down the registration token."""
        self.secrets_ever.add(token)
        replace_file(self.folder / "secrets" / "token", token + "\n")

    def ids_file(self, account: str, name: str) -> Path:
        """Where one of an account's files of ids lies."""
        return self.folder / "ids" / account / name

    def write_ids(self, account: str, name: str, items: Sequence[tuple[str, str | None]]) -> None:
        """Replace a file of ids, each with its traceparent or None; `.txt` takes ids alone."""
        replace_file(self.ids_file(account, name), text_of(name, items))

    def _configuration(self) -> dict[str, object]:
        accounts: list[dict[str, object]] = []
        for name, webhooks in self.with_webhooks.items():
            if not self.present[name]:
                continue
            account: dict[str, object] = {
                "name": name,
                "base_url": self.base_url,
                "api_key_file": f"keys/{name}",
                "rate_limit_share": RATE_LIMIT_SHARE,
                "generations": list(self.listed[name]),
                "generation_files": [f"ids/{name}/*.txt", f"ids/{name}/*.json"],
            }
            if webhooks:
                account["webhook_secret_file"] = f"secrets/{name}"
            accounts.append(account)
        return {
            "accounts": accounts,
            "polling": {
                "request_timeout": f"{round(self.timeout_s * MICROS) // 1_000}ms",
                "give_up_after": f"{GIVE_UP_S}s",
            },
            "state": {"retention": f"{RETENTION_S}s"},
            "web": {"registration_token_file": "secrets/token"},
        }


def text_of(name: str, items: Sequence[tuple[str, str | None]]) -> str:
    """The text of a file of ids of this name."""
    if name.endswith(".txt"):
        return "# written by the soak\n" + "".join(f"{id}\n" for id, _ in items)
    return json.dumps([id if parent is None else {"id": id, "traceparent": parent} for id, parent in items])
