"""Secrets that may be rotated while the exporter runs: read again from their source every few seconds."""

from collections.abc import Callable

import structlog

from exporter.config.secret import Secret, SecretSource
from exporter.errors import ConfigError

READ_EVERY = 2.0
"""Seconds between two readings."""

_log = structlog.get_logger("exporter.config")


class RotatingSecrets:
    """The secrets of one source, several while they are being rotated. `monotonic` is a clock of seconds."""

    def __init__(self, source: SecretSource, what: str, monotonic: Callable[[], float]) -> None:
        """`what` names them in the log."""
        self._source = source
        self._what = what
        self._monotonic = monotonic
        self._read_at = float("-inf")
        self._unreadable = False
        self._secrets: tuple[Secret, ...] = ()
        # The configuration has just been found good; the source may be gone when they are first needed.
        self.current()

    def current(self) -> tuple[Secret, ...]:
        """Return the secrets in force: the last ones read, while they cannot be read."""
        now = self._monotonic()
        if now - self._read_at >= READ_EVERY:
            self._read_at = now
            try:
                self._secrets = self._source.read_all()
            except ConfigError as error:
                if not self._unreadable:
                    _log.error(f"cannot read {self._what}, keeping the last", error=str(error))
                self._unreadable = True
            else:
                if self._unreadable:
                    _log.info(f"{self._what} can be read again")
                self._unreadable = False
        return self._secrets

    def admits(self, matches: Callable[[Secret], bool]) -> bool:
        """Return whether one of them matches; all are tried, so that the time taken does not reveal which."""
        return any([matches(secret) for secret in self.current()])
