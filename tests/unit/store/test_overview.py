"""What the first page asks of the state, in each kind of database."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import insert

from exporter.clock import MICROS
from exporter.config import Secret
from exporter.domain.values import AccountName, End, Generation, GenerationId, Source, Status, Via
from exporter.store import Database, open_database
from exporter.store.lists import Filter
from exporter.store.overview import Ends, Failures
from exporter.store.reading import Reading
from exporter.store.rows import to_row
from exporter.store.schema import generations

NOW_US = 1_790_000_000 * MICROS
HOUR_US = 3_600 * MICROS
STUDIO, SHOP = AccountName("studio"), AccountName("shop")


def known(id: str, age_us: int, account: AccountName = STUDIO, model: str | None = "wan") -> Generation:
    return Generation(account, GenerationId(id), Source.API, NOW_US - age_us, Status.PENDING, model)


def ended(id: str, age_us: int, reason: str | None = None, **more: object) -> Generation:
    status = Status.FAILED if reason else Status.COMPLETED
    at_us = NOW_US - age_us
    end = End(status, at_us, at_us, Via.POLL, MICROS, 2 * MICROS, 1, reason, None)
    return replace(known(id, age_us + MICROS), status=status, end=end, **more)  # type: ignore[arg-type]


ALL = (
    known("young", 1 * MICROS),
    known("old", 60 * MICROS),
    known("theirs", 30 * MICROS, SHOP),
    ended("good", 10 * MICROS),
    ended("bad", 20 * MICROS, "TIMEOUT"),
    ended("bad-before", 2 * HOUR_US, "TIMEOUT", model=None),
    ended("bad_elsewhere", 3 * HOUR_US, "PROVIDER_ERROR", account=SHOP),
)


@pytest.fixture
def database(state_at: Path | Secret) -> Iterator[Database]:
    opened = open_database(state_at, owner=True)
    with opened.begin() as connection:
        for one in ALL:
            connection.execute(insert(generations).values(**to_row(one), listed=False, registered=True))
    yield opened
    opened.close()


@pytest.fixture
def reading(database: Database) -> Iterator[Reading]:
    with database.read() as connection:
        yield Reading(connection)


def ids(found: list[Generation]) -> list[str]:
    return [one.id for one in found]


def test_what_runs_comes_oldest_first_and_is_counted_by_account(reading: Reading) -> None:
    assert ids(reading.overview.in_flight(10)) == ["old", "theirs", "young"]
    assert ids(reading.overview.in_flight(1)) == ["old"]
    assert reading.overview.count_in_flight() == {STUDIO: 2, SHOP: 1}


def test_failures_come_latest_first(reading: Reading) -> None:
    assert ids(reading.overview.latest_failures(10)) == ["bad", "bad-before", "bad_elsewhere"]
    assert ids(reading.overview.latest_failures(1)) == ["bad"]


def test_ends_are_counted_since_a_time(reading: Reading) -> None:
    assert sorted(reading.overview.ends(NOW_US - HOUR_US), key=str) == [
        Ends(STUDIO, Status.COMPLETED, 1, 2 * MICROS),
        Ends(STUDIO, Status.FAILED, 1, 2 * MICROS),
    ]
    assert sum(one.count for one in reading.overview.ends(NOW_US - 4 * HOUR_US)) == 4


def test_failures_are_counted_by_reason_model_and_interval(reading: Reading) -> None:
    assert set(reading.overview.failures(NOW_US - 4 * HOUR_US, HOUR_US)) == {
        Failures("TIMEOUT", "wan", 3, 1),
        Failures("TIMEOUT", "unknown", 2, 1),
        Failures("PROVIDER_ERROR", "wan", 1, 1),
    }


def test_nobody_owns_an_account_of_a_state_that_is_not_shared(reading: Reading) -> None:
    assert reading.overview.owners() == {}
    assert not reading.overview.is_empty()


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        (Filter(id_part="bad"), {"bad", "bad-before", "bad_elsewhere"}),
        (Filter(id_part="BAD-"), {"bad-before"}),
        (Filter(id_part="d_e"), {"bad_elsewhere"}),
        (Filter(id_part="%"), set()),
        (Filter(reason="TIMEOUT"), {"bad", "bad-before"}),
        (Filter(account=STUDIO, reason="PROVIDER_ERROR"), set()),
    ],
)
def test_lists_are_limited_to_reasons_and_parts_of_ids(
    reading: Reading, of: Filter, expected: set[str]
) -> None:
    assert set(ids(reading.lists.page(of, None, 100))) == expected
