"""Polls per generation: the learnt cadence against the theoretical optimum, fixed intervals and back-off.

Everything is simulated in one run from one seed, for lognormal durations. A poll is a call to the API, the
one that detects the end included; the delay is from the end to that look. Policies are compared at equal mean
delay: each is tuned until its mean delay is that of the theoretical optimum at the target. Ends non-zero
where the learnt cadence needs over 10 % more polls than the optimum.
"""

import math
import random
import sys
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from exporter.polling.cadence import Cadence

SAMPLES = 40_000
HORIZON = 20_000.0
ALLOWED = 1.10

Next = Callable[[float], float]
"""From the age at a poll to the age at the next."""


@dataclass(frozen=True)
class Case:
    name: str
    median: float
    sigma: float
    target: float


CASES = (Case("image", 12.4, 0.32, 2.0), Case("video", 90.0, 0.32, 5.0))


def measure(next_look: Next, durations: list[float]) -> tuple[float, float]:
    """Mean number of polls and mean delay of a policy, whose polls fall at the same ages every time."""
    ages, age = [], 0.0
    while age < max(durations):
        age = next_look(age)
        ages.append(age)
    found = [bisect_left(ages, duration) for duration in durations]
    delay = sum(ages[index] - duration for index, duration in zip(found, durations, strict=True))
    return sum(index + 1 for index in found) / len(durations), delay / len(durations)


def optimum(case: Case, target: float) -> Next:
    """The schedule of theory with the true distribution: its integral of sqrt(h), tabulated finely."""
    step = case.median / 400
    grid = [step * i for i in range(1, round(8 * case.median / step))]

    def alive(t: float) -> float:
        return 0.5 * math.erfc(math.log(t / case.median) / (case.sigma * math.sqrt(2)))

    def density(t: float) -> float:
        z = math.log(t / case.median) / case.sigma
        return math.exp(-z * z / 2) / (t * case.sigma * math.sqrt(2 * math.pi))

    hazards = [max(density(t), 1e-300) / max(alive(t), 1e-300) for t in grid]
    mean = sum(density(t) * step / math.sqrt(h) for t, h in zip(grid, hazards, strict=True))
    integral, total = [], 0.0
    for h in hazards:
        total += math.sqrt(h) * mean / (2 * target) * step
        integral.append(total)

    def next_look(age: float) -> float:
        at = integral[min(int(age / step), len(grid) - 1) - 1] if age >= step else 0.0
        index = bisect_left(integral, at + 1)
        return grid[index] if index < len(grid) else age + target

    return next_look


def learnt(case: Case, history: list[float], target: float) -> Next:
    """The exporter's own cadence, after it has seen `history`; without clamps, which are the user's."""
    cadence = Cadence(target, 0.05, HORIZON, 10)
    cadence.set_category("m", case.name)
    for duration in history:
        cadence.learn("m", duration)
    return lambda age: age + cadence.interval("m", age)


def fixed(interval: float) -> Next:
    return lambda age: age + interval


def back_off(first: float) -> Next:
    """Doubling from `first` up to 60 s, as clients usually do."""

    def next_look(age: float) -> float:
        return age + min(60.0, age + first)

    return next_look


def tuned(policy: Callable[[float], Next], delay: float, durations: list[float]) -> tuple[float, float]:
    """Polls and delay of `policy` with its parameter such that its mean delay is `delay`."""
    low, high = 0.05, 200.0
    for _ in range(40):
        middle = math.sqrt(low * high)
        if measure(policy(middle), durations)[1] < delay:
            low = middle
        else:
            high = middle
    return measure(policy(math.sqrt(low * high)), durations)


def main() -> int:
    rng = random.Random(20261124)
    failed = False
    for case in CASES:
        durations = [rng.lognormvariate(math.log(case.median), case.sigma) for _ in range(SAMPLES)]
        history = [rng.lognormvariate(math.log(case.median), case.sigma) for _ in range(5_000)]
        polls, delay = measure(optimum(case, case.target), durations)
        policies: dict[str, tuple[Callable[[float], Next], float]] = {
            "optimum, distribution known": (partial(optimum, case), case.target),
            "learnt from 500": (partial(learnt, case, history[:500]), case.target),
            "learnt from 5,000": (partial(learnt, case, history), case.target),
            "prior alone": (partial(learnt, case, []), case.target),
            "fixed interval": (fixed, 2 * case.target),
            "exponential back-off": (back_off, 1.0),
        }
        print(f"\n{case.name}: median {case.median} s, sigma {case.sigma}, target lag {case.target} s")
        print(f"  {'policy':<30}{'as configured':>26}{'at equal mean delay':>34}")
        print(f"  {'':<30}{'polls':>13}{'delay':>13}{'polls':>12}{'delay':>11}{'ratio':>11}")
        for name, (policy, parameter) in policies.items():
            plain = measure(policy(parameter), durations)
            equal = tuned(policy, delay, durations)
            ratio = equal[0] / polls
            print(
                f"  {name:<30}{plain[0]:>13.2f}{plain[1]:>11.2f} s{equal[0]:>12.2f}{equal[1]:>9.2f} s"
                f"{ratio:>11.3f}"
            )
            failed = failed or (name.startswith("learnt") and ratio > ALLOWED)
    print(f"\nlearnt within {ALLOWED:.2f} of the optimum: {'no' if failed else 'yes'}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
