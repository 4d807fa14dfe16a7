"""How long each list over a million remembered generations takes, and what its indexes cost each write, on
SQLite: in processor time, since it answers within the process."""

import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice, product
from pathlib import Path

from sqlalchemy import insert, text

from bench.table import Row, report
from exporter.domain.values import AccountName, Phase
from exporter.store import open_database
from exporter.store.database import Database
from exporter.store.lists import Filter, Place
from exporter.store.reading import Reading
from exporter.store.schema import generations
from exporter.web.pages.handlers import SEARCHED

MANY, DAY_US = 1_000_000, 86_400_000_000
NOW_US = 1_762_000_000_000_000
ACCOUNTS = [f"account-{number}" for number in range(10)]
MODELS = [f"model-{number}" for number in range(20)]
PAGE, STEPS = 50, 28
REASONS = ("PROVIDER_ERROR", "NSFW", "TIMEOUT")
ADDED = (
    "generations_by_phase",
    "generations_by_account_phase",
    "generations_by_model_phase",
    "generations_by_account_model_phase",
    "generations_failed",
    "generations_by_close",
    "generations_by_reason",
)


def row(number: int, chance: random.Random) -> dict[str, object]:
    """One of a million over 30 days: 5 % failed; the last account and the last model are rare and old."""
    at_us = NOW_US - 30 * DAY_US + number * 30 * DAY_US // MANY
    rare = number < 100
    status = "failed" if chance.random() < 0.05 else "completed"
    return {
        "account": ACCOUNTS[-1] if rare else chance.choice(ACCOUNTS[:-1]),
        "id": f"{chance.getrandbits(128):032x}",
        "source": "api",
        "discovered_us": at_us,
        "listed": False,
        "registered": True,
        "polls": 3,
        "status": status,
        "model": MODELS[-1] if rare else chance.choice(MODELS[:-1]),
        "created_us": at_us,
        "observed_us": at_us + 12_000_000,
        "closed_us": at_us + 12_000_000,
        "end_us": at_us + 12_000_000,
        "end_recorded_us": at_us + 12_000_000,
        "end_via": "poll",
        "end_duration_us": 12_000_000,
        "end_credits_used_micro": 4_250_000,
        "end_outputs": 1,
        "end_reason": chance.choice(REASONS) if status == "failed" else None,
    }


def fill(database: Database, many: int) -> float:
    """Insert generations. Returns the seconds of processor time that each took."""
    chance = random.Random(1)
    numbered = (row(number, chance) for number in range(many))
    took = 0.0
    while part := list(islice(numbered, 1_000)):
        begun = time.process_time()
        with database.begin() as connection:
            connection.execute(insert(generations), part)
        took += time.process_time() - begun
    return took / many


def questions() -> Iterator[tuple[str, Callable[[Reading], object]]]:
    """Every filter, from the beginning and from the middle, and what a page of statuses counts."""
    middle = Place(NOW_US - 15 * DAY_US, AccountName(ACCOUNTS[0]), "")  # type: ignore[arg-type]
    accounts = (None, ACCOUNTS[0], ACCOUNTS[-1], "none")
    models = (None, MODELS[0], MODELS[-1], "none")
    reasons = (None, REASONS[0], "none")
    for account, phase, model, reason in product(accounts, (None, *Phase), models, reasons):
        of = Filter(None if account is None else AccountName(account), phase, model, reason)
        for after in (None, middle):
            name = "a list" if reason is None else "a list of a reason"
            yield name, lambda reading, of=of, after=after: reading.lists.page(of, after, PAGE)  # type: ignore[misc]
    for name, hours in (("hour", 1), ("day", 24), ("week", 168)):
        since_us, step_us = NOW_US - DAY_US * hours // 24, DAY_US * hours // 24 // STEPS
        yield f"failures of a {name}", lambda r, s=since_us, d=step_us: r.overview.failures(s, d)  # type: ignore[misc]
    for name, hours in (("hour", 1), ("day", 24)):
        since_us = NOW_US - DAY_US * hours // 24
        yield f"ends of a {name}", lambda reading, since_us=since_us: reading.overview.ends(since_us)  # type: ignore[misc]
    for phase in (None, Phase.COMPLETED):
        part = Filter(phase=phase, id_part="0123456789")
        for after in (None, middle):
            yield "a part of an id", lambda r, of=part, after=after: r.lists.search(of, after, PAGE, SEARCHED)  # type: ignore[misc]
    yield "the latest failures", lambda reading: reading.overview.latest_failures(20)
    yield (
        "what is in flight",
        lambda reading: (reading.overview.in_flight(100), reading.overview.count_in_flight()),
    )


def ask(database: Database) -> Iterator[Row]:
    """The slowest answer of each kind, each the median of three."""
    slowest: dict[str, float] = {}
    with database.read() as connection:
        reading = Reading(connection)
        for name, question in questions():
            took = []
            for _ in range(4):
                begun = time.process_time()
                question(reading)
                took.append(time.process_time() - begun)
            slowest[name] = max(slowest.get(name, 0.0), statistics.median(took[1:]))
    for name, seconds in slowest.items():
        yield Row(name, seconds * 1e3, "ms of CPU", 40)


@contextmanager
def opened(at: Path) -> Iterator[Database]:
    database = open_database(at, owner=True)
    try:
        yield database
    finally:
        database.close()


def measure(without: Path, with_them: Path) -> Iterator[Row]:
    with opened(without) as database:
        with database.begin() as connection:
            for index in ADDED:
                connection.execute(text(f"DROP INDEX {index}"))
            connection.execute(text("CREATE INDEX generations_by_age ON generations (closed_us)"))
        before = fill(database, MANY)
    with opened(with_them) as database:
        after = fill(database, MANY)
        yield from ask(database)
    yield Row("an insertion without the indexes of versions 4 and 5", before * 1e6, "us of CPU")
    yield Row("an insertion with them", after * 1e6, "us of CPU")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        report("lists", list(measure(Path(folder) / "without.db", Path(folder) / "with.db")))


if __name__ == "__main__":
    main()
