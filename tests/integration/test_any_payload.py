"""Whatever the API reports of a generation, every output can show what is then known of it."""

import itertools
import json
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from exporter.commands.explain import explain
from exporter.config import Secret, load_config
from exporter.domain.ledger import Ledger
from exporter.domain.values import (
    AccountName,
    Generation,
    GenerationId,
    NewGeneration,
    Observation,
    Source,
)
from exporter.simulator.server import serve
from exporter.store import Database, Transaction, open_database
from exporter.store.lists import Filter
from exporter.tracing.spans import trace_of
from exporter.vivix.payload import PayloadError, parse_delivery, parse_generation
from exporter.web.api.shapes import shown, shown_observation
from support.postgresql import Server
from support.running import exporter, until, write_config

STUDIO = AccountName("studio")
NOW_US = 1_795_000_000_000_000
COUNT = itertools.count()

times = st.one_of(
    st.datetimes().map(lambda moment: moment.isoformat() + "Z"),
    st.sampled_from(["0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", ""]),
    st.datetimes(datetime(1999, 12, 1), datetime(2000, 2, 1)).map(datetime.isoformat),
    st.datetimes(datetime(2199, 12, 1), datetime(2200, 2, 1)).map(datetime.isoformat),
)
amounts = st.one_of(
    st.integers(), st.floats(), st.sampled_from([0, -1, 1e9, 1e12, 3.1536e11, 10**30, 2**63]), st.just("1e11")
)
texts = st.one_of(st.text(), st.sampled_from(["m", "\ud800", "nul\0", "x" * 128]))


def fields(names: tuple[str, ...], values: st.SearchStrategy[object]) -> dict[str, st.SearchStrategy[object]]:
    return {name: st.one_of(st.none(), values) for name in names}


answers = st.fixed_dictionaries(
    {"status": st.sampled_from(["pending", "processing", "completed", "failed", "moderating"])},
    optional=fields(("created_at", "completed_at"), times)
    | fields(("elapsed_ms", "duration_ms", "credits_used", "credits_estimate"), amounts)
    | fields(("model", "error", "message", "output_url"), texts),
)
deliveries = st.fixed_dictionaries(
    {"generation_id": st.just("any"), "status": st.sampled_from(["completed", "failed"])},
    optional=fields(("completed_at",), times)
    | fields(("duration_ms", "credits_charged"), amounts)
    | fields(("model", "error_code", "error_message", "output_url"), texts),
)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with ExitStack() as stack:
        if request.param == "sqlite":
            at: Path | Secret = tmp_path_factory.mktemp("state") / "state.db"
        else:
            server: Server = request.getfixturevalue("postgresql")
            at = stack.enter_context(server.database())
        yield stack.enter_context(closing(open_database(at, owner=True)))


def assert_shown(database: Database, id: GenerationId) -> Generation:
    """The generation, shown in the list, on its own, by `explain` and as spans."""
    with database.begin() as connection:
        transaction = Transaction(connection, Ledger((), 5, 5), traced=True)
        [listed] = transaction.lists.page(Filter(), None, 1)
        history = transaction.history(STUDIO, id)
    assert listed.id == id
    json.dumps([shown(listed), *map(shown_observation, history)], allow_nan=False).encode()
    assert all(line.encode() for line in explain(database, id))
    if listed.created_us is not None and listed.ended_us is not None:
        trace = trace_of(listed)
        for span in (trace.root, *trace.children):
            assert 0 <= span.start_ns <= span.end_ns < 2**63
            json.dumps(dict(span.attributes), allow_nan=False)
    return listed


def apply(database: Database, *observations: Observation) -> GenerationId:
    id = GenerationId(f"any-{next(COUNT)}")
    ledger = Ledger((1_000_000,), 5, 5)
    with database.begin() as connection:
        transaction = Transaction(connection, ledger, traced=True)
        transaction.discover(STUDIO, Source.API, [NewGeneration(id)], NOW_US + next(COUNT), listed=False)
        for observation in observations:
            transaction.observe(STUDIO, id, observation, None)
        # As thousands of such generations would add up.
        assert all(abs(amount) * 2_000 < 2**63 for amount in transaction.additions.amounts.values())
        transaction.flush()
    return id


@given(payloads=st.lists(answers, min_size=1, max_size=3))
def test_whatever_polls_report_can_be_shown(database: Database, payloads: list[dict[str, object]]) -> None:
    asked = GenerationId("any")
    seen = [parse_generation(payload, asked, NOW_US + at) for at, payload in enumerate(payloads)]
    assert_shown(database, apply(database, *seen))


@given(payload=deliveries, before=st.lists(answers, max_size=1))
def test_whatever_a_delivery_reports_can_be_shown(
    database: Database, payload: dict[str, object], before: list[dict[str, object]]
) -> None:
    try:
        _, delivered = parse_delivery(payload, NOW_US + 1)
    except PayloadError:
        return
    seen = [parse_generation(one, GenerationId("any"), NOW_US) for one in before]
    assert_shown(database, apply(database, *seen, delivered))


async def test_an_absurd_answer_is_counted_and_shown_over_http_and_by_explain(tmp_path: Path) -> None:
    async def answer(request: Request) -> Response:
        asked = {"generation_id": request.path_params["id"], "status": "completed", "credits_used": 1e300}
        return JSONResponse({**asked, "created_at": "9999-12-31T23:59:59Z", "duration_ms": 3e11})

    vendor = Starlette(routes=[Route("/api/v1/generations/{id}", answer)])
    async with serve(vendor) as address:
        account: dict[str, object] = {
            "name": "studio",
            "base_url": address.url,
            "api_key": "k" * 41,
            "generations": ["absurd"],
        }
        path = write_config(tmp_path, [account])
        async with exporter(path) as running:
            await until(lambda: not any(running.app.followed().values()), "the end is seen")
            listed = await running.http.get(f"{running.url}/api/v1/generations")
            alone = await running.http.get(f"{running.url}/api/v1/generations/absurd")
            page = await running.scrape()
    assert (listed.status_code, alone.status_code) == (200, 200)
    assert alone.json()["created_at"] < alone.json()["completed_at"] < "2200"
    assert page.sum("vivix_generations_total", status="completed") == 1
    assert page.sum("vivix_credits_used_total") == 0
    with closing(open_database(load_config(path).state_at, owner=False)) as state:
        assert explain(state, GenerationId("absurd"))[0] == "generation  absurd"


@pytest.mark.parametrize("at_us", [253_402_300_799_000_000, 2**63 - 1, -(2**63) + 10**16])
def test_what_an_earlier_version_stored_of_an_absurd_time_can_be_shown(
    database: Database, at_us: int
) -> None:
    """It took every time that the API sent."""
    completed = parse_generation(
        {
            "status": "completed",
            "created_at": "2026-05-10T12:34:56Z",
            "completed_at": "2026-05-10T12:35:56Z",
            "duration_ms": 60_000,
        },
        GenerationId("any"),
        NOW_US,
    )
    id = apply(database, completed)
    with database.begin() as connection:
        connection.execute(
            text(
                "UPDATE generations SET created_us = :at, end_us = :at, end_duration_us = :took "
                "WHERE id = :id"
            ),
            {"at": at_us, "took": 10**15, "id": id},
        )
    listed = assert_shown(database, id)
    assert listed.created_us == at_us
    year = "9999" if at_us > 0 else "0001"
    assert str(shown(listed)["created_at"]).startswith(year)
