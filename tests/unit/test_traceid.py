"""A generation's trace is found by its id alone."""

import hashlib
import re
import uuid

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from exporter.traceid import trace_id
from exporter.values import GenerationId


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
