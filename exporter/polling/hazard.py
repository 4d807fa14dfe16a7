"""The distribution of a model's durations, as learnt, in the form of a hazard rate.

The hazard h(t) is the chance that a generation of age t ends in the next instant, for each second. It is kept
piecewise constant over bins of equal width in log time, from weighted counts of durations (the actuarial
estimate): those learnt, which slowly fade as new ones arrive, and a prior of little weight, which moves to
the lognormal distribution that fits what was learnt.

A model that becomes slower or faster is noticed by ends that come where they should not: by the cumulative
sum of Page (Continuous inspection schemes, Biometrika 41, 1954) of how much better the last few ends explain
each further one than all that was learnt. Once that is certain, only these few are kept.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate, pairwise
from operator import mul

SHORTEST, OCTAVES, PER_OCTAVE = 0.25, 16, 4
"""The bins: from 0.25 s to 4.5 h, each 19 % wider than the one before."""
MEMORY = 1_000.0
"""Generations after which one that was learnt counts only 1/e of what it did."""
RECENT = 5.0
"""Likewise among those that show whether the model has changed."""
CHANGED = 6.0
"""The logarithm of the odds, summed over ends, by which it has."""
SURPRISE = 2.0
"""What one end adds to it at most: it takes three strange ones to change what is believed."""
NEWS = 0.02
"""The part of what was learnt from which on something new changes what is believed: with every end nearly
nothing would, at the price of all."""
PRIOR_WEIGHT = 5.0
"""Generations that the prior counts for."""
PRIOR_WEIGHT_OF_SHARES = 1.0
"""Likewise for the age of a share: the prior's long tail is ignorance, which the first ends do away with."""
ENOUGH = 200.0
"""Learnt generations below which no share is reached before the prior of a known category says so: those that
end first are the short ones."""

FEW = 2.0
"""Learnt generations by which the prior has moved half the way to what they say."""

_EDGES = (0.0, *(SHORTEST * math.pow(2.0, i / PER_OCTAVE) for i in range(OCTAVES * PER_OCTAVE + 1)))
_CENTRES = [math.log(SHORTEST) + (i - 0.5) * math.log(2.0) / PER_OCTAVE for i in range(len(_EDGES))]
_SQUARES = [centre * centre for centre in _CENTRES]
_SIGMA = 0.4
_MEDIANS = {"image": 12.0, "video": 90.0}
# However sure the prior is, a little of it is anywhere, so that no hazard is zero.
_ANYWHERE = 0.01
_UNKNOWN_RANGE = (1.0, 3600.0)


class Hazard:
    """The distribution of one model's durations. Ages and durations are in seconds."""

    def __init__(self, category: str | None = None) -> None:
        self._prior, self._is_known = _prior(category), category in _MEDIANS
        self._learnt = [0.0] * len(self._prior)
        self._recent = self._learnt
        self._surprise = 0.0
        self._news = 0.0
        self._stale = True
        self._rates: Sequence[float] = ()
        self._sqrt_integral: Sequence[float] = ()
        self._ended: Sequence[float] = ()
        self._mean_inverse_sqrt = 0.0

    def set_category(self, category: str) -> None:
        """Use the prior of this category; what was learnt stays."""
        self._prior, self._is_known = _prior(category), category in _MEDIANS
        self._stale = True

    def learn(self, duration: float) -> None:
        """Learn that a generation took this long."""
        index = _bin(duration)
        odds = math.log(self._expected(self._recent, index) / self._expected(self._learnt, index))
        self._surprise = max(0.0, self._surprise + max(-SURPRISE, min(odds, SURPRISE)))
        self._learnt = _with_one(self._learnt, index, MEMORY)
        self._recent = _with_one(self._recent, index, RECENT)
        self._news += 1.0
        if self._surprise >= CHANGED:
            self._learnt, self._surprise, self._stale = self._recent, 0.0, True
        elif self._news >= NEWS * sum(self._learnt):
            self._stale = True

    def mean_inverse_sqrt(self) -> float:
        """Return E[h(T)^-1/2], the expectation over durations T."""
        self._refresh()
        return self._mean_inverse_sqrt

    def sqrt_integral(self, age: float) -> float:
        """Return the integral of sqrt(h) from 0 to `age`."""
        self._refresh()
        index = _bin(age)
        return self._sqrt_integral[index] + (age - _EDGES[index]) * math.sqrt(self._rates[index])

    def age_at(self, sqrt_integral: float) -> float:
        """Return the age at which the integral of sqrt(h) reaches this value."""
        self._refresh()
        index = max(0, min(bisect_right(self._sqrt_integral, sqrt_integral) - 1, len(self._rates) - 1))
        return _EDGES[index] + (sqrt_integral - self._sqrt_integral[index]) / math.sqrt(self._rates[index])

    def age_of_share(self, share: float) -> float:
        """Return the age by which this share of the generations have ended, at most the last bin's."""
        self._refresh()
        age = _age_of_share(share, self._ended)
        if self._is_known and sum(self._learnt) < ENOUGH:
            return max(age, _age_of_share(share, list(accumulate(self._prior))))
        return age

    def _expected(self, learnt: Sequence[float], index: int) -> float:
        """Return the chance that a generation ends in this bin, by the prior and by what was `learnt`."""
        near = sum(learnt[max(0, index - 1) : index + 2]) + learnt[index]
        return (self._prior[index] + near / 4) / (PRIOR_WEIGHT + sum(learnt))

    def _moved_prior(self) -> Sequence[float]:
        """Return the prior, as far as something was learnt mixed with the lognormal distribution that fits
        it: what a few ends say about the ages between and beyond theirs."""
        count = sum(self._learnt)
        if count == 0.0:
            return self._prior
        mean = sum(map(mul, self._learnt, _CENTRES)) / count
        # Rounding may leave less than nothing of a variance.
        squares = max(0.0, sum(map(mul, self._learnt, _SQUARES)) - count * mean * mean)
        fit = _lognormal(math.exp(mean), math.sqrt((squares + FEW * _SIGMA**2) / (count + FEW)))
        share = count / (count + FEW)
        return [(1 - share) * prior + share * fitted for prior, fitted in zip(self._prior, fit, strict=True)]

    def _refresh(self) -> None:
        if not self._stale:
            return
        smooth = _smoothed(self._learnt)
        moved = self._moved_prior()
        weights = [prior + learnt for prior, learnt in zip(moved, smooth, strict=True)]
        alive = list(accumulate(reversed(weights)))[::-1]
        rates: list[float] = []
        for weight, at_risk, (start, end) in zip(weights[:-1], alive, pairwise(_EDGES), strict=False):
            rates.append(-math.log1p(-weight / at_risk) / (end - start))
        # Beyond the last bin the rate stays what it was there.
        rates.append(rates[-1])
        self._rates = rates
        steps = (
            math.sqrt(rate) * (end - start)
            for rate, (start, end) in zip(rates, pairwise(_EDGES), strict=False)
        )
        self._sqrt_integral = list(accumulate(steps, initial=0.0))
        few = PRIOR_WEIGHT_OF_SHARES / PRIOR_WEIGHT
        self._ended = list(accumulate(few * p + w for p, w in zip(self._prior, smooth, strict=True)))
        total = alive[0]
        self._mean_inverse_sqrt = sum(
            weight / total / math.sqrt(rate) for weight, rate in zip(weights, rates, strict=True)
        )
        self._stale, self._news = False, 0.0


