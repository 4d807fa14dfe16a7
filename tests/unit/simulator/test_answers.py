import pytest

from exporter.clock import MICROS
from exporter.simulator import answers
from exporter.simulator.accounts import SimulatedAccount
from exporter.simulator.generation import Fate, Generation
from exporter.simulator.models import BY_SLUG, MODELS
from exporter.simulator.wallet import Wallet

CREATED = 1_778_416_496_900_000
ID = "5b91a581-ee19-4f86-9fea-bd29471d69d5"
URL = f"{answers.OUTPUT_HOST}/{ID}"


def generation(
    reason: str | None = None,
    started_us: int | None = None,
    ended_us: int | None = None,
    outputs: int = 1,
    generation_id: str = ID,
) -> Generation:
    fate = Fate(generation_id, 0, 0, reason, 211, 0 if reason else 200)
    model = BY_SLUG["grok-imagine-image-quality"]
    return Generation("studio", 0, model, outputs, fate, CREATED, CREATED, started_us, ended_us)


def test_one_in_flight_is_answered_as_documented() -> None:
    assert answers.generation_body(generation(started_us=CREATED), CREATED + 4_200_999) == {
        "generation_id": ID,
        "status": "processing",
        "model": "grok-imagine-image-quality",
        "credits_estimate": 211,
        "elapsed_ms": 4200,
        "created_at": "2026-05-10T12:34:56Z",
    }


def test_a_completed_one_is_answered_as_documented() -> None:
    ended = generation(started_us=CREATED, ended_us=CREATED + 12_420_999)
    assert answers.generation_body(ended, CREATED + 60 * MICROS) == {
        "generation_id": ID,
        "status": "completed",
        "model": "grok-imagine-image-quality",
        "output_url": f"{URL}.jpg",
        "output_urls": [f"{URL}.jpg"],
        "credits_used": 200,
        "duration_ms": 12420,
        "created_at": "2026-05-10T12:34:56Z",
        "completed_at": "2026-05-10T12:35:09Z",
    }


def test_a_failed_one_has_neither_model_nor_duration() -> None:
    ended = generation("PROVIDER_ERROR", CREATED, CREATED + 5_000_000)
    assert answers.generation_body(ended, CREATED + 60 * MICROS) == {
        "generation_id": ID,
        "status": "failed",
        "error": "PROVIDER_ERROR",
        "message": "Underlying model returned an error.",
        "credits_used": 0,
        "created_at": "2026-05-10T12:34:56Z",
        "completed_at": "2026-05-10T12:35:01Z",
    }


def test_several_outputs_have_as_many_urls() -> None:
    body = answers.generation_body(generation(None, CREATED, CREATED + MICROS, outputs=3), CREATED)
    assert body["output_urls"] == [f"{URL}-{index}.jpg" for index in range(3)]
    assert body["output_url"] == f"{URL}-0.jpg"


def test_an_odd_id_is_quoted_in_urls() -> None:
    urls = answers.output_urls(generation(None, CREATED, CREATED + MICROS, generation_id="a/b%"))
    assert urls == [f"{answers.OUTPUT_HOST}/a%2Fb%25.jpg"]


def test_a_completed_one_is_delivered_as_documented() -> None:
    ended = generation(started_us=CREATED, ended_us=CREATED + 12_420_999, outputs=2)
    assert answers.delivery_body(ended) == {
        "generation_id": ID,
        "status": "completed",
        "model": "grok-imagine-image-quality",
        "output_url": f"{URL}-0.jpg",
        "output_urls": [f"{URL}-0.jpg", f"{URL}-1.jpg"],
        "credits_charged": 200,
        "duration_ms": 12420,
        "completed_at": "2026-05-10T12:35:09.320Z",
    }


def test_a_failed_one_is_delivered_with_model_and_duration_and_without_outputs() -> None:
    ended = generation("PROVIDER_ERROR", CREATED, CREATED + 5_100_000)
    assert answers.delivery_body(ended) == {
        "generation_id": ID,
        "status": "failed",
        "model": "grok-imagine-image-quality",
        "output_url": None,
        "output_urls": None,
        "credits_charged": 0,
        "duration_ms": 5100,
        "completed_at": "2026-05-10T12:35:02.000Z",
        "error_code": "PROVIDER_ERROR",
        "error_message": "Underlying model returned an error.",
    }


def test_one_in_flight_cannot_be_delivered() -> None:
    with pytest.raises(ValueError, match="has not ended"):
        answers.delivery_body(generation(started_us=CREATED))


def test_an_acceptance_is_pending_and_estimated() -> None:
    assert answers.accepted_body(generation()) == {
        "generation_id": ID,
        "status": "pending",
        "model": "grok-imagine-image-quality",
        "credits_estimate": 211,
        "created_at": "2026-05-10T12:34:56Z",
    }


def test_credits_say_what_the_wallet_holds() -> None:
    wallet = Wallet(15_000)
    wallet.reserve(2_153, CREATED)
    body = answers.credits_body(SimulatedAccount("studio", "key"), wallet, CREATED)
    assert str(body.pop("cycle_resets_at")).endswith("T00:00:00Z")
    assert body == {
        "balance": 12_847,
        "tier": "pro",
        "rate_limit": {"calls_per_minute": 240, "concurrent_jobs": 5},
        "spent_this_cycle": 2_153,
        "granted_this_cycle": 15_000,
    }


def test_models_are_listed_with_their_price_bands() -> None:
    body = answers.models_body(SimulatedAccount("studio", "key", "ultimate"), Wallet(5))
    listed = body.pop("models")
    assert isinstance(listed, list)
    assert len(listed) == len(MODELS)
    assert {"slug", "name", "category", "creator", "credits_band", "params"} == listed[0].keys()
    assert body == {
        "tier": "ultimate",
        "credits_balance": 5,
        "rate_limit": {"calls_per_minute": 600, "concurrent_jobs": 20},
    }


def test_an_error_names_its_request() -> None:
    body = answers.problem_body(answers.NOT_FOUND, "req_1")
    assert body.keys() == {"error", "message", "next", "request_id"}
    assert (body["error"], body["request_id"]) == ("NOT_FOUND", "req_1")
