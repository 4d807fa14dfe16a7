"""Commands as a user types them, in processes of their own."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

COMMAND = (str(Path(sys.executable).with_name("vivix-exporter")),)


def run(
    *arguments: str,
    env: dict[str, str] | None = None,
    cwd: Path | None = None,
    answers: str | None = None,
    prefix: Sequence[str] = (),
) -> subprocess.CompletedProcess[str]:
    """A command that has ended; `answers` are what is typed, `prefix` is what it is started by."""
    return subprocess.run(
        [*prefix, *COMMAND, *arguments],
        input=answers,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=cwd,
        env={**os.environ, **(env or {})},
    )


def on_a_free_port(path: Path) -> tuple[str, ...]:
    """`run` with a configuration, logging JSON."""
    listen = ("--web.listen-address", "127.0.0.1:0")
    return ("run", "--config.file", str(path), *listen, "--log.format", "json")


@asynccontextmanager
async def started(
    *arguments: str, env: dict[str, str] | None = None
) -> AsyncIterator[tuple[asyncio.subprocess.Process, list[str]]]:
    """A command under way, and the lines that it has printed so far on both streams."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, **(env or {})},
    )
    lines: list[str] = []

    async def read() -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            lines.append(line.decode().rstrip())

    reading = asyncio.create_task(read())
    try:
        yield process, lines
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await reading


def printed(lines: Sequence[str], pattern: str) -> Callable[[], bool]:
    return lambda: any(re.search(pattern, line) for line in lines)


def found(lines: Sequence[str], pattern: str) -> str:
    return next(match[1] for line in lines if (match := re.search(pattern, line)))
