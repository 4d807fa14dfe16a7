"""Replicas: exporters in processes of their own that share a PostgreSQL, each through a relay of its own."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from signal import SIGCONT, SIGSTOP

from exporter.clock import SystemClock
from exporter.config import Secret
from exporter.simulator.webhooks import Endpoint, Endpoints
from soak.supervised import Log, Supervised
from support.lease_audit import Loss
from support.lifeline import steady_port
from support.postgresql import Server
from support.relay import Relay

STATE = "REPLICA_STATE_URL"
"""The variable that a configuration names for `state.url_env`: each replica has its own way to the server."""
PATIENCE = 120.0
"""Seconds in which a replica must have started."""
STRAY = 0.1
"""The share of requests that a balancer sends anywhere, however its target is."""


@dataclass
class Replica:
    """One exporter, started anew whenever it ends, and its way to the database."""

    name: str
    exporter: Supervised
    relay: Relay
    losses: list[Loss]
    disturbed: bool = False
    """Whether it is frozen or cut off at present."""

    @property
    def url(self) -> str:
        """The base URL of its pages."""
        return self.exporter.url

    @property
    def healthy(self) -> bool:
        """Whether it is ready, and nothing ails it."""
        return self.exporter.up.is_set() and not self.disturbed

    async def kill(self) -> None:
        """End it as a power cut would."""
        self._lost("killed")
        await self.exporter.kill()

    async def restart(self) -> int | None:
        """End it as an administrator does, and return the exit status once the next one is ready."""
        self._lost("stopped")
        status = await self.exporter.restart()
        async with asyncio.timeout(PATIENCE):
            await self.exporter.up.wait()
        return status

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Let it do nothing within the context."""
        self._lost("frozen")
        self.disturbed = True
        self.exporter.signal(SIGSTOP)
        try:
            yield
        finally:
            self.exporter.signal(SIGCONT)
            self.disturbed = False

    @contextmanager
    def cut_off(self) -> Iterator[None]:
        """Let nothing pass between it and the database within the context."""
        self._lost("cut off")
        self.disturbed = True
        self.relay.cut()
        try:
            yield
        finally:
            self.relay.mend()
            self.disturbed = False

    def _lost(self, how: str) -> None:
        self.losses.append(Loss(time.time(), how, self.name))


@dataclass
class Replicas:
    """All of them. `losses` are the moments at which one ceased to own what it owned, `deaths` when and how
    processes ended that nobody had killed."""

    rng: Random
    every: list[Replica] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    deaths: list[tuple[float, str]] = field(default_factory=list)

    def target(self) -> Replica:
        """Any of them, as a load balancer chooses: a healthy one, mostly."""
        healthy = [one for one in self.every if one.healthy]
        return self.rng.choice(healthy if healthy and self.rng.random() >= STRAY else self.every)

    async def spare(self) -> Replica:
        """A healthy one at random, once there is another one besides it."""
        while True:
            healthy = [one for one in self.every if one.healthy]
            if len(healthy) > 1:
                return self.rng.choice(healthy)
            await asyncio.sleep(0.02)

    async def all_healthy(self) -> None:
        """Return once all are."""
        while not all(one.healthy for one in self.every):
            await asyncio.sleep(0.02)


class Balanced(Endpoints):
    """Endpoints of which each attempt to deliver meets any replica."""

    def __init__(self, accounts: Mapping[str, bool], replicas: Replicas, secret: str) -> None:
        """`accounts` says of each whether it has webhooks."""
        super().__init__(accounts)
        self._accounts = accounts
        self._replicas = replicas
        self._secret = secret

    def of(self, account: str) -> tuple[Endpoint, ...]:
        if not self._accounts[account]:
            return ()
        return (Endpoint(f"{self._replicas.target().url}/webhooks/{account}", self._secret),)


@asynccontextmanager
async def running(
    config: Path,
    server: Server,
    state: Secret,
    *,
    count: int,
    rng: Random,
    port: int,
    secrets: set[str],
    **environment: str,
) -> AsyncIterator[Replicas]:
    """Run so many replicas of a configuration on a state until the context is left; all are ready at its
    beginning. They reach it through `port`, the server's own or a pooler's; their logs are beside the
    configuration, and must hold no `secrets`."""
    database = state.reveal().rpartition("/")[2]
    replicas = Replicas(rng)
    program = Path(sys.executable).with_name("vivix-exporter")
    command = [str(program), "run", "--config.file", str(config)]
    async with AsyncExitStack() as stack:
        supervisors = await stack.enter_async_context(asyncio.TaskGroup())
        for number in range(count):
            relay = stack.enter_context(Relay(port))
            name, listening = f"replica-{number}", steady_port()
            url = f"{server.url(database, port=relay.port).reveal()}?application_name={name}"
            exporter = Supervised(
                [*command, "--web.listen-address", f"127.0.0.1:{listening}"],
                SystemClock(),
                listening,
                Log(config.with_name(f"{name}.log"), secrets),
                {**environment, STATE: url},
                lambda how, name=name: replicas.deaths.append((time.time(), f"{name}: {how}")),  # type: ignore[misc]
            )
            replicas.every.append(Replica(name, exporter, relay, replicas.losses))
            stack.callback(supervisors.create_task(exporter.run()).cancel)
        async with asyncio.timeout(PATIENCE):
            await replicas.all_healthy()
        yield replicas