def _with_one(weights: Sequence[float], index: int, memory: float) -> list[float]:
    """Count one more in this bin, after which those counted so far fade by one of `memory`."""
    keep = 1.0 - 1.0 / memory
    faded = [weight * keep for weight in weights]
    faded[index] += 1.0
    return faded


def _bin(seconds: float) -> int:
    return max(0, min(bisect_right(_EDGES, seconds) - 1, len(_EDGES) - 1))


def _age_of_share(share: float, ended: Sequence[float]) -> float:
    """Return the age at which `ended`, the weight of the bins up to each, reaches this share of its last."""
    wanted = share * ended[-1]
    index = bisect_left(ended, wanted)
    if index >= len(_EDGES) - 1:
        return _EDGES[-1]
    before = ended[index - 1] if index else 0.0
    within = (wanted - before) / (ended[index] - before)
    return _EDGES[index] + within * (_EDGES[index + 1] - _EDGES[index])


def _smoothed(weights: Sequence[float]) -> list[float]:
    """Share each bin's weight with its neighbours: a few hundred generations leave gaps that are chance."""
    padded = [0.0, *weights, 0.0]
    shared = [
        before / 4 + here / 2 + after / 4
        for before, here, after in zip(padded, padded[1:], padded[2:], strict=False)
    ]
    shared[0] += weights[0] / 4
    shared[-1] += weights[-1] / 4
    return shared


def _prior(category: str | None) -> list[float]:
    """Return the weights of the bins before anything was learnt: lognormal around what is usual for the
    category, log-uniform where nothing is known. The last entry is for what is longer than all bins."""
    if category in _MEDIANS:
        return _lognormal(_MEDIANS[category], _SIGMA)
    low, high = _UNKNOWN_RANGE
    spread = [_overlap(start, end, low, high) for start, end in pairwise(_EDGES)]
    spread.append(spread[-1])
    return _prior_of(spread)


def _lognormal(median: float, sigma: float) -> list[float]:
    below = [_lognormal_below(edge, median, sigma) for edge in _EDGES]
    return _prior_of([after - before for before, after in pairwise(below)] + [1.0 - below[-1]])


def _prior_of(shares: Sequence[float]) -> list[float]:
    """Return the weights of a prior that is spread over the bins in proportion to `shares`."""
    total, anywhere = sum(shares), 1.0 / len(shares)
    return [PRIOR_WEIGHT * ((1 - _ANYWHERE) * share / total + _ANYWHERE * anywhere) for share in shares]


def _overlap(start: float, end: float, low: float, high: float) -> float:
    """Return the length of [start, end] within [low, high], in log time."""
    inside = math.log(min(max(end, low), high)) - math.log(min(max(start, low), high))
    return max(0.0, inside)


def _lognormal_below(x: float, median: float, sigma: float) -> float:
    return 0.0 if x <= 0 else 0.5 * math.erfc(-math.log(x / median) / (sigma * math.sqrt(2)))
