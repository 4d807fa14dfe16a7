"""What a scrape shows, gathered from the ledger and the accounts when it comes."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from exporter.clock import MICROS, Clock
from exporter.domain.ledger import Label, Ledger, Series, Totals
from exporter.domain.values import AccountName, Status
from exporter.metrics.exemplars import Exemplars, OfCells
from exporter.metrics.families import GAUGES, Followed, InFlight, Known, Labels, Snapshot
from exporter.metrics.info_labels import InfoLabels


@dataclass(frozen=True, slots=True)
class Facts:
    """One account as of one moment: nothing in it changes any more. `totals` and `exemplars` are the same
    objects as before while nothing was added to them. `gauges` are in the order of the table."""

    account: AccountName
    known: Known
    totals: Totals
    exemplars: Mapping[Series, OfCells]
    gauges: Sequence[Sequence[tuple[Labels, float]]]
    overflow: Mapping[Label, int]


class Collector:
    """Gathers on the event loop, where all of this changes."""

    def __init__(
        self,
        ledger: Ledger,
        accounts: Mapping[AccountName, Followed],
        exemplars: Exemplars,
        clock: Clock,
    ) -> None:
        self._ledger = ledger
        self._accounts = accounts
        self._exemplars = exemplars
        self._clock = clock
        self._info_labels = InfoLabels(ledger)

    async def collect(self) -> list[Facts]:
        """Return the facts of all accounts. Others have their turn between one account and the next."""
        facts = []
        for name in list(self._accounts):
            account = self._accounts.get(name)
            if account is not None:
                facts.append(self._facts(name, account))
                await asyncio.sleep(0)
        return facts

    def _facts(self, name: AccountName, account: Followed) -> Facts:
        known = Known(self._ledger.known_models(name), self._ledger.known_reasons(name))
        snapshot = self._snapshot(account, known)
        return Facts(
            name,
            known,
            self._ledger.totals(name),
            self._exemplars.of(name),
            [list(gauge.read(snapshot)) for gauge in GAUGES],
            {label: self._ledger.overflow[name, label] for label in Label},
        )

    def _snapshot(self, account: Followed, known: Known) -> Snapshot:
        poller = account.poller
        now = self._clock.monotonic()
        plan = poller.account_info.plan(now)
        tier = plan.tier if plan is not None else None
        return Snapshot(
            poller=poller,
            broken_files=account.sources.broken_files,
            in_flight=self._in_flight(account, known, now),
            plan=plan,
            spend=self._ledger.spend(poller.account),
            tier=None if tier is None else self._info_labels.tier(poller.account, tier),
            models=self._info_labels.models(poller.account, poller.account_info.models(now)),
            now=now,
        )

    def _in_flight(self, account: Followed, known: Known, now: float) -> InFlight:
        follower = account.poller.follower
        shown = InFlight(unseen=follower.unseen)
        for model in known.models:
            shown.credits[model] = 0.0
            for one in (Status.PENDING, Status.PROCESSING):
                shown.count[model, one] = 0
        for group in follower.in_flight:
            model = self._ledger.shown_model(follower.account, group.kind[0])
            kind = model, group.kind[1]
            shown.count[kind] += group.count
            shown.credits[model] += group.credits_micro / MICROS
            shown.oldest[kind] = max(group.oldest(now), shown.oldest.get(kind, 0.0))
        return shown
