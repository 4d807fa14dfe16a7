"""From a file to a configuration, or to everything that is wrong with it, each with its line and key path."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import BaseModel, ValidationError

from exporter.config.file import read_file
from exporter.config.nodes import Loc, Problem, compose, construct, find
from exporter.config.problems import problem
from exporter.config.schema import Config, Document
from exporter.config.secret import SecretSource
from exporter.config.urls import check_state_place, check_state_url, state_at
from exporter.errors import ConfigError

MAX_FILE = 16 << 20
"""Bytes of a configuration: 400,000 ids. Nodes need a hundred times as much memory as text."""
MAX_PROBLEMS = 50
"""Problems that one error lists."""

_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class LocatedConfig:
    """A configuration, and the place of each of its keys."""

    config: Config
    path: Path
    root: yaml.Node

    def line(self, loc: Loc, message: str) -> str:
        """Return a line of a message about the value at `loc`."""
        return Problem(find(self.root, loc), loc, message).line(self.path)


@dataclass(frozen=True, slots=True)
class NamedSource:
    """A source of secrets and the key that names it; `several` where it may hold more than one."""

    loc: Loc
    source: SecretSource
    several: bool = False

    def read(self) -> None:
        """Raise ConfigError where the secrets cannot be read."""
        if self.several:
            self.source.read_all()
        else:
            self.source.read()


def load_config(path: Path, *, secrets: bool = True) -> Config:
    """Read and check the configuration at `path`; its keys, secrets and token too, unless `secrets` is
    false. Raises ConfigError, whose text has a line for each problem."""
    return locate_config(path, secrets=secrets).config


def locate_config(path: Path, *, secrets: bool = True) -> LocatedConfig:
    """Read a configuration like `load_config`, and keep the places of its keys. Raises ConfigError."""
    try:
        content = read_file(path, MAX_FILE)
    except ValueError as error:
        raise ConfigError(f"{path}: cannot read the configuration: {error}") from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if content.startswith(_UTF_16):
            raise ConfigError(f"{path}:1:1: not UTF-8 text but UTF-16; save it as UTF-8") from None
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: not UTF-8 text") from None
    return _located(text, path, secrets=secrets)


def parse_config(text: str, path: Path, *, secrets: bool = True) -> Config:
    """Return the configuration that `text` holds. `path` names it in errors, and relative paths start from
    its folder; `secrets` is as for `load_config`. Raises ConfigError."""
    return _located(text, path, secrets=secrets).config


def secret_sources(config: Config) -> Iterator[NamedSource]:
    """Return every source of a key, a secret or a token."""
    for index, account in enumerate(config.accounts):
        loc: Loc = ("accounts", index)
        key = _given(account, ("api_key", "api_key_env", "api_key_file"))
        yield NamedSource((*loc, key), account.key_source(config.folder))
        webhook = account.webhook_secret_source(config.folder)
        if webhook is not None:
            key = _given(account, ("webhook_secret_env", "webhook_secret_file"))
            yield NamedSource((*loc, key), webhook, several=True)
    token = config.web.token_source(config.folder)
    if token is not None:
        key = _given(config.web, ("registration_token_env", "registration_token_file"))
        yield NamedSource(("web", key), token, several=True)


def _located(text: str, path: Path, *, secrets: bool) -> LocatedConfig:
    root = compose(text, path, "accounts")
    if root is None:
        raise ConfigError(f"{path}: the file is empty; expected at least `accounts:` with one account")
    values, problems = construct(root)
    _refuse(path, problems)
    try:
        document = Document.model_validate(values)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        _refuse(path, [problem(root, detail) for detail in details[:MAX_PROBLEMS]], len(details))
        raise
    folder = path.absolute().parent
    unread: list[Problem] = []
    url = _state_url(document, folder, root, unread)
    config = Config.model_construct(**dict(document), folder=folder, state_at=state_at(url, folder))
    for named in secret_sources(config) if secrets else ():
        try:
            named.read()
        except ConfigError as error:
            unread.append(Problem(find(root, named.loc), named.loc, str(error)))
    _refuse(path, unread)
    return LocatedConfig(config, path, root)


def _state_url(document: Document, folder: Path, root: yaml.Node, problems: list[Problem]) -> str:
    source = document.state.url_source(folder)
    loc = "state", "url" if source is None else _given(document.state, ("url_env", "url_file"))
    try:
        url = document.state.url if source is None else check_state_url(source.read().reveal())
        return check_state_place(url, folder)
    except (ConfigError, ValueError) as error:
        problems.append(Problem(find(root, loc), loc, str(error)))
        return ""


def _refuse(path: Path, problems: Sequence[Problem], count: int | None = None) -> None:
    """Raise ConfigError where there are problems; `count` is how many, where they are not all of them."""
    if not problems:
        return
    lines = [one.line(path) for one in problems[:MAX_PROBLEMS]]
    more = (len(problems) if count is None else count) - len(lines)
    if more:
        lines.append(f"{path}: and {more} more problems")
    raise ConfigError("\n".join(lines))


def _given(section: BaseModel, keys: Iterable[str]) -> str:
    return next(key for key in keys if getattr(section, key) is not None)
