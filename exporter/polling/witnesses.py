"""Whose trouble a failed call is: the key's, the budget's, the API's, or only that of what was asked for.

Each id, and each endpoint without ids, is a witness of the API's state. One that fails while others are
answered has trouble of its own; where several fail with no answer in between, the API is in trouble. Pure: no
I/O and no clock; times are seconds of a monotonic clock.
"""

from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple, Protocol

from exporter.errors import ApiErrorKind
from exporter.vivix.client import Endpoint

ENOUGH = 3
"""Different witnesses that fail in a row before the API is blamed."""
RECENTLY = 150.0
"""Seconds that an answer vouches for the API: `/credits` is asked every minute, and may fail once."""


class Owner(Enum):
    """Who waits after an unsuccessful call."""

    KEY = auto()
    """The account's key: nothing is answered with it."""
    BUDGET = auto()
    """The account's budget of calls."""
    API = auto()
    """The API as the account sees it."""
    WITNESS = auto()
    """The id or endpoint that was asked for, and nothing else."""


_OWNERS: dict[ApiErrorKind, Owner | None] = {
    ApiErrorKind.LOCKED_OUT: Owner.KEY,
    ApiErrorKind.RATE_LIMITED: Owner.BUDGET,
    ApiErrorKind.UNREACHABLE: Owner.API,
    ApiErrorKind.NOT_YOURS: Owner.WITNESS,
    ApiErrorKind.NOT_FOUND: Owner.WITNESS,
    ApiErrorKind.REFUSED: Owner.WITNESS,
    ApiErrorKind.UNEXPLAINED: None,
    ApiErrorKind.UNAVAILABLE: None,
}
"""The owner of each kind of error; None where the other witnesses decide."""

_REFUSALS = frozenset({ApiErrorKind.REFUSED, ApiErrorKind.UNEXPLAINED})


class Witness(NamedTuple):
    """What a call asks for: an endpoint, and an id where it takes one."""

    endpoint: Endpoint
    id: str = ""


class Followed(Protocol):
    """The ids that are followed at present."""

    def __len__(self) -> int: ...
    def __contains__(self, id: object) -> bool: ...


PLAN, MODELS = Witness(Endpoint.CREDITS), Witness(Endpoint.MODELS)


@dataclass(slots=True)
class _Failing:
    """A witness without a usable answer. `times` counts its own trouble, `since` is when that began,
    `refused_since` its first refusal in a row; None where the last failure was another's trouble."""

    at_fault: bool = False
    times: int = 0
    since: float | None = None
    refused_since: float | None = None


class Witnesses:
    """The witnesses of one account's API that fail at present."""

    def __init__(self, followed: Followed) -> None:
        self._followed = followed
        self._failing: dict[Witness, _Failing] = {}
        self._suspects: dict[Witness, _Failing] = {}
        self._api_in_trouble = False
        self._answered_at = float("-inf")

    def answered(self, witness: Witness, now: float) -> int:
        """Note an answer. Whatever failed since the last one has failed by itself. Returns how often the
        witness had failed by itself before."""
        self._vouch(witness, now)
        failing = self._failing.pop(witness, None)
        return failing.times if failing else 0

    def failed(self, witness: Witness, kind: ApiErrorKind, now: float) -> Owner:
        """Return whose trouble an error is, and note it."""
        if len(self._failing) > len(self._followed) + 2:
            self._forget_gone()
        failing = self._failing.setdefault(witness, _Failing())
        if witness.endpoint is Endpoint.GENERATION:
            owner = self._owner_for_id(witness, kind, failing, now)
        else:
            owner = self._owner_for_endpoint(witness, kind, failing)
        own = owner is Owner.WITNESS
        failing.times += own
        failing.since = _first(failing.since, now) if own else None
        failing.refused_since = _first(failing.refused_since, now) if own and kind in _REFUSALS else None
        return owner

    @property
    def nothing_answers(self) -> bool:
        """Whether the API has answered nothing at all yet, not even for the wallet."""
        return self._answered_at == float("-inf") and PLAN in self._failing

    def times(self, witness: Witness) -> int:
        """Return how often a witness has failed by itself since its last answer."""
        failing = self._failing.get(witness)
        return failing.times if failing else 0

    def own_trouble(self, witness: Witness, now: float) -> float:
        """Return for how many seconds a witness has failed, as far as the trouble was its own."""
        failing = self._failing.get(witness)
        return 0.0 if failing is None or failing.since is None else now - failing.since

    def refused(self, witness: Witness, kind: ApiErrorKind, now: float) -> float:
        """Return for how many seconds a witness, now answered with `kind`, has met nothing but refusals. What
        is not in the API's own words counts only while the API answers others."""
        failing = self._failing.get(witness)
        if failing is None or failing.refused_since is None:
            return 0.0
        if kind is not ApiErrorKind.REFUSED and now - self._answered_at > RECENTLY:
            return 0.0
        return now - failing.refused_since

    def _owner_for_id(self, witness: Witness, kind: ApiErrorKind, failing: _Failing, now: float) -> Owner:
        if kind.answers:
            self._vouch(witness, now)
        return _OWNERS[kind] or self._judge(witness, failing)

    def _owner_for_endpoint(self, witness: Witness, kind: ApiErrorKind, failing: _Failing) -> Owner:
        owner = _OWNERS[kind]
        if owner is Owner.KEY and not failing.at_fault:
            # If ids are answered with this key all the same, only this endpoint is closed to it.
            self._suspects[witness] = failing
            return Owner.KEY
        if owner in (Owner.KEY, Owner.WITNESS):
            return Owner.WITNESS
        return owner or self._judge(witness, failing)

    def _judge(self, witness: Witness, failing: _Failing) -> Owner:
        if not failing.at_fault:
            self._suspects[witness] = failing
        self._api_in_trouble = self._api_in_trouble or self._is_enough()
        return Owner.API if self._api_in_trouble else Owner.WITNESS

    def _is_enough(self) -> bool:
        """Whether those that failed since the last answer are as many as it takes, or all there are."""
        if len(self._suspects) >= ENOUGH:
            return True
        if len(self._followed) + 1 - len(self._failing) >= ENOUGH:
            return False
        self._forget_gone()
        # The models are asked for too rarely to vouch for anything.
        at_fault = sum(failing.at_fault for witness, failing in self._failing.items() if witness != MODELS)
        left = len(self._followed) + 1 - at_fault
        if not left:
            return len(self._followed) > 0
        return sum(witness != MODELS for witness in self._suspects) >= min(ENOUGH, left)

    def _vouch(self, witness: Witness, now: float) -> None:
        self._api_in_trouble = False
        self._answered_at = now
        if self._suspects:
            self._suspects.pop(witness, None)
            for failing in self._suspects.values():
                failing.at_fault = True
            self._suspects.clear()

    def _forget_gone(self) -> None:
        for gone in [one for one in self._failing if one.id and one.id not in self._followed]:
            self._failing.pop(gone)
            self._suspects.pop(gone, None)


def _first(since: float | None, now: float) -> float:
    return now if since is None else since
