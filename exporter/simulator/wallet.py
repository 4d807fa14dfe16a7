"""Wallet of an account: balance, spent and granted, in whole credits per billing cycle."""

from dataclasses import dataclass

from exporter.clock import MICROS

CYCLE_US = 30 * 86_400 * MICROS
"""Length of a billing cycle. A multiple of a day, so that cycles begin at midnight UTC."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """Credits set aside for a generation, in billing cycle number `cycle`."""

    credits: int
    cycle: int


class Wallet:
    """Credits of one account. Each cycle begins with the credits of the plan."""

    def __init__(self, plan: int) -> None:
        self._plan = plan
        self.granted = plan
        self.balance = plan
        self.spent = 0
        self._cycle: int | None = None

    def enter(self, at_us: int) -> int:
        """Return the number of the cycle at `at_us`, and start it if it is new."""
        cycle = at_us // CYCLE_US
        if self._cycle is None:
            self._cycle = cycle
        elif cycle > self._cycle:
            self._cycle, self.spent = cycle, 0
            self.granted = self.balance = self._plan
        return self._cycle

    def top_up(self, credits: int, at_us: int) -> None:
        """Add credits that were bought for this cycle."""
        self.enter(at_us)
        self.granted += credits
        self.balance += credits

    def resets_us(self, at_us: int) -> int:
        """Return when the next cycle begins."""
        return (self.enter(at_us) + 1) * CYCLE_US

    def reserve(self, credits: int, at_us: int) -> Reservation | None:
        """Set `credits` aside. Returns None where the balance does not cover them."""
        cycle = self.enter(at_us)
        if credits > self.balance:
            return None
        self.balance -= credits
        self.spent += credits
        return Reservation(credits, cycle)

    def settle(self, reservation: Reservation, used: int, at_us: int) -> None:
        """Refund what a generation that ended at `at_us` did not use."""
        refund = reservation.credits - used
        self.balance += refund
        if self.enter(at_us) == reservation.cycle:
            self.spent -= refund
