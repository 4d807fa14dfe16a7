"""Promises besides exactness: traces, budgets, memory, log and delay."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import median

from exporter.clock import MICROS
from exporter.domain.traceid import trace_id
from exporter.domain.values import Generation, GenerationId, Source
from exporter.simulator.api import SimulatedApi
from exporter.simulator.ratelimit import Caller
from soak.installation import RATE_LIMIT_SHARE
from soak.records import Records
from soak.row import Row, row_of
from soak.supervised import Life, Log
from soak.telling import Key, Told

LOG_BYTES_A_DAY = 1_000_000
LEAK = 1.05
"""Memory at the end over memory before, at equal age of the process."""


def span_rows(generations: Mapping[Key, Told], records: Records) -> Iterator[Row]:
    """A trace for each end, under the caller's trace id where one was registered, and none of nothing."""
    traces, known = records.traces, set()
    ended, missing = 0, []
    for key, one in records.last.items():
        told = generations.get(key)
        own, wanted = trace_id(GenerationId(key[1])), _wanted(one, told)
        known |= {own, *wanted}
        if one.end is not None:
            ended += 1
            if not wanted & traces:
                missing.append(f"{key[0]}/{key[1]} ({told.way if told else 'unknown'})")
    yield row_of("every end has its trace", f"{ended} ends, {len(traces)} traces", missing)
    yield row_of("no trace of nothing", f"{len(traces)} traces", traces - known)


def _wanted(one: Generation, told: Told | None) -> set[str]:
    """The trace ids that are right. A webhook may be faster than the registration with its traceparent."""
    own = trace_id(one.id)
    parent = told.traceparent if told else None
    if parent is None:
        return {own}
    of_caller = trace_id(one.id, parent)
    return {own, of_caller} if one.source is Source.WEBHOOK else {of_caller}


def budget_rows(api: SimulatedApi, share: float = RATE_LIMIT_SHARE) -> Iterator[Row]:
    """No account was called more often than its share in any 60 s."""
    for account in api.world.accounts.values():
        allowed = account.plan.calls_per_minute * share
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
