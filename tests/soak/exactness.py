"""Exactness after a soak: durable metrics, sources, drops and records against the simulator's truth."""

from collections import Counter
from collections.abc import Iterator, Mapping

from exporter.clock import MICROS
from exporter.domain.values import UNKNOWN, Generation, Via
from exporter.metrics.families import DURABLES
from exporter.simulator.api import SimulatedApi
from exporter.simulator.delivered import DeliveryLog
from exporter.simulator.truth import Truth, truth
from soak.records import Records
from soak.row import Row, differences, row_of
from soak.telling import Expected, Key, Told, Way
from support.scrape import Scrape
from support.truth import comparisons

BACKFILLED_AFTER_US, BORDER_US = 300 * MICROS, 2 * MICROS
OBSERVED, FOLLOWED = "vivix_account_spend_observed_credits", "vivix_account_spend_followed_credits"


def real(generations: Mapping[Key, Told], delivered: DeliveryLog, records: Records) -> set[str]:
    """The ids that the exporter learnt of and that end: registered, listed, or delivered."""
    acknowledged = delivered.acknowledged()
    ids = set()
    for key, told in generations.items():
        known = told.told or key[1] in acknowledged or key in records.last
        if told.expected is Expected.COUNTED and known:
            ids.add(key[1])
    return ids


def truth_of(api: SimulatedApi, records: Records, ids: set[str], now_us: int) -> Truth:
    """The truth, where it depends on which answers arrived by the exporter's own word."""
    of_world = {one.id: one for one in api.world}
    own = {id: records.last.get((of_world[id].account, id)) for id in ids}
    unnamed = {id for id, one in own.items() if one is not None and one.model in (None, UNKNOWN)}
    by_webhook = {id for id, one in own.items() if one and one.end and one.end.via is Via.WEBHOOK}
    return truth(api.world, now_us, api.shown, ids=ids, unnamed=unnamed, by_webhook=by_webhook)


def durable_rows(page: Scrape, true: Truth) -> Iterator[Row]:
    """One for each metric that the simulator alone determines."""
    wrong: dict[str, list[str]] = {}
    counts: Counter[str] = Counter()
    for one in comparisons(true, queues=False):
        family = one.name.removesuffix("_count").removesuffix("_sum").removesuffix("_bucket")
        counts[family] += len(one.expected)
        wrong.setdefault(family, []).extend(
            f"{one.name}{list(one.having.values()) or ''}: {text}"
            for text in differences(one.expected, one.found(page))
        )
    for family, found in wrong.items():
        yield row_of(family, f"{counts[family]} values", found)


def told_rows(
    page: Scrape, generations: Mapping[Key, Told], delivered: DeliveryLog, records: Records, ids: set[str]
) -> Iterator[Row]:
    """Where ids came from, what was dropped, and the fate of each id."""
    last = records.last
    sources = Counter((key[0], one.source.value) for key, one in last.items())
    name = "vivix_generations_discovered_total"
    yield row_of(name, f"{sources.total()} ids", differences(sources, page.of(name)))
    drops = Counter((key[0], reason.value) for key, found in records.drops.items() for reason, _ in found)
    name = "vivix_generations_dropped_total"
    yield row_of(name, f"{drops.total()} drops", differences(drops, page.of(name)))
    lost, wrongly, nonsense = [], [], []
    for key, told in generations.items():
        record = last.get(key)
        if told.expected is not Expected.COUNTED:
            if record is None or record.drop is None or record.drop.reason.value != told.expected:
                nonsense.append(f"{key[0]}/{key[1]}: expected {told.expected}, {_state(record)}")
            continue
        if key[1] in ids and (record is None or record.end is None):
            lost.append(f"{key[0]}/{key[1]} ({told.way}): {_state(record)}")
        if key in records.drops and not told.may_drop:
            wrongly.append(f"{key[0]}/{key[1]} ({told.way}): {[r.value for r, _ in records.drops[key]]}")
    yield row_of("every generation registered or reported has its end", f"{len(ids)} generations", lost)
    yield row_of("nothing that exists was dropped", f"{len(records.drops)} ids dropped", wrongly)
    expected = sum(told.expected is not Expected.COUNTED for told in generations.values())
    yield row_of("what can never end was dropped, for its reason", f"{expected} ids", nonsense)
    yield row_of("one row a generation", f"{len(last)} rows", (f"{a}/{id}" for a, id in records.doubles))
    strangers = (
        f"{key[0]}/{key[1]} by {one.source}"
        for key, one in last.items()
        if _strange(key, generations, delivered)
    )
    yield row_of("nothing that was not registered, listed or delivered", f"{len(last)} rows", strangers)


