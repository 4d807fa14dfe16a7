"""Secrets and their sources. No text that Python makes of a secret holds its value."""

import hmac
import os
from dataclasses import dataclass
from pathlib import Path

from exporter.config.file import read_file
from exporter.errors import ConfigError

MAX_FILE = 64 << 10
"""Bytes of a file of secrets."""


class Secret:
    """A value that only `reveal` returns."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the value itself, for the one place that needs it."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash(self._value)


@dataclass(frozen=True, slots=True)
class SecretSource:
    """One of three places that a secret is read from each time it is needed, so that rotation works."""

    value: Secret | None = None
    env: str | None = None
    file: Path | None = None

    def read(self) -> Secret:
        """Return the present secret. Raises ConfigError, which never holds what was found."""
        found, where = self._find()
        return _checked(found, where)

    def read_all(self) -> tuple[Secret, ...]:
        """Return the present secrets; white space separates several. Raises ConfigError."""
        found, where = self._find()
        return tuple(_checked(part, where) for part in found.split() or [""])

    def _find(self) -> tuple[str, str]:
        """Return what is found, and the name of its place."""
        if self.value is not None:
            return self.value.reveal(), "the value"
        if self.env is not None:
            found = os.environ.get(self.env)
            if found is None:
                raise ConfigError(
                    f"the environment variable {self.env} is not set; set it where the exporter starts"
                )
            return found, f"the environment variable {self.env}"
        path = Path(self.file or "")
        try:
            content = read_file(path, MAX_FILE).decode("utf-8-sig")
        except UnicodeDecodeError:
            raise ConfigError(f"the file {path} is not UTF-8 text") from None
        except ValueError as error:
            raise ConfigError(f"cannot read the file {path}: {error}") from None
        return content, f"the file {path}"


def _checked(found: str, where: str) -> Secret:
    secret = found.strip()
    if not secret:
        raise ConfigError(f"{where} is empty")
    if not secret.isascii() or not secret.isprintable() or " " in secret:
        raise ConfigError(f"{where} holds white space or other characters that no key has")
    return Secret(secret)
