"""The simulated vendor without HTTP: its parts together, and the admission of calls."""

from dataclasses import dataclass, field

from exporter.clock import MICROS, Clock
from exporter.simulator import answers
from exporter.simulator.accounts import SimulatedAccount
from exporter.simulator.answers import Problem
from exporter.simulator.delivered import DeliveryLog
from exporter.simulator.deliveries import Mishaps
from exporter.simulator.faults import Faults
from exporter.simulator.ratelimit import Caller, CallLog, RateLimit
from exporter.simulator.served import ShownLog
from exporter.simulator.webhooks import Endpoints
from exporter.simulator.world import World


@dataclass(frozen=True, slots=True)
class Admitted:
    """An admitted call; `remaining` calls are left to its key in this window."""

    account: SimulatedAccount
    remaining: int


@dataclass(frozen=True, slots=True)
class Refused:
    """A refused call."""

    problem: Problem
    retry_after_s: int | None = None


@dataclass(slots=True)
class SimulatedApi:
    """A world, its clock, its faults, and the logs of calls, answers and deliveries."""

    world: World
    clock: Clock
    faults: Faults = field(default_factory=Faults.none)
    limit: RateLimit = field(default_factory=RateLimit)
    calls: CallLog = field(default_factory=CallLog)
    shown: ShownLog = field(default_factory=ShownLog)
    mishaps: Mishaps = field(default_factory=Mishaps.none)
    delivered: DeliveryLog = field(default_factory=DeliveryLog)
    endpoints: Endpoints = field(init=False)
    """Receivers of webhooks; none at first."""
    refused: dict[str, Problem] = field(default_factory=dict)
    """Errors that replace answers, by path below `/api/v1/`: `credits`, `models`, `generations/<id>`."""
    requests: int = 0
    """Requests to the API so far, with or without a valid key."""

    def __post_init__(self) -> None:
        self.endpoints = Endpoints(self.world.accounts)

    def next_request_id(self) -> str:
        """Return a fresh request id."""
        self.requests += 1
        return f"req_{self.requests:012x}"

    def admit(self, authorization: str | None, caller: Caller) -> Admitted | Refused:
        """Count a call, and admit or refuse it by its Authorization header."""
        scheme, _, key = (authorization or "").partition(" ")
        key = key.strip()
        if scheme.lower() != "bearer" or not key:
            self.calls.locked_out[""] += 1
            return Refused(answers.UNAUTHORIZED)
        name = self.world.keys.account_of(key)
        if name is None:
            self.calls.locked_out[""] += 1
            return Refused(answers.KEY_REVOKED if self.world.keys.revoked(key) else answers.KEY_INVALID)
        account = self.world.accounts[name]
        at_us = int(self.clock.monotonic() * MICROS)
        self.calls.add(name, caller, at_us)
        admission = self.limit.admit(key, account.plan.calls_per_minute, at_us)
        if admission.retry_after_s is not None:
            self.calls.limited[name, caller] += 1
            return Refused(answers.RATE_LIMITED, admission.retry_after_s)
        return Admitted(account, admission.remaining)