def derived_rows(
    page: Scrape, records: Records, api: SimulatedApi, *, wallet_was_read: bool = True
) -> Iterator[Row]:
    """Metrics that depend on which answers arrived: equal to the sum over the exporter's own records, each of
    which is compared with the simulator. `wallet_was_read` is whether it went on for several reads of the
    wallets."""
    last = records.last
    started = {key: one for key, one in last.items() if one.processing_us is not None}
    count = Counter(key[0] for key in started)
    name = "vivix_generation_queue_seconds"
    shown = {(account,): page.sum(f"{name}_count", account=account) for account in {key[0] for key in last}}
    wrong = list(differences({(a,): float(n) for a, n in count.items()}, shown))
    of_world = {one.id: one for one in api.world}
    for (account, id), one in started.items():
        true = of_world.get(id)
        if true is None or true.started_us is None or one.processing_us is None or true.ended_us is None:
            wrong.append(f"{account}/{id}: never rendered")
        elif not true.started_us - MICROS <= one.processing_us <= true.ended_us + MICROS:
            off = (one.processing_us - true.started_us) / MICROS
            wrong.append(f"{account}/{id}: seen rendering {off:.1f} s after it began")
    yield row_of(name, f"{len(started)} generations", wrong)
    names = {sample for sample, _ in page.samples}
    if "vivix_credits_estimated_total" in names:
        yield _estimated(page, last)
        yield _used_where_estimated(page, last)
    if "vivix_generations_backfilled_total" in names:
        yield _backfilled(page, last)
    if OBSERVED in names:
        yield from _spend(page, api, wallet_was_read=wallet_was_read)
    checked = {
        "vivix_generations", "vivix_generation_failures", "vivix_generation_duration_seconds", name,
        "vivix_credits_used", "vivix_generation_outputs", "vivix_generations_discovered",
        "vivix_generations_dropped", "vivix_credits_estimated", "vivix_generations_backfilled",
        "vivix_credits_used_where_estimated", OBSERVED, FOLLOWED,
    }  # fmt: skip
    unchecked = [durable.name for durable in DURABLES if durable.name not in checked]
    yield row_of("every durable metric is compared", f"{len(DURABLES)} metrics", unchecked)


def _estimated(page: Scrape, last: Mapping[Key, Generation]) -> Row:
    name = "vivix_credits_estimated_total"
    sums: Counter[tuple[str, ...]] = Counter()
    for (account, _), one in last.items():
        if one.end is not None and one.credits_estimate_micro:
            sums[account, one.model or UNKNOWN, one.end.status.value] += one.credits_estimate_micro
    expected = {key: value / MICROS for key, value in sums.items()}
    return row_of(name, f"{len(expected)} values", differences(expected, page.of(name)))


def _used_where_estimated(page: Scrape, last: Mapping[Key, Generation]) -> Row:
    name = "vivix_credits_used_where_estimated_total"
    sums: Counter[tuple[str, ...]] = Counter()
    for (account, _), one in last.items():
        if one.end is not None and one.end.credits_used_micro and one.credits_estimate_micro is not None:
            sums[account, one.model or UNKNOWN] += one.end.credits_used_micro
    expected = {key: value / MICROS for key, value in sums.items()}
    return row_of(name, f"{len(expected)} values", differences(expected, page.of(name)))


def _backfilled(page: Scrape, last: Mapping[Key, Generation]) -> Row:
    """Times are cut to seconds in places, so what is on the border may count or not."""
    name = "vivix_generations_backfilled_total"
    surely: Counter[tuple[str, ...]] = Counter()
    perhaps: Counter[tuple[str, ...]] = Counter()
    for (account, _), one in last.items():
        if one.end is None:
            continue
        key = account, one.model or UNKNOWN, one.end.status.value
        late_us = one.discovered_us - one.end.at_us
        surely[key] += late_us > BACKFILLED_AFTER_US + BORDER_US
        perhaps[key] += late_us > BACKFILLED_AFTER_US - BORDER_US
    found = page.of(name)
    wrong = [
        f"{key}: {found.get(key, 0):g}, expected {surely[key]} to {perhaps[key]}"
        for key in sorted(perhaps.keys() | found.keys())
        if not surely[key] <= found.get(key, 0) <= perhaps[key]
    ]
    return row_of(name, f"{surely.total()} generations", wrong)


def _spend(page: Scrape, api: SimulatedApi, *, wallet_was_read: bool) -> Iterator[Row]:
    """The wallet is read now and then, so these gauges are near the truth rather than equal to it. They begin
    with the second read of one owner."""
    used: Counter[tuple[str, ...]] = Counter()
    for one in api.world:
        if one.number is not None and one.ended_us is not None:
            used[(one.account,)] += one.fate.credits_used
    observed, followed = page.of(OBSERVED), page.of(FOLLOWED)
    for name, found, share in ((OBSERVED, observed, 0.95), (FOLLOWED, followed, 0.8)):
        least = share if wallet_was_read else 0.0
        wrong = [
            f"{account}: {found.get(account, 0):g}, expected {least * spent:.0f} to {1.05 * spent:.0f}"
            for account, spent in used.items()
            if not least * spent <= found.get(account, 0) <= 1.05 * spent
        ]
        yield row_of(name, f"{used.total()} credits spent", wrong)


def _state(record: Generation | None) -> str:
    return (
        "no record"
        if record is None
        else f"{record.phase.value}" + (f" ({record.drop.reason.value})" if record.drop else "")
    )


def _strange(key: Key, generations: Mapping[Key, Told], delivered: DeliveryLog) -> bool:
    """Whether the exporter cannot have learnt of a generation."""
    told = generations.get(key)
    if told is None:
        return True
    return told.way is Way.WEBHOOK and delivered.of(key[1]).attempts == 0
