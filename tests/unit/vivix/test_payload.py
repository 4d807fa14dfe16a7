"""The API's documents, and everything that can be wrong with them."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.domain.values import GenerationId, Observation, Status, Via, check_generation_id
from exporter.vivix.payload import (
    Json,
    Model,
    PayloadError,
    Plan,
    parse_delivery,
    parse_generation,
    parse_json,
    parse_models,
    parse_plan,
    parse_time,
)

ID = GenerationId("5b91a581-ee19-4f86-9fea-bd29471d69d5")

PROCESSING = {
    "generation_id": ID,
    "status": "processing",
    "model": "grok-imagine-image-quality",
    "credits_estimate": 211,
    "elapsed_ms": 4200,
    "created_at": "2026-05-10T12:34:56Z",
}
COMPLETED = {
    "generation_id": ID,
    "status": "completed",
    "model": "grok-imagine-image-quality",
    "output_url": "https://pub-364da8d08c644542b169fbc7255349e7.r2.dev/5b91a581.jpg",
    "output_urls": ["https://pub.r2.dev/1.jpg", "https://pub.r2.dev/2.jpg"],
    "credits_used": 211,
    "duration_ms": 12420,
    "created_at": "2026-05-10T12:34:56Z",
    "completed_at": "2026-05-10T12:35:08Z",
}
FAILED = {
    "generation_id": ID,
    "status": "failed",
    "error": "PROVIDER_ERROR",
    "message": "Underlying model returned an error.",
    "credits_used": 0,
    "created_at": "2026-05-10T12:34:56Z",
    "completed_at": "2026-05-10T12:35:01Z",
}
CREATED_US = 1_778_416_496_000_000


def parse(payload: Json) -> Observation:
    return parse_generation(payload, ID, at_us=7)


def test_the_documented_answer_in_flight() -> None:
    seen = parse(PROCESSING)
    assert seen.status is Status.PROCESSING
    assert seen.model == "grok-imagine-image-quality"
    assert seen.credits_estimate_micro == 211_000_000
    assert seen.elapsed_us == 4_200_000
    assert seen.created_us == CREATED_US
    assert seen.at_us == 7


def test_the_documented_answer_of_a_completed_one() -> None:
    seen = parse(COMPLETED)
    assert (seen.status, seen.duration_us, seen.credits_used_micro, seen.outputs) == (
        Status.COMPLETED,
        12_420_000,
        211_000_000,
        2,
    )
    assert seen.completed_us == CREATED_US + 12_000_000


def test_the_documented_answer_of_a_failed_one() -> None:
    seen = parse(FAILED)
    assert (seen.status, seen.reason, seen.credits_used_micro, seen.model, seen.duration_us) == (
        Status.FAILED,
        "PROVIDER_ERROR",
        0,
        None,
        None,
    )
    assert seen.message == "Underlying model returned an error."


def test_a_single_output_is_counted_without_the_list() -> None:
    assert parse({**COMPLETED, "output_urls": None}).outputs == 1
    assert parse({**COMPLETED, "output_urls": []}).outputs == 1
    assert parse({**COMPLETED, "output_urls": None, "output_url": None}).outputs is None


@pytest.mark.parametrize("status", [None, 7, "", [], {}, True])
def test_an_answer_without_a_status_is_refused(status: object) -> None:
    with pytest.raises(PayloadError, match="no status"):
        parse({**COMPLETED, "status": status})


def test_an_answer_about_another_generation_is_refused() -> None:
    with pytest.raises(PayloadError, match="another generation"):
        parse({**COMPLETED, "generation_id": "someone-else"})


@pytest.mark.parametrize("asked", [ID, GenerationId(ID.upper())])
def test_an_answer_may_write_the_letters_of_a_uuid_otherwise_than_the_question(asked: GenerationId) -> None:
    for named in (ID, ID.upper()):
        seen = parse_generation({**COMPLETED, "generation_id": named}, check_generation_id(asked), at_us=7)
        assert seen.status is Status.COMPLETED


def test_an_id_of_another_shape_is_compared_letter_by_letter() -> None:
    with pytest.raises(PayloadError, match="another generation"):
        parse_generation({**COMPLETED, "generation_id": "ABC123"}, GenerationId("abc123"), at_us=7)


def test_an_undocumented_status_is_kept_as_text() -> None:
    seen = parse({**PROCESSING, "status": "moderating"})
    assert (seen.status, seen.status_text) == (None, "moderating")


@pytest.mark.parametrize("field", [name for name in COMPLETED if name != "status"])
@pytest.mark.parametrize("value", [None, [], {}, True, "??", "", -1, float("nan"), 10**400, "x" * 500])
def test_a_damaged_field_never_takes_the_others_along(field: str, value: object) -> None:
    if field == "generation_id" and isinstance(value, str):
        return
    whole, damaged = parse(COMPLETED), parse({**COMPLETED, field: value})
    assert damaged.status is Status.COMPLETED
    if field != "duration_ms":
        assert damaged.duration_us == whole.duration_us
    if field != "credits_used":
        assert damaged.credits_used_micro == whole.credits_used_micro


@pytest.mark.parametrize("field", ["duration_ms", "elapsed_ms"])
def test_no_duration_is_longer_than_ten_years(field: str) -> None:
    years = 3_650 * 86_400_000
    seen = [parse({**COMPLETED, "elapsed_ms": 0, field: millis}) for millis in (years, years + 1)]
    durations = [one.duration_us if field == "duration_ms" else one.elapsed_us for one in seen]
    assert durations == [years * 1_000, None]


def test_no_generation_costs_more_than_a_thousand_million_credits() -> None:
    seen = [parse({**COMPLETED, "credits_used": credits}) for credits in (10**9, 10**9 + 1)]
    assert [one.credits_used_micro for one in seen] == [10**15, None]


def test_numbers_written_as_text_are_numbers() -> None:
    seen = parse({**COMPLETED, "credits_used": "211", "duration_ms": "12420"})
    assert (seen.credits_used_micro, seen.duration_us) == (211_000_000, 12_420_000)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*PROCESSING, *COMPLETED, *FAILED]), json_values))
def test_whatever_the_fields_hold_it_is_an_observation_or_refused(payload: Json) -> None:
    try:
        seen = parse(payload)
    except PayloadError:
        return
    amounts = (seen.credits_used_micro, seen.credits_estimate_micro, seen.duration_us, seen.elapsed_us)
    assert all(amount is None or 0 <= amount < 2**63 for amount in amounts)
    assert all(text is None or len(text) <= 128 for text in (seen.model, seen.reason))


@given(st.binary(max_size=200))
def test_whatever_the_body_holds_it_is_an_object_or_refused(body: bytes) -> None:
    with contextlib.suppress(PayloadError):
        assert isinstance(parse_json(body), dict)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"3", b'"x"', b'{"status": ', b"[" * 100_000, b"\xff\xfe"]
)
def test_what_is_not_a_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(PayloadError):
        parse_json(body)


DELIVERED = {
    "generation_id": ID,
    "status": "completed",
    "model": "runware:101@1",
    "output_url": "https://pub.r2.dev/1.jpg",
    "output_urls": ["https://pub.r2.dev/1.jpg"],
    "credits_charged": 12,
    "duration_ms": 4321,
    "completed_at": "2026-05-12T18:23:45.123Z",
}


def test_the_documented_delivery_of_a_completed_one() -> None:
    id, seen = parse_delivery(DELIVERED, at_us=7)
    assert id == ID
    assert seen == Observation(
        at_us=7,
        via=Via.WEBHOOK,
        status=Status.COMPLETED,
        status_text="completed",
        model="runware:101@1",
        completed_us=1_778_610_225_123_000,
        duration_us=4_321_000,
        credits_used_micro=12_000_000,
        outputs=1,
        output_urls=("https://pub.r2.dev/1.jpg",),
    )


def test_a_delivery_names_a_uuid_in_lower_case_whatever_its_letters() -> None:
    id, _ = parse_delivery({**DELIVERED, "generation_id": ID.upper()}, at_us=7)
    assert id == ID


def test_the_documented_delivery_of_a_failed_one() -> None:
    failed: Json = {
        **DELIVERED,
        "status": "failed",
        "output_url": None,
        "output_urls": None,
        "credits_charged": 0,
        "error_code": "PROVIDER_ERROR",
        "error_message": "Underlying model returned an error.",
    }
    _, seen = parse_delivery(failed, at_us=7)
    assert (seen.status, seen.reason) == (Status.FAILED, "PROVIDER_ERROR")
    assert seen.message == "Underlying model returned an error."
    assert seen.outputs is None


@pytest.mark.parametrize("status", [None, "", 3, "pending", "processing", "moderating"])
def test_a_delivery_that_tells_of_no_end_is_refused(status: object) -> None:
    with pytest.raises(PayloadError):
        parse_delivery({**DELIVERED, "status": status}, at_us=7)


@pytest.mark.parametrize("id", [None, "", 7, "with space", "x" * 257, ["a"], ".."])
def test_a_delivery_about_no_generation_is_refused(id: object) -> None:
    with pytest.raises(PayloadError):
        parse_delivery({**DELIVERED, "generation_id": id}, at_us=7)


@given(st.dictionaries(st.sampled_from([*DELIVERED, "error_code", "error_message"]), json_values))
def test_whatever_a_delivery_holds_it_is_an_end_or_refused(payload: Json) -> None:
    with contextlib.suppress(PayloadError):
        _, seen = parse_delivery({**DELIVERED, **payload}, at_us=7)
        assert seen.status in (Status.COMPLETED, Status.FAILED)


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("2026-05-10T12:34:56Z", CREATED_US),
        ("2026-05-10T12:34:56", CREATED_US),
        ("2026-05-10T14:34:56+02:00", CREATED_US),
        ("2026-05-10T12:34:56.123Z", CREATED_US + 123_000),
        ("2026-05-10T12:34:56.123456789Z", CREATED_US + 123_456),
        ("2000-01-01T00:00:00Z", 946_684_800_000_000),
        ("1999-12-31T23:59:59Z", None),
        ("1969-12-31T23:59:59Z", None),
        ("2199-12-31T23:59:59Z", 7_258_118_399_000_000),
        ("2200-01-01T00:00:00Z", None),
        ("9999-12-31T23:59:59Z", None),
        ("0001-01-01T00:00:00+23:00", None),
        ("yesterday", None),
        ("", None),
    ],
)
def test_times_are_iso_8601_in_utc(text: str, micros: int | None) -> None:
    assert parse_time(text) == micros


CREDITS = json.loads(
    '{"balance": 12847, "tier": "pro", "cycle_resets_at": "2026-06-09T00:00:00Z",'
    ' "rate_limit": {"calls_per_minute": 240, "concurrent_jobs": 5},'
    ' "spent_this_cycle": 2153, "granted_this_cycle": 15000}'
)


def test_the_documented_answer_about_credits() -> None:
    assert parse_plan(CREDITS) == Plan("pro", 12847, 2153, 15000, 1_780_963_200_000_000, 240, 5)


def test_a_plan_with_damaged_fields_keeps_the_others() -> None:
    plan = parse_plan({**CREDITS, "rate_limit": "fast", "balance": None})
    assert (plan.calls_per_minute, plan.balance, plan.tier) == (None, None, "pro")


def test_a_plan_that_says_nothing_is_refused() -> None:
    with pytest.raises(PayloadError):
        parse_plan({"rate_limit": {"calls_per_minute": 0}})


def test_models_without_a_slug_are_left_out() -> None:
    entries: list[object] = [
        {"slug": "runware:101@1", "category": "image", "creator": "Runware"},
        {"name": "no slug"},
        "nonsense",
        {"slug": "bare"},
    ]
    assert parse_models({"models": entries}) == (
        Model("runware:101@1", "image", "Runware"),
        Model("bare", "unknown", "unknown"),
    )
    with pytest.raises(PayloadError):
        parse_models({"models": "none"})


@pytest.mark.parametrize(
    ("payload", "urls"),
    [
        ({"output_url": "u:a", "output_urls": ["u:a", "u:b"]}, ("u:a", "u:b")),
        ({"output_url": "u:a"}, ("u:a",)),
        ({"output_url": "u:a", "output_urls": []}, ("u:a",)),
        ({"output_url": None, "output_urls": None}, ()),
        ({"output_url": 5, "output_urls": ["", 7, "x\n", "y" * 5_000, "u:b"]}, ("u:b",)),
        ({"output_urls": ["u:a"] * 1_000}, ("u:a",) * 100),
    ],
)
def test_it_says_where_the_outputs_are(payload: dict[str, object], urls: tuple[str, ...]) -> None:
    observation = parse_generation(payload | {"status": "completed"}, ID, at_us=7)
    assert observation.output_urls == urls
    assert not urls or urls[0] not in repr(observation)


def test_half_a_character_in_a_message_is_replaced() -> None:
    """JSON can hold one, and neither the state nor a span can."""
    payload = parse_json(b'{"status": "failed", "message": "oh \\ud83d no"}')
    assert parse_generation(payload, ID, at_us=7).message == "oh ? no"


def test_no_text_of_an_answer_holds_a_nul() -> None:
    """JSON can hold one, and PostgreSQL cannot: the end of the generation could never be stored."""
    texts = ("model", "error", "message", "output_url")
    payload = parse_json(json.dumps({"status": "failed", **dict.fromkeys(texts, "a\0b")}).encode())
    seen = parse_generation(payload, ID, at_us=7)
    assert (seen.model, seen.reason, seen.output_urls) == (None, None, ())
    assert seen.message == "a\N{REPLACEMENT CHARACTER}b"
    with pytest.raises(PayloadError):
        parse_delivery({**DELIVERED, "generation_id": "a\0b"}, at_us=7)
