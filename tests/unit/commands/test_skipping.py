"""A loop that begins in the past: nothing waits, nothing is overtaken, and in the end it is the present."""

import asyncio
import socket
import threading
import time
from collections.abc import Coroutine
from typing import Any

import pytest

from exporter.clock import MICROS, SystemClock
from exporter.commands.skipping import SkippingClock, SkippingLoop

HOUR = 3600.0


def run(loop: SkippingLoop, work: Coroutine[Any, Any, Any]) -> Any:
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(work)


def test_an_hour_of_waiting_passes_at_once_and_in_order() -> None:
    loop = SkippingLoop(2 * HOUR)
    clock = SkippingClock(loop)
    order: list[str] = []

    async def later(seconds: float, name: str) -> None:
        await clock.sleep(seconds)
        order.append(name)

    async def work() -> tuple[float, float]:
        began, wall_us = clock.monotonic(), clock.now_us()
        await asyncio.gather(later(HOUR, "last"), later(60, "first"), later(600, "second"))
        return clock.monotonic() - began, (clock.now_us() - wall_us) / MICROS

    elapsed, wall = run(loop, work())
    assert order == ["first", "second", "last"]
    assert elapsed == pytest.approx(HOUR, abs=60)
    assert wall == pytest.approx(elapsed, abs=1)


def test_it_arrives_in_the_present_and_skips_nothing_then() -> None:
    loop = SkippingLoop(HOUR)
    clock = SkippingClock(loop)

    async def work() -> tuple[float, float]:
        await asyncio.sleep(HOUR / 2)
        assert not loop.arrived.is_set()
        ticking = asyncio.create_task(tick())
        await loop.arrived.wait()
        ticking.cancel()
        began = time.monotonic()
        await asyncio.sleep(0.05)
        return time.monotonic() - began, abs(clock.now_us() - SystemClock().now_us()) / MICROS

    async def tick() -> None:
        while True:
            await asyncio.sleep(1)

    took, apart = run(loop, work())
    assert took >= 0.05
    assert apart < 1


def test_work_on_a_thread_holds_the_time_up() -> None:
    loop = SkippingLoop(24 * HOUR)
    begun, go_on = threading.Event(), threading.Event()

    def work_of_thread() -> str:
        begun.set()
        go_on.wait()
        return "done"

    async def work() -> float:
        began = loop.time()
        task = asyncio.create_task(asyncio.to_thread(work_of_thread))
        while not begun.is_set():
            await asyncio.sleep(0)
        # Real milliseconds pass here, not the minutes that a timer would be away.
        waiting = loop.call_later(600, go_on.set)
        await asyncio.sleep(0.01)
        go_on.set()
        assert await task == "done"
        waiting.cancel()
        return loop.time() - began

    assert run(loop, work()) < 600


def test_what_a_socket_brings_comes_before_any_later_time() -> None:
    loop = SkippingLoop(24 * HOUR)

    async def echo(there: socket.socket) -> None:
        while said := await loop.sock_recv(there, 100):
            await loop.sock_sendall(there, said)

    async def work() -> float:
        here, there = socket.socketpair()
        with here, there:
            here.setblocking(False)
            there.setblocking(False)
            echoing = asyncio.create_task(echo(there))
            began = loop.time()
            for number in range(100):
                async with asyncio.timeout(30):
                    await loop.sock_sendall(here, b"%d" % number)
                    assert await loop.sock_recv(here, 100) == b"%d" % number
            here.shutdown(socket.SHUT_WR)
            await echoing
            return loop.time() - began

    assert run(loop, work()) < 30
