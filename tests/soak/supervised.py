"""The exporter's process: started, killed, restarted where it ends by itself; its memory, time and log."""

import asyncio
import os
import re
import resource
from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from signal import Signals

import httpx

from exporter.clock import Clock

SAMPLE_EVERY = 60.0
"""Simulated seconds between two readings of memory and processor time."""
PATIENCE = 60.0
"""Seconds that a process may take to end when it is asked to, on the slowest machine."""
PAGE, TICKS = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")
_MESSAGE = re.compile(r'\bmsg=(?:"((?:[^"\\]|\\.)*)"|(\S+))')
ENDED = "generation ended"
"""The message of the line that each end may have."""


@dataclass
class Life:
    """One process: when it began in simulated seconds, and (age, resident bytes) as sampled."""

    pid: int
    began: float
    memory: list[tuple[float, int]] = field(default_factory=list)
    cpu_s: float = 0.0
    how_it_ended: str = ""


@dataclass
class Log:
    """What was logged: bytes of all lines but those of the ends, how often each message, what must not be."""

    file: Path
    secrets: Collection[str]
    bytes: int = 0
    messages: Counter[str] = field(default_factory=Counter)
    sizes: Counter[str] = field(default_factory=Counter)
    tracebacks: list[str] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)
    last: deque[str] = field(default_factory=lambda: deque(maxlen=30))

    def take(self, line: str) -> None:
        """Count one line."""
        found = _MESSAGE.search(line)
        message = (found[1] or found[2]) if found else "(no msg)"
        self.messages[message] += 1
        self.last.append(line)
        if message != ENDED:
            self.bytes += len(line.encode())
            self.sizes[message] += len(line.encode())
        if "Traceback" in line:
            self.tracebacks.append(line[:300])
        if any(secret in line for secret in self.secrets) or "r2.dev" in line:
            self.leaks.append(line[:300])


class Supervised:
    """One exporter at a time, on one port."""

    def __init__(
        self,
        command: Sequence[str],
        clock: Clock,
        port: int,
        log: Log,
        environment: dict[str, str],
        died: Callable[[str], None],
    ) -> None:
        """`command` runs an exporter that listens on `port` of loopback, in the time of `clock`; `died` hears
        of each process that ended without having been killed."""
        self.url = f"http://127.0.0.1:{port}"
        self.log = log
        self.lives: list[Life] = []
        self.up = asyncio.Event()
        """Set while the exporter is ready."""
        self._clock = clock
        self._command = command
        self._environment = {**os.environ, **environment}
        self._died = died
        self._process: asyncio.subprocess.Process | None = None
        self._killed = False
        self._stopping = False

    async def run(self) -> None:
        """Keep one running until cancelled."""
        http = httpx.AsyncClient(timeout=5)
        try:
            while not self._stopping:
                await self._live(http)
                await asyncio.sleep(0.1)
        finally:
            if self._process is not None and self._process.returncode is None:
                self._process.kill()
            await http.aclose()

    async def kill(self) -> None:
        """End it as a power cut would; another one starts."""
        assert self._process is not None
        self._killed = True
        self.up.clear()
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    async def stop(self) -> int | None:
        """End it as an administrator does, for good; its exit status, None where it did not end in time."""
        self._stopping = True
        return await self.restart()

    async def restart(self) -> int | None:
        """End it as an administrator does; another one starts. The exit status of the first, None where it
        did not end in time."""
        assert self._process is not None
        process, self._killed = self._process, True
        self.up.clear()
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(PATIENCE):
                return await process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                process.kill()
            return None

    def signal(self, which: Signals) -> None:
        """Send it a signal that does not end it."""
        assert self._process is not None
        with suppress(ProcessLookupError):
            self._process.send_signal(which)

    def let_write(self, allowed: bool) -> None:
        """Let writes to files fail as on a full disk, or succeed again."""
        assert self._process is not None
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        with suppress(ProcessLookupError):
            resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (hard if allowed else 0, hard))

    async def _live(self, http: httpx.AsyncClient) -> None:
        self._killed = False
        process = await asyncio.create_subprocess_exec(
            *self._command,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env=self._environment,
            limit=1 << 22,
        )
        self._process = process
        life = Life(process.pid, self._clock.monotonic())
        self.lives.append(life)
        beside = [asyncio.create_task(self._until_ready(http)), asyncio.create_task(self._sample(life))]
        try:
            await self._read_log(process)
            status = await process.wait()
        finally:
            self.up.clear()
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
        life.how_it_ended = "killed" if self._killed else f"exit {status}"
        if not self._killed:
            self._died(
                f"exit {status} at age {self._clock.monotonic() - life.began:.0f} s; its last lines: "
                + " / ".join(list(self.log.last)[-3:])[-500:]
            )

    async def _until_ready(self, http: httpx.AsyncClient) -> None:
        while True:
            with suppress(httpx.HTTPError):
                if (await http.get(f"{self.url}/-/ready")).status_code == 200:
                    self.up.set()
                    return
            await asyncio.sleep(0.02)

    async def _read_log(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        with self.log.file.open("a") as file:
            while line := await process.stderr.readline():
                text = line.decode(errors="replace")
                self.log.take(text)
                file.write(text)

    async def _sample(self, life: Life) -> None:
        folder = Path(f"/proc/{life.pid}")
        while True:
            await self._clock.sleep(SAMPLE_EVERY)
            with suppress(OSError):
                resident = int((folder / "statm").read_text().split()[1]) * PAGE
                times = (folder / "stat").read_text().rpartition(")")[2].split()
                life.memory.append((self._clock.monotonic() - life.began, resident))
                life.cpu_s = (int(times[11]) + int(times[12])) / TICKS
