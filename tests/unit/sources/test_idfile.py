"""A file's text gives the ids that it lists, or says what is wrong with it and where."""

import json

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from exporter.domain.values import MAX_ID, GenerationId, NewGeneration
from exporter.errors import IdFileError
from exporter.sources.idfile import MAX_FILE, SUFFIXES, parse_ids

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

printable = st.characters().filter(lambda c: c.isprintable() and not c.isspace())
ids = st.text(printable, min_size=1, max_size=MAX_ID).filter(lambda id: id not in (".", ".."))
generations = st.lists(
    st.builds(NewGeneration, ids.map(GenerationId), st.sampled_from([None, PARENT])),
    unique_by=lambda new: new.id,
).map(tuple)


def listed(text: str, suffix: str, *, complete: bool = True) -> list[str]:
    return [new.id for new in parse_ids(text.encode(), suffix, complete=complete)]


def refusal(content: bytes | str, suffix: str) -> str:
    with pytest.raises(IdFileError) as refused:
        parse_ids(content.encode() if isinstance(content, str) else content, suffix)
    return str(refused.value)


def written(new: tuple[NewGeneration, ...]) -> list[object]:
    """Ids and objects, as they may stand in a list."""
    return [{"id": one.id, "traceparent": one.traceparent} if one.traceparent else one.id for one in new]


@given(st.lists(ids.filter(lambda id: not id.startswith("#")), unique=True), st.booleans())
def test_ids_come_back_from_lines(these: list[str], complete: bool) -> None:
    text = "".join(f"{id}\n" for id in these)
    assert listed(text, ".txt", complete=complete) == these


@given(generations)
def test_ids_and_traceparents_come_back_from_json(these: tuple[NewGeneration, ...]) -> None:
    assert parse_ids(json.dumps(written(these)).encode(), ".json", complete=False) == these


@given(generations, st.booleans(), st.sampled_from([".yaml", ".yml"]))
@example((NewGeneration(GenerationId("5")), NewGeneration(GenerationId("yes"), PARENT)), False, ".yaml")
def test_ids_and_traceparents_come_back_from_yaml(
    these: tuple[NewGeneration, ...], flow: bool, suffix: str
) -> None:
    text = yaml.safe_dump(written(these), default_flow_style=flow, allow_unicode=True)
    assert parse_ids(text.encode(), suffix) == these


@given(st.binary() | st.text().map(str.encode), st.sampled_from(SUFFIXES), st.booleans())
@example(b"[" * 100_000, ".json", True)
@example(b"[" * 100_000, ".yaml", True)
@example(b'{"a":' * 100_000, ".json", True)
@example(b"[" + b"9" * 5_000 + b"]", ".json", True)
@example(b'["\\ud800", "\\u0000"]', ".json", True)
@example(b"\xff\xfea\x00", ".txt", True)
@example(b"--- []\n--- []\n", ".yaml", True)
@example(b"%YAML 9.9\n--- [a]\n", ".yaml", True)
@example(b"- !!python/object:os.system a\n", ".yaml", True)
def test_any_bytes_give_ids_or_the_error(content: bytes, suffix: str, complete: bool) -> None:
    try:
        found = parse_ids(content, suffix, complete=complete)
    except IdFileError as error:
        said = str(error)
    else:
        said = ""
        assert len({new.id for new in found}) == len(found)
    assert said == "" or said.isprintable()
    assert len(said) < 300


def test_lines_may_hold_comments_blanks_and_the_marks_of_other_systems() -> None:
    text = "\ufeff# ours\r\na\r\n\r\n  b \t# the second\n#c\nd#1\n   # indented\ne"
    assert listed(text, ".txt") == ["a", "b", "d#1", "e"]


def test_a_line_that_may_be_half_an_id_is_left_out() -> None:
    assert listed("a\nb", ".txt", complete=False) == ["a"]
    assert listed("a", ".txt", complete=False) == []
    assert parse_ids("a\nü".encode()[:-1], ".txt", complete=False) == (NewGeneration(GenerationId("a")),)


def test_yaml_that_may_go_on_is_not_taken() -> None:
    with pytest.raises(IdFileError, match="being written"):
        listed("- a\n", ".yaml", complete=False)


