"""Ids: which texts are one, and when two texts are the same one."""

import uuid

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from exporter.domain.values import MAX_ID, check_generation_id, is_uuid


@given(st.uuids(), st.lists(st.booleans(), min_size=36, max_size=36))
def test_a_uuid_is_one_id_however_its_letters_are_written(id: uuid.UUID, upper: list[bool]) -> None:
    written = "".join(c.upper() if up else c for c, up in zip(str(id), upper, strict=True))
    assert check_generation_id(written) == str(id)


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=MAX_ID))
def test_every_other_id_is_kept_as_it_is(id: str) -> None:
    assume(not is_uuid(id) and id not in (".", ".."))
    assert check_generation_id(id) == id


@pytest.mark.parametrize(
    "id",
    [
        "5B91A581EE194F869FEABD29471D69D5",
        "{5B91A581-EE19-4F86-9FEA-BD29471D69D5}",
        "5B91A581-EE19-4F86-9FEA-BD29471D69DG",
        "5B91A581-EE19-4F86-9FEA-BD29471D69D5-1",
    ],
)
def test_what_only_resembles_a_uuid_is_kept_as_it_is(id: str) -> None:
    assert check_generation_id(id) == id


@pytest.mark.parametrize("id", ["", "a b", "a\n", "x" * (MAX_ID + 1), ".", "..", 7, None, ["a"], "\ud800"])
def test_what_the_api_cannot_be_asked_for_is_no_id(id: object) -> None:
    with pytest.raises(ValueError, match="id of a generation"):
        check_generation_id(id)
