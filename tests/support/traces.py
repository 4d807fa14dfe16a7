"""Generations of the simulated API, and the spans that the contract says each becomes."""

import hashlib
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from exporter.clock import MICROS, ScaledClock, SystemClock
from exporter.config import Secret
from exporter.simulator.accounts import SimulatedAccount
from exporter.simulator.api import SimulatedApi
from exporter.simulator.generation import Generation
from exporter.simulator.models import FAILURE_MESSAGES, MODELS, Category, SimulatedModel
from exporter.simulator.served import Shown
from exporter.simulator.truth import truth
from exporter.simulator.world import World
from support.collector import attributes_of
from support.running import write_config
from support.scrape import Scrape
from support.states import state_section
from support.truth import assert_true

SPEED = 30.0
QUICK = tuple(model for model in MODELS if model.category is Category.IMAGE)
"""Models that render in seconds."""


class Scene:
    """A simulated API of some accounts, with generations submitted to it, and a configuration for them."""

    def __init__(
        self,
        folder: Path,
        accounts: int = 1,
        failure_ratio: float = 0.2,
        *,
        state_at: Path | Secret | None = None,
    ) -> None:
        """The state is a file in the folder, unless it is said to be elsewhere."""
        self.folder = folder
        self.state_at = state_at
        self.clock = ScaledClock(SPEED, SystemClock().now_us())
        self.accounts = [
            SimulatedAccount(f"a{n}", f"vvx_live_{n:0>32}", "ultimate", granted=10_000_000)
            for n in range(accounts)
        ]
        self.api = SimulatedApi(World(7, self.accounts, failure_ratio=failure_ratio), self.clock)
        self.listed: dict[str, list[str]] = {account.name: [] for account in self.accounts}

    def submit(self, generations: int, models: Sequence[SimulatedModel] = MODELS) -> None:
        """Submit some, and list them in the configuration."""
        rng = random.Random(7)
        for number in range(generations):
            account = self.accounts[number % len(self.accounts)].name
            model = rng.choice(models)
            outputs = rng.randint(1, model.most_results)
            self.listed[account].append(
                self.api.world.submit(account, model, outputs, self.clock.now_us()).id
            )

    def configure(self, url: str, **sections: object) -> Path:
        """Write a configuration that lists them."""
        accounts: list[dict[str, object]] = [
            {
                "name": account.name,
                "base_url": url,
                "api_key": account.key,
                "rate_limit_share": 1.0,
                "generations": self.listed[account.name],
            }
            for account in self.accounts
        ]
        if self.state_at is not None:
            sections["state"] = state_section(self.state_at)
        return write_config(self.folder, accounts, polling={"request_timeout": "1h"}, **sections)

    def expected(self) -> dict[str, "Expected"]:
        """The spans of every generation by id, from what the simulator knows and has shown."""
        spans: dict[str, Expected] = {}
        for generation in self.api.world:
            for span in expected_of(generation, self.api.shown.of(generation.id)):
                spans[span.id] = span
        return spans

    def assert_metrics_are_true(self, page: Scrape) -> None:
        """Every durable metric is what the simulator knows."""
        assert_true(page, truth(self.api.world, self.clock.now_us(), self.api.shown))


@dataclass(frozen=True)
class Expected:
    """What the contract says of one span."""

    id: str
    trace_id: str
    parent: str
    name: str
    kind: int
    start_ns: int
    end_ns: int
    status: int
    message: str
    attributes: dict[str, object] = field(hash=False)


def hashed(id: str, part: str) -> str:
    """The span id of a part of a generation."""
    return hashlib.sha256(f"{id}/{part}".encode()).hexdigest()[:16]


def expected_of(generation: Generation, shown: Shown) -> Iterable[Expected]:
    """The spans of a generation that has ended, after these answers."""
    assert generation.ended_us is not None
    id, reason = generation.id, generation.fate.reason
    # The status endpoint cuts times to whole seconds, and names no model once one has failed.
    start_us = generation.created_us // MICROS * MICROS
    ended_us = generation.ended_us // MICROS * MICROS
    if reason is None:
        ended_us = start_us + generation.duration_ms * 1_000
    named = reason is None or shown.model
    trace_id, root_id = id.replace("-", ""), hashed(id, "generation")
    attributes: dict[str, object] = {
        "gen_ai.operation.name": "generate_content",
        "gen_ai.provider.name": "vivix",
        "gen_ai.response.id": id,
        "vivix.account": generation.account,
        "vivix.generation.status": "completed" if reason is None else "failed",
        "vivix.generation.duration_ms": (ended_us - start_us) // 1_000,
        "vivix.credits.used": float(generation.fate.credits_used),
        "vivix.outputs": generation.outputs if reason is None else 0,
        "vivix.polls": shown.answers,
        "vivix.observed.via": "poll",
    }
    if named:
        attributes["gen_ai.request.model"] = generation.model.slug
        attributes["gen_ai.output.type"] = generation.model.category.value
    if shown.pending or shown.processing_elapsed_ms is not None:
        attributes["vivix.credits.estimate"] = float(generation.fate.credits_estimate)
    if reason is not None:
        attributes["error.type"] = reason
    yield Expected(
        root_id,
        trace_id,
        "",
        f"generate_content {generation.model.slug}" if named else "generate_content",
        Span.SPAN_KIND_CLIENT,
        start_us * 1_000,
        ended_us * 1_000,
        Status.STATUS_CODE_UNSET if reason is None else Status.STATUS_CODE_ERROR,
        "" if reason is None else FAILURE_MESSAGES[reason],
        attributes,
    )
    if shown.processing_elapsed_ms is None:
        return
    split_us = min(start_us + shown.processing_elapsed_ms * 1_000, ended_us)
    for part, begin_us, end_us in (("queued", start_us, split_us), ("processing", split_us, ended_us)):
        yield Expected(
            hashed(id, part),
            trace_id,
            root_id,
            part,
            Span.SPAN_KIND_INTERNAL,
            begin_us * 1_000,
            end_us * 1_000,
            Status.STATUS_CODE_UNSET,
            "",
            {},
        )


def seen(span: Span) -> Expected:
    """A span that arrived, in the same form."""
    attributes = attributes_of(span)
    for name in ("server.address", "server.port", "vivix.observation.uncertainty_ms"):
        attributes.pop(name, None)
    return Expected(
        span.span_id.hex(),
        span.trace_id.hex(),
        span.parent_span_id.hex(),
        span.name,
        span.kind,
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        span.status.code,
        span.status.message,
        attributes,
    )
