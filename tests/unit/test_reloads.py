"""Every request to reload is answered, and none ends what answers them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from structlog.testing import capture_logs

from exporter.errors import ConfigError
from exporter.reloads import Reloads


class Counter:
    refused = 0

    def count(self) -> None:
        self.refused += 1


@asynccontextmanager
async def running(apply: Callable[[], Awaitable[None]], counter: Counter) -> AsyncIterator[Reloads]:
    reloads = Reloads(apply, counter.count)
    task = asyncio.create_task(reloads.run())
    try:
        yield reloads
    finally:
        task.cancel()
        await asyncio.wait({task})


async def test_an_unexpected_error_is_a_refusal_and_later_reloads_work() -> None:
    outcomes: list[Exception | None] = [KeyError("vvx_live_secret"), ConfigError("line 3"), None]

    async def apply() -> None:
        if (outcome := outcomes.pop(0)) is not None:
            raise outcome

    counter = Counter()
    async with running(apply, counter) as reloads:
        with capture_logs() as logs:
            unexpected, broken, fine = [await reloads.ask() for _ in range(3)]
    assert "KeyError in test_reloads.py:" in str(unexpected)
    assert str(broken) == "line 3"
    assert fine is None
    assert counter.refused == 2
    assert [line["log_level"] for line in logs] == ["error", "error"]
    assert "KeyError" in logs[0]["error"]
    assert "secret" not in f"{logs}{unexpected}"


async def test_requests_during_a_reload_share_the_next_one() -> None:
    begun, may_end, reloads_made = asyncio.Event(), asyncio.Event(), 0

    async def apply() -> None:
        nonlocal reloads_made
        reloads_made += 1
        begun.set()
        await may_end.wait()

    async with running(apply, Counter()) as reloads:
        first = reloads.ask()
        await begun.wait()
        others = [reloads.ask() for _ in range(100)]
        assert not first.done()
        may_end.set()
        assert await asyncio.gather(first, *others) == [None] * 101
    assert reloads_made == 2


async def test_a_reload_while_the_exporter_stops_is_answered() -> None:
    begun, counter = asyncio.Event(), Counter()

    async def apply() -> None:
        begun.set()
        await asyncio.Event().wait()

    async with running(apply, counter) as reloads:
        under_way = reloads.ask()
        await begun.wait()
        waiting = reloads.ask()
    late = reloads.ask()
    for asked in (under_way, waiting, late):
        assert "stopping" in str(await asked)
    assert counter.refused == 0


async def test_whoever_no_longer_waits_does_not_matter() -> None:
    async def apply() -> None:
        return

    async with running(apply, Counter()) as reloads:
        gone = reloads.ask()
        gone.cancel()
        assert await reloads.ask() is None
