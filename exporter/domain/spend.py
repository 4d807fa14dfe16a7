"""What a wallet has spent, and the part of it that followed generations explain, as of the same moments.

The vendor charges the estimate when a generation is created and refunds what was not used when it ends.
The API's times are whole seconds, and a read of the wallet takes a moment: a charge close to a read may be in
it or not. So what followed generations explain is known as a range; the value in it nearest to what the
wallet shows is taken. The sums start at the first read and go on through all cycles: a window is the part of
one cycle that was read, and its last read closes it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import NamedTuple

from exporter.domain.values import Generation

ROUNDING_US, CLOCKS_US = 1_000_000, 2_000_000
"""The API's times are cut to whole seconds; its clock and ours may differ by a little."""
LONGEST_CYCLE_US = 32 * 86_400_000_000
"""A reset that moves by more has passed over cycles that were never read."""
SAME_RESET_US = 3_600_000_000
"""A reset that moves by less is the same one."""


class Charge(NamedTuple):
    """What a wallet was charged for a generation, as far as is known: `ended_us` is None where it has not
    ended, as far as is known, and `used_micro` is what its end left of the estimate."""

    created_us: int
    estimate_micro: int | None
    ended_us: int | None
    used_micro: int

    @classmethod
    def of(cls, generation: Generation) -> "Charge | None":
        """Return the charge of a generation; None where its creation is not known."""
        if generation.created_us is None:
            return None
        end = generation.end
        return cls(
            generation.created_us,
            generation.credits_estimate_micro,
            None if end is None else generation.ended_us,
            0 if end is None else end.credits_used_micro,
        )

    def within(self, first_us: int, last_us: int, *, lately: bool) -> tuple[int, int]:
        """Return the least and the most that the wallet may have been charged at a moment in this span;
        `lately` is whether one that is not known to have ended may have ended by then."""
        estimate = self.used_micro if self.estimate_micro is None else self.estimate_micro
        possible = []
        if first_us <= self.created_us + ROUNDING_US + CLOCKS_US:
            possible.append(0)
        if last_us >= self.created_us - CLOCKS_US and (
            self.ended_us is None or first_us <= self.ended_us + ROUNDING_US + CLOCKS_US
        ):
            possible.append(estimate)
        if lately if self.ended_us is None else last_us >= self.ended_us - CLOCKS_US:
            possible.append(self.used_micro)
        return min(possible), max(possible)


@dataclass(frozen=True, slots=True)
class WalletRead:
    """An answer about the wallet, which shows it as of a moment between `asked_us` and `answered_us`, which
    is no earlier. With `anew`, it may be another wallet than the one before."""

    spent_micro: int
    resets_us: int
    asked_us: int
    answered_us: int
    anew: bool = False


@dataclass(frozen=True, slots=True)
class Spend:
    """One account's sums, in millionths. `observed` and `followed` are as of the last read. The window began
    with its cycle (`whole`), or between `begun_first_us` and `begun_last_us` where the wallet showed `base`;
    `ended_least` and `ended_most` bound what generations that have ended since explain of it."""

    observed: int = 0
    followed: int = 0
    closed_observed: int = 0
    closed_followed: int = 0
    resets_us: int = 0
    whole: int = 0
    begun_first_us: int = 0
    begun_last_us: int = 0
    base: int = 0
    ended_least: int = 0
    ended_most: int = 0

    @classmethod
    def from_cells(cls, cells: Mapping[str, int]) -> "Spend | None":
        """Return what `cells` describe; None where the wallet was never read."""
        return cls(**cells) if cells else None

    def cells(self) -> dict[str, int]:
        """Return the numbers by name, to be stored."""
        return asdict(self)

    def explained(self, charge: Charge, first_us: int, last_us: int) -> tuple[int, int]:
        """Return the least and the most that a generation explains of this window at a moment in a span."""
        least, most = charge.within(first_us, last_us, lately=True)
        if self.whole:
            # What an earlier cycle reserved is no part of this one.
            return (least, most) if charge.created_us >= self.begun_first_us else (0, 0)
        least_before, most_before = charge.within(self.begun_first_us, self.begun_last_us, lately=False)
        return least - most_before, most - least_before

    def explained_at_last(self, charge: Charge) -> tuple[int, int]:
        """As `explained`, long after an end."""
        assert charge.ended_us is not None, "it has ended"
        later_us = max(charge.created_us, charge.ended_us, self.begun_last_us) + 2 * (ROUNDING_US + CLOCKS_US)
        return self.explained(charge, later_us, later_us)

    def with_ended(self, charge: Charge) -> "Spend":
        """Return the sums after a generation has ended."""
        least, most = self.explained_at_last(charge)
        return replace(self, ended_least=self.ended_least + least, ended_most=self.ended_most + most)

    def with_read(self, read: WalletRead, latest: Iterable[Charge]) -> "Spend":
        """Return the sums as of a read of the same window. `latest` are the charges of all generations that
        had not ended, or had ended only shortly before; those that ended are in the sums already."""
        least, most = self.ended_least, self.ended_most
        for charge in latest:
            low, high = self.explained(charge, read.asked_us, read.answered_us)
            if charge.ended_us is not None:
                low_at_last, high_at_last = self.explained_at_last(charge)
                low, high = low - low_at_last, high - high_at_last
            least, most = least + low, most + high
        seen = read.spent_micro - self.base
        followed = min(max(seen, least), max(least, most))
        return replace(self, observed=self.closed_observed + seen, followed=self.closed_followed + followed)


def is_same_window(spend: Spend, read: WalletRead) -> bool:
    """Return whether a read belongs to the window under way."""
    return not read.anew and abs(read.resets_us - spend.resets_us) < SAME_RESET_US


def window(former: Spend | None, read: WalletRead) -> Spend:
    """Return the window that begins with `read`, nothing having ended in it yet: with the cycle, where the
    former one was followed until its reset, and with the read itself otherwise."""
    before = former or Spend()
    opened = Spend(
        observed=before.observed,
        followed=before.followed,
        closed_observed=before.observed,
        closed_followed=before.followed,
        resets_us=read.resets_us,
    )
    next_one = 0 < before.resets_us <= read.asked_us and read.resets_us > before.resets_us
    if next_one and not read.anew and read.resets_us - before.resets_us <= LONGEST_CYCLE_US:
        return replace(opened, whole=1, begun_first_us=before.resets_us, begun_last_us=before.resets_us)
    return replace(
        opened, begun_first_us=read.asked_us, begun_last_us=read.answered_us, base=read.spent_micro
    )
