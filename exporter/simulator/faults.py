"""Choice of the fault that strikes a read: by probability, by span of time, or on demand; seeded.

`damage` and `wire` define what each fault is on the wire.
"""

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from exporter.clock import MICROS


class Fault(StrEnum):
    """Faults of reads."""

    LATENCY = "latency"
    """The answer is correct and late."""
    HANG = "hang"
    """No answer until the client disconnects."""
    SERVER_ERROR = "server_error"
    """500, 502 or 503; sometimes a page of HTML."""
    RESET = "reset"
    """The connection is reset instead of an answer."""
    TRUNCATED = "truncated"
    """The connection ends in the middle of the body."""
    BROKEN_JSON = "broken_json"
    """200 with a body that is not JSON."""
    WRONG_TYPES = "wrong_types"
    """200 with fields retyped, null, missing or new. Ended generations lose their status, nothing else."""
    UNDOCUMENTED_STATUS = "undocumented_status"
    """The status of a generation in flight is `moderating`."""
    OVERSIZED = "oversized"
    """A body of more than 1 MiB."""
    REDIRECT = "redirect"
    """302 to elsewhere."""
    NOT_FOUND_YET = "not_found_yet"
    """A new generation is unknown for some seconds. The rate is per generation, not per read."""
    KEY_INVALID = "key_invalid"
    """A spell of 401 for every read of the account. The rate is that of the beginning of a spell."""
    TOO_MANY_REQUESTS = "too_many_requests"
    """A spell of 429 with Retry-After for every read of the account. The rate is as above."""


SPELLS = (Fault.KEY_INVALID, Fault.TOO_MANY_REQUESTS)
"""Faults that last for a while and strike the whole account."""


@dataclass(frozen=True, slots=True)
class Span:
    """`fault` strikes every read between two times (Unix microseconds), of one account or of all (None)."""

    fault: Fault
    from_us: int
    until_us: int
    account: str | None = None

    def covers(self, account: str, now_us: int) -> bool:
        """Return whether a read of `account` at `now_us` falls into it."""
        return self.from_us <= now_us < self.until_us and self.account in (None, account)


@dataclass(frozen=True, slots=True)
class Extent:
    """Durations of faults: ranges in simulated seconds."""

    latency_s: tuple[float, float] = (0.5, 5.0)
    key_invalid_s: tuple[float, float] = (5.0, 20.0)
    too_many_requests_s: tuple[float, float] = (2.0, 10.0)
    not_found_yet_s: tuple[float, float] = (0.5, 5.0)


@dataclass(frozen=True, slots=True)
class Strike:
    """A fault that strikes one read. `seconds` is the delay of latency, or what is left of a spell.

    `rng` draws the details of the fault.
    """

    fault: Fault
    seconds: float
    rng: Random


_EVERYTHING: Mapping[Fault, float] = {
    Fault.LATENCY: 0.05,
    Fault.HANG: 0.003,
    Fault.SERVER_ERROR: 0.04,
    Fault.RESET: 0.02,
    Fault.TRUNCATED: 0.02,
    Fault.BROKEN_JSON: 0.02,
    Fault.WRONG_TYPES: 0.05,
    Fault.UNDOCUMENTED_STATUS: 0.02,
    Fault.OVERSIZED: 0.005,
    Fault.REDIRECT: 0.01,
    Fault.NOT_FOUND_YET: 0.1,
    Fault.KEY_INVALID: 0.001,
    Fault.TOO_MANY_REQUESTS: 0.003,
}


def check_rates(rates: Mapping[Fault, float]) -> None:
    """Raise ValueError unless rates are probabilities that add up to at most 1."""
    for fault, rate in rates.items():
        if not 0 <= rate <= 1:
            raise ValueError(f"{fault}: {rate} is not a probability between 0 and 1")
    if sum(rate for fault, rate in rates.items() if fault is not Fault.NOT_FOUND_YET) > 1 + 1e-9:
        raise ValueError("the rates of the faults that strike single reads add up to more than 1")


