"""The key of an account, read anew where it comes from, so that a rotated one is used without a restart."""

from collections.abc import Callable

import structlog

from exporter.domain.values import AccountName
from exporter.errors import ConfigError

EVERY = 2.0
"""Seconds between two reads of the key's source."""

_log = structlog.get_logger("exporter.polling.account_key")


class AccountKey:
    """`value` is the key in force, empty until it was read."""

    def __init__(self, account: AccountName) -> None:
        self.value = ""
        self._account = account
        self._read_at = float("-inf")
        self._unreadable = ""

    def replace(self, value: str) -> None:
        """Put `value` in force, and read its source, which may be another one, at the next `renew`."""
        self.value = value
        self._read_at = float("-inf")

    def renew(self, read: Callable[[], str], now: float) -> bool:
        """Read the source if it is time to, and return whether the key has changed. A source that cannot be
        read leaves the last key in force."""
        if now - self._read_at < EVERY:
            return False
        self._read_at = now
        try:
            key = read()
        except ConfigError as error:
            if str(error) != self._unreadable:
                self._unreadable = str(error)
                _log.error(
                    "cannot read the key; the last one stays in use", account=self._account, error=str(error)
                )
            return False
        if self._unreadable:
            self._unreadable = ""
            _log.info("the key can be read again", account=self._account)
        if key == self.value:
            return False
        if self.value:
            _log.info("the key was replaced", account=self._account)
        self.value = key
        return True
