"""A generation's trace is found by its id alone."""

import hashlib
import re
import uuid

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from exporter.domain.traceid import TraceParent, parse_traceparent, trace_id
from exporter.domain.values import GenerationId


def hashed(id: str) -> str:
    return hashlib.sha256(f"vivix-generation:{id}".encode()).hexdigest()[:32]


@given(st.uuids().filter(lambda id: id.int != 0))
def test_a_uuid_gives_its_own_bits(id: uuid.UUID) -> None:
    assert trace_id(GenerationId(str(id))) == id.hex
    assert trace_id(GenerationId(str(id).upper())) == id.hex


def test_any_other_id_gives_the_beginning_of_its_digest() -> None:
    assert trace_id(GenerationId("abc123")) == hashed("abc123")
    # By `printf vivix-generation:abc123 | sha256sum`.
    assert trace_id(GenerationId("abc123")) == "62a092370903867d5e3c9ae858e457ab"


@pytest.mark.parametrize("id", [str(uuid.UUID(int=0)), "0" * 32])
def test_a_uuid_of_zeros_is_no_trace_id_and_gives_its_digest(id: str) -> None:
    assert trace_id(GenerationId(id)) == hashed(id)


@given(st.text())
@example("")
@example("0x" + "0" * 29 + "1")
@example("ü" * 32)
@example("٣" * 32)
@example("{" + "0" * 32 + "}")
@example("1_" * 15 + "11")
def test_every_id_gives_thirty_two_digits_that_are_not_all_zero(id: str) -> None:
    digits = trace_id(GenerationId(id))
    assert re.fullmatch(r"[0-9a-f]{32}", digits)
    assert digits.strip("0")
    assert trace_id(GenerationId(id)) == digits


TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.mark.parametrize(("flags", "sampled"), [("01", True), ("00", False), ("03", True), ("02", False)])
def test_a_traceparent_names_the_callers_span(flags: str, sampled: bool) -> None:
    assert parse_traceparent(f"00-{TRACE}-{SPAN}-{flags}") == TraceParent(TRACE, SPAN, sampled)


def test_a_later_version_of_traceparent_may_go_on() -> None:
    assert parse_traceparent(f"01-{TRACE}-{SPAN}-01-what-may-come") == TraceParent(TRACE, SPAN, True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01-more",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f" 00-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\n",
        f"00-{TRACE}-{SPAN}-1",
    ],
)
def test_what_is_not_a_traceparent_is_none(text: str) -> None:
    assert parse_traceparent(text) is None


def test_a_generation_with_a_callers_traceparent_is_part_of_its_trace() -> None:
    id = GenerationId("5b91a581-ee19-4f86-9fea-bd29471d69d5")
    assert trace_id(id, f"00-{TRACE}-{SPAN}-00") == TRACE
    assert trace_id(id, "nonsense") == trace_id(id)
