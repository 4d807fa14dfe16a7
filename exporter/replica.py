"""What this replica does about the accounts that it owns: take them up, let them go, empty their inboxes."""

import asyncio
from collections.abc import Callable

import structlog

from exporter.accounts import Accounts
from exporter.clock import Clock
from exporter.config import Config
from exporter.domain.values import AccountName
from exporter.errors import StoreError
from exporter.intake import Intake
from exporter.store import Store
from exporter.web.pages.accounts import present, to_json

_log = structlog.get_logger("exporter.ownership")


class Replica:
    """Follows the accounts that `Ownership` says. Everything runs in `loops`."""

    def __init__(
        self,
        accounts: Accounts,
        intake: Intake,
        store: Store,
        config: Callable[[], Config],
        loops: asyncio.TaskGroup,
        clock: Clock,
    ) -> None:
        self._accounts = accounts
        self._intake = intake
        self._store = store
        self._config = config
        self._loops = loops
        self._clock = clock
        self._coming: dict[AccountName, asyncio.Task[int | None]] = {}
        self._collecting: set[AccountName] = set()
        self._failed: set[AccountName] = set()
        self._unreadable: set[AccountName] = set()

    def owned(self) -> set[AccountName]:
        """The accounts that are followed, or about to be."""
        return {*self._accounts.followed, *self._coming}

    def own(self, account: AccountName) -> None:
        """Begin to follow an account, if that is not begun yet."""
        if account in self.owned():
            return
        task = self._coming[account] = self._loops.create_task(self._take_up(account))
        task.add_done_callback(lambda _: self._coming.pop(account))

    def tell(self) -> str:
        """Return how the accounts that are followed stand at present, for other replicas to show."""
        return to_json(present(self._accounts.followed, self._clock.monotonic()))

    def resume(self) -> None:
        """Call again at once for the accounts that are followed."""
        for account in self._accounts.followed.values():
            account.poller.wake()

    def disown(self, account: AccountName) -> "asyncio.Task[None] | None":
        """Stop following an account; what is returned, if anything, ends once nothing is under way."""
        if account in self._coming:
            self._coming[account].cancel()
        return self._accounts.leave(account)

    def collect(self, account: AccountName) -> None:
        """Apply what waits in the inbox of an account, if that is followed already."""
        if account in self._accounts.followed and account not in self._collecting:
            self._collecting.add(account)
            self._loops.create_task(self._collect(account))

    async def begun(self) -> list[int]:
        """Wait until what is coming is followed. Returns how many generations the state held for each."""
        resumed = await asyncio.gather(*self._coming.values(), return_exceptions=True)
        return [number for number in resumed if isinstance(number, int)]

    async def _take_up(self, name: AccountName) -> int | None:
        account = self._accounts.configured.get(name)
        if account is None:
            return None
        try:
            resumed = await self._accounts.take_up(account, self._config(), self._loops)
        except (StoreError, TimeoutError) as error:
            # The next round tries again.
            if name not in self._failed:
                self._failed.add(name)
                said = str(error) or f"files of ids that cannot be read within {self._accounts.patience:g} s"
                _log.warning("an owned account cannot be followed yet", account=name, error=said)
            return None
        if name in self._failed:
            self._failed.discard(name)
            _log.info("the account is followed now", account=name)
        return resumed

    async def _collect(self, account: AccountName) -> None:
        try:
            await self._intake.collect(account)
        except StoreError:
            pass  # counted and logged where it arose; the next round goes on
        except Exception as error:  # noqa: BLE001 - what another version has put there must not end this one
            if account not in self._unreadable:
                self._unreadable.add(account)
                _log.error(
                    "what another replica has taken cannot be applied; it stays in the inbox",
                    account=account,
                    error=f"{type(error).__name__}: {error}",
                )
        else:
            self._unreadable.discard(account)
        finally:
            self._collecting.discard(account)
