"""Secrets and where they come from. What is secret shows in no text that Python makes of it."""

import hmac
import os
from dataclasses import dataclass
from pathlib import Path

from exporter.errors import ConfigError


class Secret:
    """A value that only `reveal` shows."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself, for the one place that needs it."""
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
    """Where a secret is read from, each time it is needed, so that a new one is found: one of the three."""

    value: Secret | None = None
    env: str | None = None
    file: Path | None = None

    def read(self) -> Secret:
        """The secret as it is now. Raises ConfigError, which never holds what was found."""
        found, where = self._find()
        return _checked(found, where)

    def read_all(self) -> tuple[Secret, ...]:
        """The secrets as they are now, where white space separates several. Raises ConfigError."""
        found, where = self._find()
        return tuple(_checked(part, where) for part in found.split() or [""])

    def _find(self) -> tuple[str, str]:
        """What is there, and the name of where that is."""
        if self.value is not None:
            return self.value.reveal(), "the value"
        if self.env is not None:
            found = os.environ.get(self.env)
            if found is None:
                raise ConfigError(f"the environment variable {self.env} is not set")
            return found, f"the environment variable {self.env}"
        try:
            content = Path(self.file or "").read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"cannot read the file {self.file}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ConfigError(f"the file {self.file} is not text") from None
        return content, f"the file {self.file}"


def _checked(found: str, where: str) -> Secret:
    secret = found.strip()
    if not secret:
        raise ConfigError(f"{where} is empty")
    if not secret.isascii() or not secret.isprintable() or " " in secret:
        raise ConfigError(f"{where} holds white space or other characters that no key has")
    return Secret(secret)
