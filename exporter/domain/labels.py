"""Label values are bounded: what the API names beyond an account's limit is counted under `other`."""

import threading
from collections import defaultdict
from collections.abc import Iterable

from exporter.domain.values import UNKNOWN, AccountName

OTHER = "other"


class LabelLimit:
    """The values of one label, first come, first served, at most `maximum` for each account.

    `unknown` and `other` need no place. Safe to use from several threads.
    """

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._admitted: defaultdict[AccountName, set[str]] = defaultdict(set)
        self._lock = threading.Lock()

    def load(self, account: AccountName, values: Iterable[str]) -> None:
        """Replace the account's values, whatever the limit."""
        with self._lock:
            self._admitted[account] = set(values)

    def admit(self, account: AccountName, values: Iterable[str]) -> None:
        """Give values a place, whatever the limit."""
        with self._lock:
            self._admitted[account].update(values)

    def admitted(self, account: AccountName) -> list[str]:
        """Return the account's values that have a place, sorted."""
        with self._lock:
            return sorted(self._admitted.get(account, ()))

    def look_up(self, account: AccountName, value: str) -> str:
        """Return `value`, or `other` where it has no place. Takes no place."""
        with self._lock:
            known = value in (UNKNOWN, OTHER) or value in self._admitted.get(account, ())
        return value if known else OTHER

    def has_place(self, account: AccountName, besides: int = 0) -> bool:
        """Return whether a place is left, were `besides` more taken."""
        with self._lock:
            return len(self._admitted.get(account, ())) + besides < self._maximum

    def fold(self, account: AccountName, value: str) -> str:
        """Return `value`, which takes a place, or `other` where none is left."""
        if value in (UNKNOWN, OTHER):
            return value
        with self._lock:
            admitted = self._admitted[account]
            if value not in admitted:
                if len(admitted) >= self._maximum:
                    return OTHER
                admitted.add(value)
            return value
