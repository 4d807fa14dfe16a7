"""Three replicas on one PostgreSQL through every kind of trouble: what they count and keep, who may write."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from statistics import median

import pytest

from exporter.tracing.spans import trace_of
from soak import exactness, promises
from soak.records import Records
from soak.row import Row, row_of, show
from support import lease_audit
from support.lease_audit import Succession
from support.ordeal import SHARE, Ordeal, Scene, highest, known_to, scene
from support.pgbouncer import PgBouncer
from support.postgresql import Server
from support.scrape import Scrape

FULL = Ordeal(2_000, 115, 20, (12, 42), (47, 77), (83, 93), 103)
SHORT = Ordeal(800, 50, 7, (7, 19), (21, 33), (36.5, 41), 43)
PROMISED = 10.0
STARTING = 20.0
"""Seconds after an outage in which a process may still say that it found no server: it tries for 15 s."""


def counted_rows(at: Scene, pages: Sequence[Scrape], records: Records) -> Iterator[Row]:
    """Every durable metric is the truth, as replicas show it at the end and in the most they ever showed. No
    owner lasts long enough to read a wallet twice."""
    generations, delivered = at.client.generations, at.api.delivered
    ids = exactness.real(generations, delivered, records)
    true = exactness.truth_of(at.api, records, ids, at.api.clock.now_us())
    page, ever = highest(pages), highest([at.shown, *pages])
    yield from exactness.durable_rows(page, true)
    for row in exactness.durable_rows(ever, true):
        yield replace(row, what=f"{row.what}, the most ever shown")
    yield from exactness.told_rows(page, generations, delivered, records, ids)
    yield from exactness.derived_rows(page, records, at.api, wallet_was_read=False)


def kept_rows(at: Scene, records: Records, known: Sequence[Mapping[str, str]]) -> Iterator[Row]:
    """All that was acknowledged is there, whoever acknowledged it and whoever is asked."""
    stored = {id: one.phase.value for (_, id), one in records.last.items()}
    ended = {id for (_, id), one in records.last.items() if one.end is not None}
    registered = {key[1] for key, told in at.client.generations.items() if told.told}
    delivered = set(at.api.delivered.acknowledged())
    yield row_of("every id acknowledged has its end", f"{len(registered)} ids", registered - ended)
    yield row_of("every delivery acknowledged has its end", f"{len(delivered)} ids", delivered - ended)
    for number, shown in enumerate(known):
        wrong = [id for id in stored.keys() | shown.keys() if stored.get(id) != shown.get(id)]
        yield row_of(f"replica {number} shows every generation", f"{len(shown)} generations", wrong)


def span_row(arrived: Sequence[str], records: Records) -> Row:
    """Each span of each end has arrived, and no other."""
    ended = [one for one in records.last.values() if one.end is not None]
    expected = {span.id for one in map(trace_of, ended) for span in (one.root, *one.children)}
    repeated = len(arrived) - len(set(arrived))
    return row_of("all spans, by id", f"{len(expected)} spans, {repeated} repeated", expected ^ set(arrived))


def succession_rows(every: Sequence[Succession]) -> Iterator[Row]:
    """What a replica lost had a next owner. How soon is stated beside the 10 s that the contract promises:
    how fast the machine is decides no test."""
    for how in ("killed", "frozen", "cut off", "stopped"):
        of_kind = [one for one in every if one.loss.how == how]
        took = sorted(one.seconds for one in of_kind if one.seconds is not None)
        found = f"{len(of_kind)} accounts" + (
            f": {median(took):.2f} s, at most {took[-1]:.2f} s" if took else ""
        )
        late = sum(second > PROMISED for second in took)
        never = [f"{one.account} of {one.loss.replica}" for one in of_kind if one.seconds is None]
        what = f"accounts of replicas that were {how} had their next owner"
        yield row_of(what, f"{found}, {late} later than {PROMISED:g} s", never)


def rest_rows(pages: Sequence[Scrape]) -> Iterator[Row]:
    """At rest each replica sees the others, and none believes that anything is left to be done."""
    for name, expected in (("vivix_exporter_replicas", len(pages)), ("vivix_exporter_spans_pending", 0)):
        found = [page.sum(name) for page in pages]
        wrong = [f"replica {number}: {value:g}" for number, value in enumerate(found) if value != expected]
        yield row_of(name, f"{expected} on each", wrong)


def process_rows(at: Scene) -> Iterator[Row]:
    """Processes ended when they were asked to, and logged nothing that they must not."""
    logs = [one.exporter.log for one in at.replicas.every]
    lines = f"{sum(log.messages.total() for log in logs)} lines"
    # One that starts just when the server goes away says so and ends; its supervisor starts it anew.
    ended = [
        how
        for when, how in at.replicas.deaths
        if not any(
            since <= when <= until + STARTING and how.startswith(who) for since, until, who in at.outages
        )
    ]
    found = f"{len(at.replicas.deaths)} ended at their start, for want of the server"
    yield row_of("no process ended by itself", found, ended)
    yield row_of("each ended when asked to", f"exits {at.exits}", [f"{one}" for one in at.exits if one != 0])
    yield row_of("no traceback in the logs", lines, [line for log in logs for line in log.tracebacks])
    yield row_of("no secret in the logs", lines, [line for log in logs for line in log.leaks])
    yield Row("registrations", f"answered {dict(at.client.answers)}", None)
    yield Row("deliveries", f"answered {dict(at.api.delivered.statuses)}", None)


@pytest.mark.long(210)
@pytest.mark.parametrize(
    ("ordeal", "pooled"), [(FULL, False), (SHORT, True)], ids=["directly", "through a pooler"]
)
async def test_through_kills_freezes_cuts_and_restarts_replicas_stay_exact_and_keep_every_promise(
    tmp_path: Path, ordeal: Ordeal, pooled: bool
) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(Server())
        state = server.create_database()
        pooler = stack.enter_context(PgBouncer(server)) if pooled else None
        async with scene(tmp_path, server, state, pooler) as at:
            await at.suffer(ordeal)
            pages = await at.pages()
            known = [await known_to(one) for one in at.replicas.every]
        arrived, records = list(at.traces.order), Records(state, at.traces)
        await records.collect()
        changes, unfenced = lease_audit.read(state)
    succeeded = list(lease_audit.successions(changes, at.replicas.losses))
    assert show(
        [
            row_of("everything ended", "in time", [f"{n:g} {what}" for what, n in at.left.items() if n]),
            *counted_rows(at, pages, records),
            *kept_rows(at, records, known),
            span_row(arrived, records),
            *promises.span_rows(at.client.generations, records),
            *promises.budget_rows(at.api, SHARE),
            *lease_audit.owner_rows(changes, unfenced),
            *succession_rows(succeeded),
            *rest_rows(pages),
            *process_rows(at),
        ]
    )
