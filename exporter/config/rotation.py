"""Secrets that are replaced while the exporter runs: read again where they come from, every few seconds."""

from collections.abc import Callable

import structlog

from exporter.config.secret import Secret, SecretSource
from exporter.errors import ConfigError

READ_EVERY = 2.0
"""Seconds between two readings."""

_log = structlog.get_logger("exporter.config")


class RotatingSecrets:
    """The secrets of one source, several while they are being rotated. `monotonic` tells seconds."""

    def __init__(self, source: SecretSource, what: str, monotonic: Callable[[], float]) -> None:
        """`what` names them in the log."""
        self._source = source
        self._what = what
        self._monotonic = monotonic
        self._read_at = float("-inf")
        self._unreadable = False
        self._secrets: tuple[Secret, ...] = ()

    def current(self) -> tuple[Secret, ...]:
        """Those in force; the last ones known where they cannot be read."""
        now = self._monotonic()
        if now - self._read_at >= READ_EVERY:
            self._read_at = now
            try:
                self._secrets = self._source.read_all()
                self._unreadable = False
            except ConfigError as error:
                if not self._unreadable:
                    _log.error(f"cannot read {self._what}, keeping the last", error=str(error))
                self._unreadable = True
        return self._secrets

    def admits(self, matches: Callable[[Secret], bool]) -> bool:
        """Whether one of them matches; all are tried, so that the time taken does not tell which."""
        return any([matches(secret) for secret in self.current()])
