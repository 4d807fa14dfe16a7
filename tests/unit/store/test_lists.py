"""Lists of generations: every filter finds what it says, newest first, through an index."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event, insert

from exporter.domain.values import AccountName, Generation, Phase
from exporter.store import open_database
from exporter.store.database import Database
from exporter.store.lists import Filter, Lists, Place
from exporter.store.reading import Reading
from exporter.store.schema import generations

ACCOUNTS, MODELS = ("a", "b"), (None, "m", "n")
KINDS = tuple(product(ACCOUNTS, MODELS, Phase))
FILTERS = [
    Filter(None if account is None else AccountName(account), phase, model, reason)
    for account, phase, model, reason in product(
        (None, *ACCOUNTS, "none"), (None, *Phase), (*MODELS, "none"), (None, "gave_up", "TIMEOUT", "none")
    )
]


def row(number: int) -> dict[str, object]:
    account, model, phase = KINDS[number * 7 % len(KINDS)]
    ended = phase in (Phase.COMPLETED, Phase.FAILED)
    return {
        "account": account,
        "id": f"g{number}",
        "source": "api",
        "discovered_us": number // 3,
        "listed": False,
        "registered": True,
        "polls": 0,
        "model": model,
        "status": None if phase in (Phase.UNSEEN, Phase.DROPPED) else phase.value,
        "drop_reason": "gave_up" if phase is Phase.DROPPED or (number % 5 == 0 and ended) else None,
        "drop_us": 1 if phase is Phase.DROPPED or (number % 5 == 0 and ended) else None,
        **dict.fromkeys(("end_us", "end_recorded_us", "end_credits_used_micro"), 1 if ended else None),
        "end_outputs": 0 if ended else None,
        "end_via": "poll" if ended else None,
        "end_reason": ("TIMEOUT", "NSFW")[number % 2] if phase is Phase.FAILED else None,
    }


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return filled(tmp_path)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with closing(filled(tmp_path_factory.mktemp("lists"))) as database:
        yield database


def filled(folder: Path) -> Database:
    database = open_database(folder / "state.db", owner=True)
    with database.begin() as connection:
        connection.execute(insert(generations), [row(number) for number in range(400)])
    return database


def matches(of: Filter, generation: Generation) -> bool:
    return (
        of.account in (None, generation.account)
        and of.phase in (None, generation.phase)
        and of.model in (None, generation.model)
        and of.reason in (None, reason_of(generation))
    )


def reason_of(generation: Generation) -> str | None:
    if generation.end is not None:
        return generation.end.reason
    return None if generation.drop is None else generation.drop.reason.value


def test_every_filter_finds_what_it_says_page_by_page(database: Database) -> None:
    with closing(database), database.read() as connection:
        reading = Reading(connection)
        every = reading.lists.page(Filter(), None, 1_000)
        assert len(every) == 400
        places = [(one.discovered_us, one.account, one.id) for one in every]
        assert places == sorted(places, reverse=True)
        for of in FILTERS:
            found: list[Generation] = []
            after: Place | None = None
            while page := reading.lists.page(of, after, 37):
                found += page
                after = Place(page[-1].discovered_us, page[-1].account, page[-1].id)
            assert found == [one for one in every if matches(of, one)], of


@settings(max_examples=20)
@given(many=st.integers(20, 450), part=st.sampled_from(["g1", "G39", "7", "none", "%"]))
def test_a_part_of_an_id_is_found_once_by_whoever_goes_on_looking_further_back(
    shared: Database, many: int, part: str
) -> None:
    with shared.read() as connection:
        lists = Lists(connection)
        for of in (Filter(), Filter(AccountName("a")), Filter(phase=Phase.DROPPED), Filter(reason="TIMEOUT")):
            found, after = lists.search(replace(of, id_part=part), None, 1_000, many)
            while after is not None:
                more, after = lists.search(replace(of, id_part=part), after, 1_000, many)
                found += more
            assert found == [one for one in lists.page(of, None, 1_000) if part.lower() in one.id]


def test_no_filter_reads_every_row_or_sorts_more_than_a_page(database: Database) -> None:
    asked: list[tuple[str, object]] = []
    with closing(database), database.read() as connection:
        note = lambda *call: asked.append((call[2], call[3]))  # noqa: E731
        event.listen(connection, "before_cursor_execute", note)
        for of, after in product(FILTERS, (None, Place(100, AccountName("a"), "g300"))):  # type: ignore[arg-type]
            Reading(connection).lists.page(of, after, 37)
        event.remove(connection, "before_cursor_execute", note)
        for statement, parameters in dict(asked).items():
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()  # type: ignore[arg-type]
            scans = [line.detail for line in plan if line.detail.startswith(("SCAN generations", "SEARCH"))]
            assert scans
            for scan in scans:
                assert "USING INDEX generations_by_" in scan or "USING COVERING INDEX" in scan, plan
            assert (
                all("generations_by_reason" in scan for scan in scans) or "drop_reason ELSE" not in statement
            )
