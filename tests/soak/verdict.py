"""The table at the end: what must hold after a soak, row by row, with examples where it does not."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from exporter.clock import MICROS
from exporter.domain.values import UNKNOWN, Generation, Via
from exporter.metrics.families import DURABLES
from exporter.simulator.api import SimulatedApi
from exporter.simulator.ratelimit import Caller
from exporter.simulator.truth import Truth, truth
from soak.installation import RATE_LIMIT_SHARE
from soak.records import Records
from soak.supervised import Life, Log
from soak.telling import Expected, Key, Telling, Way
from support.scrape import Scrape
from support.truth import comparisons

SHOWN = 4
"""Examples of what is wrong with one row."""
LOG_BYTES_A_DAY = 1_000_000
LEAK = 1.05
"""Memory at the end over memory before, at equal age of the process."""
BACKFILLED_AFTER_US = 300 * MICROS


@dataclass(frozen=True)
class Row:
    """One line of the table. `wrong` holds what contradicts it; `None` is a mere statement."""

    what: str
    found: str
    wrong: Sequence[str] | None = ()


def row_of(what: str, found: str, wrong: Iterable[str]) -> Row:
    """A row with at most some of its examples."""
    every = list(wrong)
    return Row(what, found, [*every[:SHOWN], *([f"... {len(every)} in all"] if len(every) > SHOWN else [])])


def real(telling: Telling, api: SimulatedApi, records: Records) -> set[str]:
    """The ids that the exporter was told of and that end: registered, listed, or delivered."""
    acknowledged = api.delivered.acknowledged()
    ids = set()
    for key, told in telling.generations.items():
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
            for text in _differences(one.expected, one.found(page))
        )
    for family, found in wrong.items():
        yield row_of(family, f"{counts[family]} values", found)


def told_rows(page: Scrape, telling: Telling, records: Records, ids: set[str]) -> Iterator[Row]:
    """Where ids came from, what was dropped, and the fate of each id."""
    last = records.last
    sources = Counter((key[0], one.source.value) for key, one in last.items())
    name = "vivix_generations_discovered_total"
    yield row_of(name, f"{sources.total()} ids", _differences(sources, page.of(name)))
    drops = Counter((key[0], reason.value) for key, found in records.drops.items() for reason, _ in found)
    name = "vivix_generations_dropped_total"
    yield row_of(name, f"{drops.total()} drops", _differences(drops, page.of(name)))
    lost, wrongly, nonsense = [], [], []
    for key, told in telling.generations.items():
        record = last.get(key)
        if told.expected is not Expected.COUNTED:
            if record is None or record.drop is None or record.drop.reason.value != told.expected:
                nonsense.append(f"{key[0]}/{key[1]}: expected {told.expected}, {_state(record)}")
            continue
        if key[1] in ids and (record is None or record.end is None):
            lost.append(f"{key[0]}/{key[1]} ({told.way}): {_state(record)}")
        if key in records.drops and not told.may_drop:
            wrongly.append(f"{key[0]}/{key[1]} ({told.way}): {[r.value for r, _ in records.drops[key]]}")
    yield row_of("every generation told of has its end", f"{len(ids)} generations", lost)
    yield row_of("nothing that exists was dropped", f"{len(records.drops)} ids dropped", wrongly)
    expected = sum(told.expected is not Expected.COUNTED for told in telling.generations.values())
    yield row_of("what can never end was dropped, for its reason", f"{expected} ids", nonsense)
    yield row_of("one row a generation", f"{len(last)} rows", (f"{a}/{id}" for a, id in records.doubles))
    strangers = (f"{key[0]}/{key[1]} by {one.source}" for key, one in last.items() if _strange(key, telling))
    yield row_of("nothing that was not registered, listed or delivered", f"{len(last)} rows", strangers)


def derived_rows(page: Scrape, records: Records, api: SimulatedApi) -> Iterator[Row]:
    """Metrics that depend on which answers arrived: equal to the sum over the exporter's own records, each of
    which is compared with the simulator."""
    last = records.last
    started = {key: one for key, one in last.items() if one.processing_us is not None}
    count = Counter(key[0] for key in started)
    name = "vivix_generation_queue_seconds"
    shown = {(account,): page.sum(f"{name}_count", account=account) for account in {key[0] for key in last}}
    wrong = list(_differences({(a,): float(n) for a, n in count.items()}, shown))
    of_world = {one.id: one for one in api.world}
    for (account, id), one in started.items():
        true = of_world.get(id)
        if true is None or true.started_us is None or one.processing_us is None or true.ended_us is None:
            wrong.append(f"{account}/{id}: never rendered")
        elif not true.started_us - MICROS <= one.processing_us <= true.ended_us + MICROS:
            off = (one.processing_us - true.started_us) / MICROS
            wrong.append(f"{account}/{id}: seen rendering {off:.1f} s after it began")
    yield row_of(name, f"{len(started)} generations", wrong)
    if any(sample.startswith("vivix_credits_estimated") for sample, _ in page.samples):
        yield _estimated(page, last, of_world)
    if any(sample.startswith("vivix_generations_backfilled") for sample, _ in page.samples):
        yield _backfilled(page, last)
    checked = {
        "vivix_generations", "vivix_generation_failures", "vivix_generation_duration_seconds", name,
        "vivix_credits_used", "vivix_generation_outputs", "vivix_generations_discovered",
        "vivix_generations_dropped", "vivix_credits_estimated", "vivix_generations_backfilled",
    }  # fmt: skip
    unchecked = [durable.name for durable in DURABLES if durable.name not in checked]
    yield row_of("every durable metric is compared", f"{len(DURABLES)} metrics", unchecked)


def _estimated(page: Scrape, last: Mapping[Key, Generation], of_world: Mapping[str, object]) -> Row:
    name = "vivix_credits_estimated_total"
    sums: Counter[tuple[str, ...]] = Counter()
    for (account, _), one in last.items():
        if one.end is not None and one.credits_estimate_micro:
            sums[account, one.model or UNKNOWN, one.end.status.value] += one.credits_estimate_micro
    expected = {key: value / MICROS for key, value in sums.items()}
    return row_of(name, f"{len(expected)} values", _differences(expected, page.of(name)))


def _backfilled(page: Scrape, last: Mapping[Key, Generation]) -> Row:
    name = "vivix_generations_backfilled_total"
    count = Counter(
        (account, one.model or UNKNOWN, one.end.status.value)
        for (account, _), one in last.items()
        if one.end is not None and one.discovered_us - (one.ended_us or 0) > BACKFILLED_AFTER_US
    )
    return row_of(name, f"{count.total()} generations", _differences(count, page.of(name)))


def budget_rows(api: SimulatedApi) -> Iterator[Row]:
    """No account was called more often than its share in any 60 s."""
    for account in api.world.accounts.values():
        allowed = account.plan.calls_per_minute * RATE_LIMIT_SHARE
        most = api.calls.max_calls_in_any_window(account.name, Caller.READ)
        limited = api.calls.limited[account.name, Caller.READ]
        wrong = [f"{most} calls in 60 s, {allowed:.0f} allowed"] if most > allowed else []
        wrong += [f"{limited} calls got 429 for going over the plan"] if limited else []
        calls = api.calls.calls(account.name, Caller.READ)
        yield Row(
            f"budget of {account.name}", f"{calls} calls, at most {most} of {allowed:.0f} in 60 s", wrong
        )


def memory_rows(lives: Sequence[Life], quiet: tuple[float, float]) -> Iterator[Row]:
    """Resident memory at equal ages: of the first and last process, and within the long life of one."""
    what = "memory of the last process as of an early one, at equal age"
    window = (1_800.0, 3_480.0)
    of_lives = [(life, _resident(life, *window)) for life in lives]
    aged = [(life, value) for life, value in of_lives if value is not None]
    early = [pair for pair in aged if pair[0].began - lives[0].began >= 3_000]
    if len(early) < 2:
        yield Row(what, "too short a run to tell", None)
    else:
        yield _grown(what, early[0][1], early[-1][1])
    what = f"memory without kills, hour {quiet[0]:.0f} to {quiet[1]:.0f}: last hour against the third"
    longest = max(lives, key=lambda life: life.memory[-1][0] if life.memory else 0.0)
    age = longest.memory[-1][0] if longest.memory else 0.0
    if age < 5 * 3_600:
        yield Row(what, f"too short a run to tell; the longest life was {age / 3_600:.1f} h", None)
        return
    third, final = _resident(longest, 7_200, 10_800), _resident(longest, age - 3_600, age)
    if third is not None and final is not None:
        yield _grown(what, third, final)


def _grown(what: str, before: float, after: float) -> Row:
    found = f"{before / 2**20:.1f} MiB, then {after / 2**20:.1f} MiB ({after / before - 1:+.1%})"
    return Row(what, found, [found] if after > before * LEAK else [])


def _resident(life: Life, from_s: float, until_s: float) -> float | None:
    values = [size for age, size in life.memory if from_s <= age <= until_s]
    return median(values) if len(values) >= 5 else None


def log_rows(log: Log, days: float) -> Iterator[Row]:
    """How much was logged, and what never may be."""
    a_day = log.bytes / days
    found = f"{a_day / 1e6:.2f} MB a day apart from the ends"
    top = [
        f"{size / days / 1e3:.0f} kB a day: {log.messages[msg]} x {msg!r}"
        for msg, size in log.sizes.most_common(5)
    ]
    yield Row("log under 1 MB a simulated day", found, top if a_day > LOG_BYTES_A_DAY else [])
    yield row_of("no traceback in the log", f"{log.messages.total()} lines", log.tracebacks)
    yield row_of("no secret and no output URL in the log", f"{log.messages.total()} lines", log.leaks)
    yield Row("most of the log", "; ".join(top), None)


def span_rows(
    telling: Telling, records: Records, traces: set[str], trace_id: Mapping[Key, str]
) -> Iterator[Row]:
    """A trace for each end, and none that is of nothing."""
    ended = {key for key, one in records.last.items() if one.end is not None}
    missing = (
        f"{a}/{id} ({telling.generations[a, id].way})"
        for a, id in ended
        if (a, id) in telling.generations and trace_id[a, id] not in traces
    )
    yield row_of("every end has its trace", f"{len(ended)} ends, {len(traces)} traces", missing)
    yield row_of("no trace of nothing", f"{len(traces)} traces", traces - set(trace_id.values()))


def _strange(key: Key, telling: Telling) -> bool:
    """Whether the exporter cannot have learnt of a generation."""
    told = telling.generations.get(key)
    if told is None:
        return True
    return told.way is Way.WEBHOOK and telling.api.delivered.of(key[1]).attempts == 0


def lag_row(records: Records) -> Row:
    """How late ends were detected, of generations that were followed before; a mere statement."""
    late = sorted(
        (one.end.recorded_us - one.end.at_us) / MICROS
        for one in records.last.values()
        if one.end is not None and one.discovered_us < one.end.at_us
    )
    if not late:
        return Row("delay of detection", "nothing was detected", None)
    parts = ", ".join(f"{part:.0%} {late[int(part * (len(late) - 1))]:.1f} s" for part in (0.5, 0.9, 0.99, 1))
    return Row("delay of detection", f"{len(late)} ends: {parts}", None)


def _state(record: Generation | None) -> str:
    return (
        "no record"
        if record is None
        else f"{record.phase.value}" + (f" ({record.drop.reason.value})" if record.drop else "")
    )


def _differences(expected: Mapping[Any, float], found: Mapping[Any, float]) -> Iterator[str]:
    for key in sorted(expected.keys() | found.keys(), key=str):
        wanted, got = expected.get(key, 0), found.get(key, 0)
        if wanted != got:
            yield f"{key}: {got:g}, expected {wanted:g} ({got - wanted:+g})"
