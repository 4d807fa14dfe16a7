"""Answers of the API as documented: JSON bodies, error codes and response headers."""

from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

from exporter.clock import MICROS
from exporter.simulator.accounts import SimulatedAccount
from exporter.simulator.generation import Generation
from exporter.simulator.models import FAILURE_MESSAGES, MODELS, SUFFIXES
from exporter.simulator.wallet import Wallet

Body = dict[str, object]

OUTPUT_HOST = "https://pub-364da8d08c644542b169fbc7255349e7.r2.dev"


@dataclass(frozen=True, slots=True)
class Problem:
    """An error of the API: HTTP status, code, message and advice."""

    status: int
    code: str
    message: str
    next: str


UNAUTHORIZED = Problem(401, "UNAUTHORIZED", "No API key given.", "Send Authorization: Bearer vvx_live_….")
KEY_INVALID = Problem(401, "KEY_INVALID", "The API key is not valid.", "Check the key, or create a new one.")
KEY_REVOKED = Problem(401, "KEY_REVOKED", "The API key was revoked.", "Deploy the key that replaced it.")
NOT_YOURS = Problem(403, "NOT_YOURS", "This generation belongs to a different account.", "Use its own key.")
NOT_FOUND = Problem(404, "NOT_FOUND", "No generation with that id exists.", "Check the id.")
NO_SUCH_PAGE = Problem(404, "NOT_FOUND", "There is no such endpoint.", "See the documentation.")
RATE_LIMITED = Problem(429, "RATE_LIMITED", "Too many calls this minute.", "Wait for Retry-After seconds.")
INSUFFICIENT_CREDITS = Problem(
    402, "INSUFFICIENT_CREDITS", "The wallet does not cover this generation.", "Top up the wallet."
)
MODEL_UNKNOWN = Problem(400, "MODEL_UNKNOWN", "No such model.", "List the models with /api/v1/models.")
INVALID_INPUT = Problem(400, "INVALID_INPUT", "The request body makes no sense.", "See the documentation.")
MALFORMED_ID = Problem(400, "INVALID_INPUT", "The id is malformed.", "Check the id.")
UNPROCESSABLE_ID = Problem(422, "VALIDATION_ERROR", "The id is not a UUID.", "Check the id.")
INTERNAL_ERROR = Problem(500, "INTERNAL_ERROR", "Something went wrong on our side.", "Retry with backoff.")
BAD_GATEWAY = Problem(502, "INTERNAL_ERROR", "A part of the service did not answer.", "Retry with backoff.")
PROVIDER_DOWN = Problem(503, "PROVIDER_DOWN", "The provider is down.", "Retry in a minute.")


def timestamp(at_us: int) -> str:
    """Format a time as the status endpoint does: whole seconds, cut rather than rounded."""
    return datetime.fromtimestamp(at_us // MICROS, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def precise_timestamp(at_us: int) -> str:
    """Format a time as deliveries do: milliseconds, cut rather than rounded."""
    seconds, micros = divmod(at_us, MICROS)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{micros // 1_000:03d}Z"


def problem_body(problem: Problem, request_id: str) -> Body:
    """Return the body of an error."""
    return {
        "error": problem.code,
        "message": problem.message,
        "next": problem.next,
        "request_id": request_id,
    }


def output_urls(generation: Generation) -> list[str]:
    """Return the URLs of the outputs. They are public, hence secrets in practice."""
    name, suffix = quote(generation.id, safe=""), SUFFIXES[generation.model.category]
    if generation.outputs == 1:
        return [f"{OUTPUT_HOST}/{name}.{suffix}"]
    return [f"{OUTPUT_HOST}/{name}-{index}.{suffix}" for index in range(generation.outputs)]


def _failure_message(reason: str) -> str:
    return FAILURE_MESSAGES.get(reason, "The generation failed.")


def generation_body(generation: Generation, now_us: int) -> Body:
    """Return the answer of the status endpoint for a generation at `now_us`."""
    body: Body = {"generation_id": generation.id, "status": generation.status.value}
    if generation.ended_us is None:
        body["model"] = generation.model.slug
        body["credits_estimate"] = generation.fate.credits_estimate
        body["elapsed_ms"] = max(now_us - generation.created_us, 0) // 1_000
        body["created_at"] = timestamp(generation.created_us)
        return body
    if generation.fate.reason is None:
        urls = output_urls(generation)
        body["model"] = generation.model.slug
        body["output_url"] = urls[0]
        body["output_urls"] = urls
        body["credits_used"] = generation.fate.credits_used
        body["duration_ms"] = generation.duration_ms
    else:
        body["error"] = generation.fate.reason
        body["message"] = _failure_message(generation.fate.reason)
        body["credits_used"] = 0
    body["created_at"] = timestamp(generation.created_us)
    body["completed_at"] = timestamp(generation.ended_us)
    return body


def delivery_body(generation: Generation) -> Body:
    """Return the body of the delivery that reports an end. Raises ValueError while in flight.

    Unlike the status endpoint, it names model and duration of a failure too, and never `created_at`.
    """
    if generation.ended_us is None:
        raise ValueError(f"generation {generation.id} has not ended")
    reason, urls = generation.fate.reason, output_urls(generation)
    body: Body = {
        "generation_id": generation.id,
        "status": generation.status.value,
        "model": generation.model.slug,
        "output_url": urls[0] if reason is None else None,
        "output_urls": urls if reason is None else None,
        "credits_charged": generation.fate.credits_used,
        "duration_ms": generation.duration_ms,
        "completed_at": precise_timestamp(generation.ended_us),
    }
    if reason is not None:
        body["error_code"] = reason
        body["error_message"] = _failure_message(reason)
    return body


def accepted_body(generation: Generation) -> Body:
    """Return the answer to a submission."""
    return {
        "generation_id": generation.id,
        "status": "pending",
        "model": generation.model.slug,
        "credits_estimate": generation.fate.credits_estimate,
        "created_at": timestamp(generation.created_us),
    }


def _rate_limit(account: SimulatedAccount) -> Body:
    plan = account.plan
    return {"calls_per_minute": plan.calls_per_minute, "concurrent_jobs": plan.concurrent_jobs}


def credits_body(account: SimulatedAccount, wallet: Wallet, now_us: int) -> Body:
    """Return the answer of `/api/v1/credits`."""
    return {
        "balance": wallet.balance,
        "tier": account.tier,
        "cycle_resets_at": timestamp(wallet.resets_us(now_us)),
        "rate_limit": _rate_limit(account),
        "spent_this_cycle": wallet.spent,
        "granted_this_cycle": wallet.granted,
    }


def models_body(account: SimulatedAccount, wallet: Wallet) -> Body:
    """Return the answer of `/api/v1/models`."""
    return {
        "tier": account.tier,
        "credits_balance": wallet.balance,
        "rate_limit": _rate_limit(account),
        "models": [
            {
                "slug": model.slug,
                "name": model.name,
                "category": model.category.value,
                "creator": model.creator,
                "credits_band": {"min": model.credits_min, "max": model.credits_max},
                "params": {"number_results": {"max": model.most_results}},
            }
            for model in MODELS
        ],
    }


def success_headers(request_id: str, remaining: int, wallet: Wallet) -> dict[str, str]:
    """Return the headers of a successful answer."""
    return {
        "X-Request-Id": request_id,
        "X-RateLimit-Remaining": str(remaining),
        "X-Credits-Balance": str(wallet.balance),
    }
