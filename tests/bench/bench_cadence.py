"""Polls per generation: the learnt cadence against the theoretical optimum for the known distribution, fixed
intervals and back-off.

A poll is a call to the API, the one that detects the end included; the delay is from the end to that poll.
Both are computed from the distribution, not sampled: of polls at the ages a, where S is the share still in
flight, there are sum S(a_k) and the end is detected at sum (a_k+1 - a_k) S(a_k). Only what is learnt from is
random, from fixed seeds. Policies are compared at equal mean delay, the target: each is tuned until it has
it. Ends non-zero where a figure is not what it must be.
"""

import copy
import math
import random
import sys
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from statistics import mean

from bench.table import Row, report
from exporter.polling.cadence import Cadence

SEEDS = 10
HORIZON = 20_000.0
NEVER = 1e-4
"""The share still in flight at which a schedule need not go on."""
AFTER = 100
"""The generations after a model has become SLOWER times as slow that are looked at."""
SLOWER = 2.0

Alive = Callable[[float], float]
"""From an age to the share of the generations that are still in flight."""
Next = Callable[[float], float]
"""From the age at a poll to the age at the next."""
Policy = Callable[[float], Next]
"""From the parameter that makes it poll more rarely."""


@dataclass(frozen=True)
class Case:
    name: str
    category: str
    target: float
    alive: Alive
    draw: Callable[[random.Random], float]

    @property
    def slower(self) -> "Case":
        return Case(
            self.name,
            self.category,
            self.target,
            lambda age: self.alive(age / SLOWER),
            lambda rng: SLOWER * self.draw(rng),
        )


def lognormal(median: float, sigma: float) -> tuple[Alive, Callable[[random.Random], float]]:
    def alive(age: float) -> float:
        return 1.0 if age <= 0 else 0.5 * math.erfc(math.log(age / median) / (sigma * math.sqrt(2)))

    return alive, lambda rng: rng.lognormvariate(math.log(median), sigma)


def two_kinds() -> tuple[Alive, Callable[[random.Random], float]]:
    quick, slow, share = lognormal(9.0, 0.2), lognormal(24.0, 0.2), 0.6
    return (
        lambda age: share * quick[0](age) + (1 - share) * slow[0](age),
        lambda rng: quick[1](rng) if rng.random() < share else slow[1](rng),
    )


def uniform(low: float, high: float) -> tuple[Alive, Callable[[random.Random], float]]:
    return (
        lambda age: min(1.0, max(0.0, (high - age) / (high - low))),
        lambda rng: rng.uniform(low, high),
    )


def heavy_tail(median: float, shape: float) -> tuple[Alive, Callable[[random.Random], float]]:
    """Log-logistic: of twice an age late in the tail there are 2^-shape as many."""

    def draw(rng: random.Random) -> float:
        share = rng.random()
        return median * math.pow(share / (1 - share), 1 / shape)

    return lambda age: 1 / (1 + math.pow(max(0.0, age) / median, shape)), draw


CASES = (
    Case("image (lognormal, 12.4 s, 0.32)", "image", 2.0, *lognormal(12.4, 0.32)),
    Case("video (lognormal, 90 s, 0.32)", "video", 5.0, *lognormal(90.0, 0.32)),
    Case("two kinds (9 and 24 s)", "image", 2.0, *two_kinds()),
    Case("uniform (6 to 20 s)", "image", 2.0, *uniform(6.0, 20.0)),
    Case("heavy tail (log-logistic, 12 s, 3)", "image", 2.0, *heavy_tail(12.0, 3.0)),
)


def grid(alive: Alive, many: int = 2_000) -> list[float]:
    """Ages, evenly in log time, between which all but a few generations end."""
    low = high = 1.0
    while alive(low) < 1 - NEVER:
        low /= 1.1
    while alive(high) > NEVER:
        high *= 1.1
    return [0.0, *(low * (high / low) ** (i / many) for i in range(many + 1))]


def measure(case: Case, next_poll: Next) -> tuple[float, float]:
    """Mean number of polls and mean detection age of a policy."""
    polls, detected, age, alive = 0.0, 0.0, 0.0, 1.0
    while alive > NEVER:
        later = next_poll(age)
        polls += alive
        detected += alive * (later - age)
        age, alive = later, case.alive(later)
    return polls, detected