class Faults:
    """Choose the fault that strikes each read, if any: spans first, then what is due, then chance.

    Each account has a random sequence of its own.
    """

    def __init__(
        self,
        seed: int = 0,
        rates: Mapping[Fault, float] | None = None,
        extent: Extent | None = None,
    ) -> None:
        self.seed = seed
        self.extent = extent or Extent()
        self.struck: Counter[tuple[str, Fault]] = Counter()
        """Number of strikes, by (account, fault)."""
        self._rates: dict[Fault, float] = {}
        self._spans: list[Span] = []
        self._due: deque[tuple[Fault, str | None]] = deque()
        self._rngs: dict[str, Random] = {}
        self.set_rates(rates or {})

    @classmethod
    def none(cls) -> "Faults":
        """Let nothing go wrong."""
        return cls()

    @classmethod
    def everything(cls, seed: int) -> "Faults":
        """Let every fault happen now and then; about a quarter of the reads are struck."""
        return cls(seed, _EVERYTHING)

    @property
    def rates(self) -> dict[Fault, float]:
        """Probability of each fault, per read unless documented otherwise."""
        return dict(self._rates)

    def set_rates(self, rates: Mapping[Fault, float]) -> None:
        """Replace all probabilities; a fault that is not named has none. Raises ValueError."""
        check_rates(rates)
        self._rates = dict(rates)

    def schedule(self, fault: Fault, from_us: int, until_us: int, account: str | None = None) -> None:
        """Let `fault` strike every read in a span of time; NOT_FOUND_YET at any age."""
        self._spans.append(Span(fault, from_us, until_us, account))

    def strike_next(self, fault: Fault, times: int = 1, account: str | None = None) -> None:
        """Let `fault` strike the next reads, of one account or of any."""
        self._due.extend((fault, account) for _ in range(times))

    def clear(self) -> None:
        """End all spans and spells, and remove all rates and faults that are due."""
        self._spans.clear()
        self._due.clear()
        self._rates = {}

    def strike(self, account: str, now_us: int) -> Strike | None:
        """Return the fault that strikes this read, or None."""
        if not (self._rates or self._spans or self._due):
            return None
        rng = self._rngs.get(account)
        if rng is None:
            rng = self._rngs[account] = Random(f"{self.seed}/faults/{account}")
        self._spans = [span for span in self._spans if span.until_us > now_us]
        # Spells cover every read of their account, so they go before anything else that is on.
        on = [span for span in self._spans if span.covers(account, now_us)]
        span = min(on, key=lambda span: span.fault not in SPELLS, default=None)
        if span is not None:
            strike = Strike(
                span.fault, self._seconds(span.fault, (span.until_us - now_us) / MICROS, rng), rng
            )
        else:
            fault = self._due_for(account) or self._drawn(rng)
            if fault is None:
                return None
            strike = self._begin(fault, account, now_us, rng)
        self.struck[account, strike.fault] += 1
        return strike

    def hides(self, account: str, generation_id: str, created_us: int, now_us: int) -> bool:
        """Return whether a new generation is still unknown to reads."""
        rate = self._rates.get(Fault.NOT_FOUND_YET, 0.0)
        age_us, (shortest_s, longest_s) = now_us - created_us, self.extent.not_found_yet_s
        if rate == 0 or age_us >= longest_s * MICROS:
            return False
        rng = Random(f"{self.seed}/hidden/{generation_id}")
        hidden = rng.random() < rate and age_us < rng.uniform(shortest_s, longest_s) * MICROS
        if hidden:
            self.struck[account, Fault.NOT_FOUND_YET] += 1
        return hidden

    def _due_for(self, account: str) -> Fault | None:
        for index, (fault, whose) in enumerate(self._due):
            if whose in (None, account):
                del self._due[index]
                return fault
        return None

    def _drawn(self, rng: Random) -> Fault | None:
        chance = rng.random()
        for fault, rate in self._rates.items():
            if fault is Fault.NOT_FOUND_YET:
                continue
            chance -= rate
            if chance < 0:
                return fault
        return None

    def _begin(self, fault: Fault, account: str, now_us: int, rng: Random) -> Strike:
        if fault not in SPELLS:
            return Strike(fault, self._seconds(fault, 0.0, rng), rng)
        extent = self.extent
        seconds = rng.uniform(
            *(extent.key_invalid_s if fault is Fault.KEY_INVALID else extent.too_many_requests_s)
        )
        self.schedule(fault, now_us, now_us + round(seconds * MICROS), account)
        return Strike(fault, seconds, rng)

    def _seconds(self, fault: Fault, left_s: float, rng: Random) -> float:
        return rng.uniform(*self.extent.latency_s) if fault is Fault.LATENCY else left_s
