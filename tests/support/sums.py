"""What has come about in a simulated world, or is so at a moment, summed up as dashboards do."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from exporter.config import Secret
from exporter.simulator.api import SimulatedApi
from exporter.simulator.truth import ByModel, ByStatus, truth
from support.states import rows

ByOne = Counter[tuple[str]]


@dataclass(frozen=True)
class Sums:
    """What has come about until a moment, or between two. Credits are whole; `microseconds` are
    durations."""

    ended: Counter[ByStatus] = field(default_factory=Counter)
    failures: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    credits: Counter[ByModel] = field(default_factory=Counter)
    outputs: Counter[ByModel] = field(default_factory=Counter)
    estimated: Counter[ByStatus] = field(default_factory=Counter)
    """Estimates of those that ended, where an answer told one."""
    charged: Counter[ByModel] = field(default_factory=Counter)
    """What those cost."""
    microseconds: Counter[ByStatus] = field(default_factory=Counter)
    dropped: ByOne = field(default_factory=Counter)
    """By reason."""
    registered: ByOne = field(default_factory=Counter)
    """By source."""

    def since(self, before: "Sums") -> "Sums":
        """What came about after an earlier moment."""
        sums = Sums()
        for name, values in vars(self).items():
            vars(sums)[name].update(values)
            vars(sums)[name].subtract(vars(before)[name])
        return sums

    def of(self, status: str) -> Counter[ByModel]:
        """How many ended with this status."""
        return Counter({key[:2]: n for key, n in self.ended.items() if key[2] == status})

    def estimates(self, status: str) -> Counter[ByModel]:
        """What those had been estimated at."""
        return Counter({key[:2]: n for key, n in self.estimated.items() if key[2] == status})


def told(
    api: SimulatedApi,
    state: Path | Secret,
    dropped: Mapping[str, int] | None = None,
    registered: Mapping[str, int] | None = None,
) -> Sums:
    """What has come about until now. While a generation is in flight answers say its model and its estimate,
    and once it has failed no longer: where the one that did may have met an exporter that was killed, the
    word of the state is taken for it."""

    def without(column: str) -> Collection[str]:
        return {id for (id,) in rows(state, f"SELECT id FROM generations WHERE {column} IS NULL")}

    true = truth(api.world, api.clock.now_us(), api.shown, unnamed=without("model"))
    unestimated = without("credits_estimate_micro")
    estimated: Counter[ByStatus] = Counter()
    charged: Counter[ByModel] = Counter()
    for generation in api.world:
        seen = api.shown.of(generation.id)
        in_flight = seen.pending or seen.processing_elapsed_ms is not None
        if generation.ended_us and in_flight and (seen.surely_named or generation.id not in unestimated):
            key = (generation.account, generation.model.slug, generation.status.value)
            estimated[key] += generation.fate.credits_estimate
            charged[key[:2]] += generation.fate.credits_used
    return Sums(
        Counter(true.ended),
        Counter(true.failures),
        Counter(true.credits),
        Counter(true.outputs),
        estimated,
        charged,
        Counter({key: sum(values) for key, values in true.durations_us.items()}),
        Counter({(reason,): n for reason, n in (dropped or {}).items()}),
        Counter({(source,): n for source, n in (registered or {}).items()}),
    )


@dataclass(frozen=True)
class Moment:
    """What is so at one moment, by account: generations in flight, what they are estimated at, how many the
    plan renders at once, and wallets."""

    in_flight: ByOne
    reserved: ByOne
    jobs: ByOne
    balance: ByOne
    spent: ByOne
    granted: ByOne


def moment(api: SimulatedApi) -> Moment:
    """What is so now."""
    now_us = api.clock.now_us()
    in_flight, reserved = (ByOne() for _ in range(2))
    for generation in api.world.in_flight(now_us):
        in_flight[generation.account,] += 1
        reserved[generation.account,] += generation.fate.credits_estimate
    wallets = {name: api.world.wallet(name, now_us) for name in api.world.accounts}
    return Moment(
        in_flight,
        reserved,
        Counter({(name,): account.plan.concurrent_jobs for name, account in api.world.accounts.items()}),
        Counter({(name,): wallet.balance for name, wallet in wallets.items()}),
        Counter({(name,): wallet.spent for name, wallet in wallets.items()}),
        Counter({(name,): wallet.granted for name, wallet in wallets.items()}),
    )
