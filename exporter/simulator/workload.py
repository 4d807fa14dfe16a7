"""Application of a customer: it submits generations at a steady rate over HTTP."""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from random import Random

import aiohttp

from exporter.clock import Clock
from exporter.simulator.models import BY_SLUG, MODELS, Category

OnSubmitted = Callable[[str, str], Awaitable[None]]
"""Called with the account and the id of each accepted generation."""

MIXED: Mapping[str, float] = {
    model.slug: 4.0 if model.category is Category.IMAGE else 1.0 for model in MODELS
}
"""Weights of the models: mostly images."""

PATIENCE = 5.0
"""Real seconds for a call."""
SHORTEST_BACKOFF_S, LONGEST_BACKOFF_S = 1.0, 60.0


class Workload:
    """Submissions for one account, `per_minute` of simulated time.

    `key` is called before every call, so that a rotated key is used; `in_flight` returns how many of the
    account's generations have not ended: at `most_in_flight` the workload waits. It backs off on errors,
    doubling up to a minute, and does not catch up afterwards.
    """

    def __init__(
        self,
        base_url: str,
        account: str,
        key: Callable[[], str],
        in_flight: Callable[[], int],
        clock: Clock,
        *,
        per_minute: float = 20.0,
        most_in_flight: int = 20,
        weights: Mapping[str, float] = MIXED,
        seed: int = 0,
    ) -> None:
        self.account = account
        self.answers: Counter[int] = Counter()
        """Number of answers by HTTP status; 0 counts calls without an answer."""
        self._url = f"{base_url}/api/v1/generate"
        self._key = key
        self._in_flight = in_flight
        self._clock = clock
        self._interval_s = 60.0 / per_minute
        self._most_in_flight = most_in_flight
        self._slugs, self._weights = list(weights), list(weights.values())
        self._rng = Random(f"{seed}/workload/{account}")

    async def run(self, on_submitted: OnSubmitted) -> None:
        """Submit until cancelled."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE)) as client:
            due_s, backoff_s = self._clock.monotonic(), SHORTEST_BACKOFF_S
            request = self._next_request()
            while True:
                due_s = max(due_s + self._interval_s, self._clock.monotonic())
                if self._in_flight() < self._most_in_flight:
                    generation_id, retry_after_s = await self._submit(client, request)
                    if generation_id is not None:
                        backoff_s, request = SHORTEST_BACKOFF_S, self._next_request()
                        await on_submitted(self.account, generation_id)
                    else:
                        await self._clock.sleep(max(retry_after_s, backoff_s))
                        backoff_s = min(backoff_s * 2, LONGEST_BACKOFF_S)
                await self._clock.sleep(max(due_s - self._clock.monotonic(), 0.0))

    def _next_request(self) -> dict[str, object]:
        slug = self._rng.choices(self._slugs, self._weights)[0]
        results = self._rng.choice([1, 1, 1, 2, 4])
        return {
            "model": slug,
            "prompt": "a lighthouse in a storm",
            "number_results": min(results, BY_SLUG[slug].most_results),
        }

    async def _submit(
        self, client: aiohttp.ClientSession, body: dict[str, object]
    ) -> tuple[str | None, float]:
        """Submit once. Returns the id, or None and the seconds of Retry-After."""
        headers = {"Authorization": f"Bearer {self._key()}"}
        try:
            async with client.post(self._url, json=body, headers=headers) as answer:
                accepted = await answer.json() if answer.status == 201 else {}
        except (aiohttp.ClientError, TimeoutError):
            self.answers[0] += 1
            return None, 0.0
        self.answers[answer.status] += 1
        if accepted:
            return str(accepted["generation_id"]), 0.0
        retry_after = answer.headers.get("Retry-After", "")
        return None, float(retry_after) if retry_after.isdecimal() else 0.0