def test_the_first_mention_of_an_id_counts() -> None:
    both = json.dumps(["a", {"id": "b", "traceparent": PARENT}, {"id": "a", "traceparent": PARENT}, "b"])
    assert [(new.id, new.traceparent) for new in parse_ids(both.encode(), ".json")] == [
        ("a", None),
        ("b", PARENT),
    ]


@pytest.mark.parametrize(
    ("text", "suffix"), [("", ".txt"), ("[]", ".json"), ("[]", ".yaml"), ("--- []\n", ".yml")]
)
def test_a_list_of_nothing_is_one(text: str, suffix: str) -> None:
    assert listed(text, suffix) == []


NO_ID = "expected the id of a generation: 1 to 256 characters without white space"
NO_TEXT = "expected the id of a generation as text; put it in quotes"
NO_KEY = "unknown key 'trace'; known here are id, traceparent"
NO_PARENT = "expected a traceparent of W3C Trace Context"
NO_PARENT_TEXT = "expected a traceparent as text; put it in quotes"
NO_LIST = "expected a list of ids or of objects {id, traceparent}"


@pytest.mark.parametrize(
    ("content", "suffix", "message"),
    [
        ("a\nb c\n", ".txt", f"line 2: {NO_ID}, got 'b c'"),
        ("a\n" + "x" * 300, ".txt", f"line 2: {NO_ID}, got '{'x' * 40}…'"),
        ("a\n\nb\x1b[31m\n", ".txt", f"line 3: {NO_ID}, got 'b\\x1b[31m'"),
        ("..\n", ".txt", "line 1: '..' cannot be the id of a generation, got '..'"),
        (b"a\nb\n\xff\n", ".txt", "line 3: not UTF-8 text"),
        ("", ".json", "line 1, column 1: not JSON: Expecting value"),
        ('["a",\n "b"', ".json", "line 2, column 5: not JSON: Expecting ',' delimiter"),
        ('{"id": "a"}', ".json", NO_LIST),
        ('["a", 5]', ".json", f"item 2: {NO_TEXT}"),
        ('["a", null]', ".json", f"item 2: {NO_TEXT}"),
        ('[["a"]]', ".json", f"item 1: {NO_TEXT}"),
        ('["a", {"traceparent": null}]', ".json", "item 2: the key 'id' is missing"),
        ('[{"id": "a", "id": "b"}]', ".json", "item 1: the key 'id' is given twice"),
        ('[{"id": "a", "trace": "b"}]', ".json", f"item 1: {NO_KEY}"),
        ('[{"id": "a", "traceparent": "b"}]', ".json", f"item 1: {NO_PARENT}, got 'b'"),
        ('[{"id": "a", "traceparent": 5}]', ".json", f"item 1: {NO_PARENT_TEXT}"),
        ("", ".yaml", "the file is empty; a list of nothing is written []"),
        ("# nothing\n", ".yaml", "the file is empty; a list of nothing is written []"),
        ("id: a\n", ".yaml", f"line 1, column 1: {NO_LIST}"),
        ("- a\n- 5\n", ".yaml", f"line 2, column 3: {NO_TEXT}"),
        ("- a\n- ~\n", ".yaml", f"line 2, column 3: {NO_TEXT}"),
        ("- a\n- [b]\n", ".yaml", "line 2, column 3: expected text, got a list or a mapping"),
        ("- &a b\n- *a\n", ".yaml", "line 2, column 3: aliases (*name) are not supported"),
        ("- id: a\n- id: b\n  trace: c\n", ".yaml", f"line 2, column 3: {NO_KEY}"),
        ("- id: a\n  5: b\n", ".yaml", "line 2, column 3: expected a key that is text"),
        ("- a\n- 'b\n", ".yaml", "line 3, column 1: not YAML: found unexpected end of stream"),
        ("- a\n--- \n- b\n", ".yaml", "line 2, column 1: expected nothing after the list"),
        ("a", ".csv", "expected a name that ends in .txt, .json, .yaml, .yml"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_and_where(content: bytes | str, suffix: str, message: str) -> None:
    assert refusal(content, suffix) == message


def test_a_traceparent_of_nothing_is_none() -> None:
    assert parse_ids(b"- id: a\n  traceparent:\n", ".yaml") == (NewGeneration(GenerationId("a")),)


def test_a_file_larger_than_any_list_is_refused() -> None:
    assert refusal(b"\n" * (MAX_FILE + 1), ".txt") == "larger than 64 MiB"
    assert parse_ids(b"\n" * 1_000, ".txt") == ()
