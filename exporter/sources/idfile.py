"""The format of a file of ids: from its text to the generations that it lists."""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

import yaml

from exporter.domain.traceid import parse_traceparent
from exporter.domain.values import GenerationId, NewGeneration, check_generation_id
from exporter.errors import IdFileError

SUFFIXES = (".txt", ".json", ".yaml", ".yml")
MAX_FILE = 64 << 20
"""Bytes of a file of ids: more than a million of them."""
SHOWN = 40
"""Characters of a value shown in an error."""

_COMMENT = re.compile(r"(?:^|\s)#.*")
_KEYS = ("id", "traceparent")

_Object = tuple[tuple[str, object], ...]
"""A mapping as its pairs, so that a repeated key is noticed."""
_Item = tuple[str, object]
"""The place of an item, and the item: text, an _Object, None, or anything else, which is an error."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def parse_ids(content: bytes, suffix: str, *, complete: bool = True) -> tuple[NewGeneration, ...]:
    """Return the generations that a file lists, each id once, in the order of their first mention.

    `suffix` is one of SUFFIXES. A file that may still be being written is not `complete`: a last line of
    `.txt` without its end is left out; JSON ends visibly; YAML does not, so that nothing can be read from it
    yet. Raises IdFileError.
    """
    if suffix not in _ITEMS:
        raise IdFileError(f"expected a name that ends in {', '.join(SUFFIXES)}")
    if len(content) > MAX_FILE:
        raise IdFileError(f"larger than {MAX_FILE >> 20} MiB")
    if not complete and suffix == ".txt":
        content = content[: content.rfind(b"\n") + 1]
    if not complete and suffix in (".yaml", ".yml"):
        raise IdFileError("the file may still be being written")
    found: dict[GenerationId, NewGeneration] = {}
    for where, item in _ITEMS[suffix](_text(content)):
        try:
            new = _generation(item)
        except ValueError as error:
            raise IdFileError(f"{where}: {error}") from None
        found.setdefault(new.id, new)
    return tuple(found.values())


def _text(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise IdFileError(f"line {line}: not UTF-8 text") from None


def _generation(item: object) -> NewGeneration:
    """Raises ValueError."""
    if isinstance(item, str):
        return NewGeneration(_id(item))
    if not isinstance(item, tuple):
        return NewGeneration(check_generation_id(item))
    keys = [key for key, _ in item]
    for key in keys:
        if key not in _KEYS:
            raise ValueError(f"unknown key {_shown(key)}; known here are {', '.join(_KEYS)}")
        if keys.count(key) > 1:
            raise ValueError(f"the key {key!r} is given twice")
    values = dict(item)
    if "id" not in values:
        raise ValueError("the key 'id' is missing")
    return NewGeneration(_id(values["id"]), _traceparent(values.get("traceparent")))


def _id(value: object) -> GenerationId:
    try:
        return check_generation_id(value)
    except ValueError as error:
        shown = f", got {_shown(value)}" if isinstance(value, str) else ""
        raise ValueError(f"{error}{shown}") from None


def _traceparent(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError("expected a traceparent as text; put it in quotes")
    if parse_traceparent(value) is None:
        raise ValueError(f"expected a traceparent of W3C Trace Context, got {_shown(value)}")
    return value


def _shown(text: str) -> str:
    """`text` shortened, with everything escaped that is not printable."""
    return repr(text if len(text) <= SHOWN else f"{text[:SHOWN]}…")


def _lines(text: str) -> Iterator[_Item]:
    for number, line in enumerate(text.split("\n"), 1):
        id = (_COMMENT.sub("", line, count=1) if "#" in line else line).strip()
        if id:
            yield f"line {number}", id


def _json(text: str) -> Iterable[_Item]:
    try:
        items = json.loads(text, object_pairs_hook=tuple)
    except json.JSONDecodeError as error:
        raise IdFileError(f"line {error.lineno}, column {error.colno}: not JSON: {error.msg}") from None
    except (ValueError, RecursionError) as error:
        raise IdFileError(f"JSON that cannot be read: {error}") from None
    if not isinstance(items, list):
        raise IdFileError("expected a list of ids or of objects {id, traceparent}")
    return ((f"item {number}", item) for number, item in enumerate(items, 1))


def _yaml(text: str) -> Iterator[_Item]:
    """Parse event by event, so that neither depth nor aliases can make a small file expensive."""
    try:
        loader = _Loader(text)
        try:
            yield from _documents(loader)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = _where(mark) + ": " if mark else ""
        raise IdFileError(f"{where}not YAML: {error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise IdFileError(f"not YAML: {str(error).splitlines()[0]}") from None


def _documents(loader: Any) -> Iterator[_Item]:
    loader.get_event()
    if loader.check_event(yaml.StreamEndEvent):
        raise IdFileError("the file is empty; a list of nothing is written []")
    loader.get_event()
    first = loader.get_event()
    if not isinstance(first, yaml.SequenceStartEvent):
        raise IdFileError(
            f"{_where(first.start_mark)}: expected a list of ids or of objects {{id, traceparent}}"
        )
    while not loader.check_event(yaml.SequenceEndEvent):
        event = loader.get_event()
        if isinstance(event, yaml.MappingStartEvent):
            yield _where(event.start_mark), tuple(_pairs(loader))
        else:
            yield _where(event.start_mark), _scalar(loader, event)
    loader.get_event()
    loader.get_event()
    if not loader.check_event(yaml.StreamEndEvent):
        raise IdFileError(f"{_where(loader.get_event().start_mark)}: expected nothing after the list")


def _pairs(loader: Any) -> Iterator[tuple[str, object]]:
    while not loader.check_event(yaml.MappingEndEvent):
        event = loader.get_event()
        key = _scalar(loader, event)
        if not isinstance(key, str):
            raise IdFileError(f"{_where(event.start_mark)}: expected a key that is text")
        yield key, _scalar(loader, loader.get_event())
    loader.get_event()


def _scalar(loader: Any, event: Any) -> object:
    """Return text, None, or the event itself where it is something else."""
    if isinstance(event, yaml.AliasEvent):
        raise IdFileError(f"{_where(event.start_mark)}: aliases (*name) are not supported")
    if not isinstance(event, yaml.ScalarEvent):
        raise IdFileError(f"{_where(event.start_mark)}: expected text, got a list or a mapping")
    tag = event.tag or loader.resolve(yaml.ScalarNode, event.value, event.implicit)
    if tag == "tag:yaml.org,2002:null":
        return None
    return event.value if tag in ("tag:yaml.org,2002:str", "!") else event


def _where(mark: Any) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}"


_ITEMS = {".txt": _lines, ".json": _json, ".yaml": _yaml, ".yml": _yaml}
