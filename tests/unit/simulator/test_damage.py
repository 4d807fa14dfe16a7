import json
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.domain.values import Status
from exporter.simulator import damage
from exporter.simulator.answers import Body

IN_FLIGHT: Body = {
    "generation_id": "one",
    "status": "processing",
    "model": "m",
    "credits_estimate": 211,
    "elapsed_ms": 4200,
    "created_at": "2026-05-10T12:34:56Z",
}
ENDED: Body = {"generation_id": "one", "status": "completed", "output_urls": ["u"], "credits_used": 211}


@given(st.integers())
def test_a_field_in_flight_is_right_or_of_another_type_never_another_value(seed: int) -> None:
    damaged = damage.wrong_types(IN_FLIGHT, Random(seed))
    assert isinstance(damaged, dict)
    assert damaged != IN_FLIGHT
    for name, value in IN_FLIGHT.items():
        changed = damaged.get(name)
        assert changed == value or type(changed) is not type(value)


@given(st.integers())
def test_an_ended_generation_loses_its_status_and_nothing_else(seed: int) -> None:
    damaged = damage.wrong_types(ENDED, Random(seed), ended=True)
    if isinstance(damaged, list):
        assert damaged == [ENDED]
        return
    assert isinstance(damaged, dict)
    assert damaged.get("status") not in list(Status)
    assert {**damaged, "status": "completed"} == ENDED


@given(st.integers())
def test_broken_json_is_refused_by_a_strict_parser_or_names_no_generation(seed: int) -> None:
    content = damage.broken_json(IN_FLIGHT, Random(seed))
    try:
        parsed = json.loads(content)
    except (ValueError, RecursionError):
        return
    assert "status" not in parsed


def test_broken_json_comes_in_several_kinds() -> None:
    assert len({damage.broken_json(IN_FLIGHT, Random(seed)) for seed in range(100)}) >= 6


def test_an_oversized_body_is_right_and_more_than_a_mebibyte() -> None:
    body = damage.oversized(ENDED)
    assert len(json.dumps(body)) > 2**20
    assert {**ENDED, "padding": body["padding"]} == body


def test_the_undocumented_status_is_not_a_documented_one() -> None:
    with pytest.raises(ValueError, match="moderating"):
        Status(str(damage.undocumented_status(IN_FLIGHT)["status"]))
