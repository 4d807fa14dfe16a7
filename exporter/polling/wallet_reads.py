"""Reads of an account's wallet. Each is entered into the state at the next one: by then, what was created
before it has been registered and polled, and the ends before it have been seen."""

from exporter.clock import MICROS
from exporter.domain.spend import WalletRead
from exporter.domain.values import AccountName
from exporter.store import Store
from exporter.vivix.payload import Plan


class WalletReads:
    """The read that waits. One without what was spent, or without when the cycle ends, is left out."""

    def __init__(self, account: AccountName, store: Store, *, anew: bool = False) -> None:
        """`anew` is whether the wallet may be another one than the state knows."""
        self._account = account
        self._store = store
        self._anew = anew
        self._waiting: WalletRead | None = None

    async def note(self, plan: Plan, asked_us: int, answered_us: int) -> None:
        """Keep a read, and enter the one before. Raises StoreError, after which that one is lost."""
        if plan.spent is None or plan.cycle_resets_us is None:
            return
        account, entered = self._account, self._waiting
        spent_micro = round(plan.spent * MICROS)
        self._waiting = WalletRead(spent_micro, plan.cycle_resets_us, asked_us, answered_us, self._anew)
        if entered is None:
            first = self._waiting
            await self._store.write(lambda tx: tx.open_wallet(account, first), account)
        else:
            await self._store.write(lambda tx: tx.read_wallet(account, entered), account)
            self._anew = False