def mean_duration(case: Case) -> float:
    return sum((b - a) * (case.alive(a) + case.alive(b)) / 2 for a, b in pairwise(grid(case.alive)))


def optimum(case: Case) -> Policy:
    """The schedule of theory with the true distribution: its integral of sqrt(h), tabulated finely."""
    ages = grid(case.alive)
    integral = [0.0]
    for start, end in pairwise(ages):
        hazard = math.log(max(case.alive(start), 1e-9) / max(case.alive(end), 1e-9))
        integral.append(integral[-1] + math.sqrt(max(hazard, 1e-12) * (end - start)))

    def policy(step: float) -> Next:
        def next_poll(age: float) -> float:
            at = bisect_left(ages, age)
            if at >= len(ages):
                return age + case.target
            index = bisect_left(integral, integral[at] + step)
            return ages[index] if index < len(ages) else max(ages[-1], age + case.target)

        return next_poll

    return policy


def learnt(states: Cadence, lag: float) -> Next:
    """The exporter's own cadence; without clamps, which are the user's."""
    states.aim(lag, 0.05, HORIZON)
    return lambda age: age + states.interval("m", age)


def taught(case: Case, many: int, rng: random.Random) -> Cadence:
    cadence = Cadence(case.target, 0.05, HORIZON, 10)
    cadence.set_category("m", case.category)
    for _ in range(many):
        cadence.learn("m", case.draw(rng))
    return cadence


def fixed(interval: float) -> Next:
    return lambda age: age + interval


def back_off(first: float) -> Next:
    """Doubling from `first` up to 60 s, as clients usually do."""
    return lambda age: age + min(60.0, age + first)


def together(case: Case, policies: Sequence[Policy], parameter: float) -> tuple[float, float]:
    """Polls and mean delay of generations each of which has a policy of its own, with one parameter."""
    measured = [measure(case, policy(parameter)) for policy in policies]
    return mean(polls for polls, _ in measured), mean(age for _, age in measured) - mean_duration(case)


def tuned(case: Case, policies: Sequence[Policy]) -> float:
    """Polls with the parameter such that the mean delay is the target."""
    low, high = 0.02, 200.0
    for _ in range(20):
        middle = math.sqrt(low * high)
        if together(case, policies, middle)[1] < case.target:
            low = middle
        else:
            high = middle
    # Where polls are few, a delay may be jumped over.
    return mean(together(case, policies, parameter)[0] for parameter in (low, high))


def change(case: Case, rng: random.Random) -> list[Policy]:
    """What the cadence is at each generation after the model has become slower, with 500 before."""
    cadence = taught(case, 500, rng)
    policies: list[Policy] = []
    for _ in range(AFTER):
        policies.append(partial(learnt, copy.deepcopy(cadence)))
        cadence.learn("m", case.slower.draw(rng))
    return policies


def rows(case: Case) -> list[Row]:
    least = tuned(case, [optimum(case)])
    measured = [Row(f"{case.name}: polls of the optimum", least, "a generation")]

    def ratio(name: str, policies: Sequence[Policy], at_most: float | None = None) -> None:
        measured.append(Row(f"{case.name}: {name}", tuned(case, policies) / least, "x optimum", at_most))

    for many, at_most in ((500, 1.03), (20, 1.10)):
        policies = [partial(learnt, taught(case, many, random.Random(seed))) for seed in range(SEEDS)]
        ratio(f"learnt from {many}", policies, at_most)
    ratio("prior alone", [partial(learnt, taught(case, 0, random.Random(0)))], 1.20)
    ratio("fixed interval", [fixed])
    ratio("exponential back-off", [back_off])
    slower = case.slower
    changed = [policy for seed in range(5) for policy in change(case, random.Random(seed))]
    measured.append(
        Row(
            f"{case.name}: the {AFTER} after it became twice as slow",
            tuned(slower, changed) / tuned(slower, [optimum(slower)]),
            "x optimum",
            1.20,
        )
    )
    delay = together(slower, changed, case.target)[1] / case.target
    measured.append(Row(f"{case.name}: their mean delay", delay, "x target", 2.0))
    return measured


def main() -> int:
    measured = [row for case in CASES for row in rows(case)]
    report("cadence", measured)
    return int(any(row.holds is False for row in measured))


if __name__ == "__main__":
    sys.exit(main())
