"""Label values are bounded: what the API names beyond an account's limit is counted under `other`."""

import threading
from collections import defaultdict

from exporter.domain.values import UNKNOWN, AccountName

OTHER = "other"


class LabelLimit:
    """The values of one label, first come, first served, at most `maximum` for each account.

    `unknown` and `other` take no place. Safe to use from several threads: the store's thread admits values
    while the event loop folds those in flight.
    """

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._admitted: defaultdict[AccountName, set[str]] = defaultdict(set)
        self._lock = threading.Lock()

    def admit(self, account: AccountName, value: str) -> None:
        """Give `value` a place whatever the limit: it has a durable series already."""
        if value not in (UNKNOWN, OTHER):
            with self._lock:
                self._admitted[account].add(value)

    def admitted(self, account: AccountName) -> list[str]:
        """The account's values that have a place."""
        with self._lock:
            return sorted(self._admitted[account])

    def fold(self, account: AccountName, value: str) -> str:
        """`value`, or `other` where no place is left for it."""
        if value in (UNKNOWN, OTHER):
            return value
        with self._lock:
            admitted = self._admitted[account]
            if value not in admitted:
                if len(admitted) >= self._maximum:
                    return OTHER
                admitted.add(value)
            return value
