"""The web configuration file, read again whenever it is needed, since it may change at any time."""

import re
from pathlib import Path

from pydantic import ValidationError

from exporter.config.file import read_file
from exporter.config.nodes import compose, construct
from exporter.config.problems import problem
from exporter.errors import ConfigError
from exporter.web.lock.schema import WebConfig

MAX_FILE = 1 << 20
"""Bytes."""

_HASH = re.compile(r"\$2[abxy]?\$(0[4-9]|[12]\d|3[01])\$[./A-Za-z0-9]{53}")
"""bcrypt's, with a cost that it takes."""


class WebConfigFile:
    """One file. What it holds is parsed only where that has changed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._content: bytes | None = None
        self._parsed: WebConfig | ConfigError = WebConfig()

    def read(self) -> WebConfig:
        """Return what the file says now. Raises ConfigError."""
        try:
            content = read_file(self.path, MAX_FILE)
        except ValueError as error:
            raise ConfigError(f"{self.path}: cannot read the web configuration: {error}") from None
        if content != self._content:
            try:
                self._parsed = parse(content, self.path)
            except ConfigError as error:
                self._parsed = error
            self._content = content
        if isinstance(self._parsed, ConfigError):
            raise ConfigError(str(self._parsed))
        return self._parsed

    def check(self) -> WebConfig:
        """Return what it says, if an exporter can start with it. Raises ConfigError."""
        config = self.read()
        for user, hashed in config.basic_auth_users.items():
            if not _HASH.fullmatch(hashed):
                raise ConfigError(
                    f"{self.path}: basic_auth_users.{user}: expected a bcrypt hash of the password"
                )
        return config


def parse(content: bytes, path: Path) -> WebConfig:
    """Return the web configuration that a file holds; nothing is one, too. Raises ConfigError."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not UTF-8 text") from None
    root = compose(text, path, "basic_auth_users")
    if root is None:
        return WebConfig()
    values, problems = construct(root)
    if not problems:
        try:
            return WebConfig.model_validate(values)
        except ValidationError as error:
            details = error.errors(include_url=False, include_input=False)
            problems = [problem(root, detail, WebConfig) for detail in details]
    raise ConfigError("\n".join(one.line(path) for one in problems[:20]))
