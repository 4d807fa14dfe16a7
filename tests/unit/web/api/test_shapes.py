"""What the JSON API takes and shows."""

import base64
import json
import re
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.domain.values import (
    AccountName,
    Drop,
    DropReason,
    End,
    Generation,
    GenerationId,
    NewGeneration,
    Source,
    Status,
    Via,
)
from exporter.store.lists import Place
from exporter.web.api.shapes import (
    MAX_IDS,
    BadRequestError,
    TooManyIdsError,
    cursor_of,
    parse_cursor,
    parse_registration,
    shown,
)

STUDIO, SHOP = AccountName("studio"), AccountName("shop")
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
G = Generation(STUDIO, GenerationId("g"), Source.API, discovered_us=1_778_416_496_123_456)


def parse(body: object, *accounts: AccountName) -> dict[AccountName, list[NewGeneration]]:
    return parse_registration(json.dumps(body).encode(), dict.fromkeys(accounts or (STUDIO,)))


def test_the_only_account_need_not_be_named() -> None:
    assert parse({"generations": [{"id": "a"}, {"id": "b", "traceparent": TRACEPARENT}]}) == {
        STUDIO: [NewGeneration(GenerationId("a")), NewGeneration(GenerationId("b"), TRACEPARENT)]
    }


def test_ids_go_to_the_accounts_they_name() -> None:
    body = {"generations": [{"id": "a", "account": "shop"}, {"id": "b", "account": "studio"}]}
    assert parse(body, STUDIO, SHOP) == {
        SHOP: [NewGeneration(GenerationId("a"))],
        STUDIO: [NewGeneration(GenerationId("b"))],
    }


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "generations: "),
        ([], "object"),
        ({"generations": "a"}, "generations: "),
        ({"generations": ["a"]}, r"generations\[0\]: "),
        ({"generations": [{}]}, r"generations\[0\]\.id: "),
        ({"generations": [{"id": "a"}, {"id": "b c"}]}, r"generations\[1\]\.id: expected the id"),
        ({"generations": [{"id": 7}]}, r"generations\[0\]\.id: expected the id"),
        ({"generations": [{"id": "a", "acount": "x"}]}, r"generations\[0\]\.acount: "),
        (
            {"generations": [{"id": "a", "traceparent": "x"}]},
            r"generations\[0\]\.traceparent: expected a trace",
        ),
        ({"generations": [{"id": "a", "account": "nobody"}]}, r"generations\[0\]\.account: no account has"),
        ({"generations": [{"id": "a"}], "more": 1}, "more: "),
    ],
)
def test_what_is_wrong_is_said_with_its_place(body: object, says: str) -> None:
    with pytest.raises(BadRequestError, match=says):
        parse(body)


def test_with_several_accounts_one_must_be_named() -> None:
    with pytest.raises(BadRequestError, match="there are several accounts: studio, shop"):
        parse({"generations": [{"id": "a"}]}, STUDIO, SHOP)


def test_more_ids_than_allowed_are_told_apart_from_wrong_ones() -> None:
    with pytest.raises(TooManyIdsError):
        parse({"generations": [{"id": ""}] * (MAX_IDS + 1)})
    assert len(parse({"generations": [{"id": "a"}] * MAX_IDS})[STUDIO]) == MAX_IDS


NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@given(st.binary(max_size=200))
def test_any_body_is_a_registration_or_refused(body: bytes) -> None:
    with suppress(BadRequestError):
        parse_registration(body, {STUDIO: None})


@given(st.integers(0, 2**62), NAMES, NAMES)
def test_a_cursor_leads_back_to_its_place(discovered_us: int, account: str, id: str) -> None:
    generation = replace(G, discovered_us=discovered_us, account=AccountName(account), id=GenerationId(id))
    assert parse_cursor(cursor_of(generation)) == Place(discovered_us, AccountName(account), GenerationId(id))


@given(st.text())
def test_any_other_text_is_refused_as_a_cursor(text: str) -> None:
    with suppress(BadRequestError):
        parse_cursor(text)


def test_half_a_character_is_no_cursor() -> None:
    cursor = base64.urlsafe_b64encode(b'[1, "studio", "\\ud800"]').decode()
    with pytest.raises(BadRequestError, match="cursor"):
        parse_cursor(cursor)


def test_an_end_is_shown_with_everything_but_where_its_outputs_lie() -> None:
    end = End(
        status=Status.COMPLETED,
        at_us=1_778_416_508_999_999,
        recorded_us=0,
        via=Via.WEBHOOK,
        duration_us=12_420_500,
        credits_used_micro=211_500_000,
        outputs=2,
        reason=None,
        message=None,
    )
    seen = shown(replace(G, status=Status.COMPLETED, model="m", end=end))
    assert seen["completed_at"] == "2026-05-10T12:35:08.999Z"
    assert seen["discovered_at"] == "2026-05-10T12:34:56.123Z"
    assert (seen["duration_ms"], seen["credits_used"], seen["outputs"]) == (12_420.5, 211.5, 2)
    assert re.fullmatch("[0-9a-f]{32}", str(seen["trace_id"]))
    assert "url" not in json.dumps(seen)


def test_a_dropped_one_says_why() -> None:
    seen = shown(replace(G, status=Status.PROCESSING, drop=Drop(DropReason.GAVE_UP, 5)))
    assert (seen["status"], seen["reason"]) == ("dropped", "gave_up")
