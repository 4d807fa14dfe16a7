"""What the schema finds wrong, in words: what was expected, what was found, and which key was meant."""

import difflib
from collections.abc import Iterator
from typing import Any, get_args

import yaml
from pydantic import BaseModel
from pydantic_core import ErrorDetails

from exporter.config.nodes import Loc, Problem, find
from exporter.config.schema import Document

_EXPECTED = {
    "string_type": "expected text",
    "int_type": "expected a whole number",
    "float_type": "expected a number",
    "bool_type": "expected true or false",
    "list_type": "expected a list",
    "model_type": "expected a mapping of keys to values",
    "dict_type": "expected a mapping of keys to values",
    "model_attributes_type": "expected a mapping of keys to values",
}
_BOUNDS = {
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than_equal": "at most {le}",
    "less_than": "less than {lt}",
}
_KINDS = {
    "str": "text",
    "int": "a number",
    "float": "a number",
    "bool": "true or false (put text such as yes, no, on and off in quotes)",
    "null": "nothing",
}


def problem(root: yaml.Node, detail: ErrorDetails, schema: type[BaseModel] = Document) -> Problem:
    """Return one finding of pydantic with its node and in our words, about a document of `schema`; never
    with the value, which may be secret."""
    loc, kind = detail["loc"], detail["type"]
    if kind == "extra_forbidden":
        return Problem(find(root, loc, key=True), loc, _unknown(loc, schema))
    if kind == "missing":
        return Problem(find(root, loc[:-1]), loc, "this key is missing")
    node = find(root, loc)
    return Problem(node, loc, _message(detail, node))


def _message(detail: ErrorDetails, node: yaml.Node) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "value_error":
        return str(context.get("error", "not allowed"))
    if kind == "string_too_short":
        return "expected text that is not empty"
    if kind == "literal_error":
        return f"expected {context.get('expected', 'something else')}"
    if kind == "too_long":
        return f"expected at most {context.get('max_length')} items"
    if kind in _BOUNDS:
        return f"expected a number of {_BOUNDS[kind].format(**context)}"
    return f"{_EXPECTED.get(kind, detail['msg'])}, got {_kind(node)}"


def _kind(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    return _KINDS.get(node.tag.rpartition(":")[2], "something else")


def _unknown(loc: Loc, schema: type[BaseModel]) -> str:
    """Return what is known in place of an unknown key: the nearest one there, or where it belongs."""
    name = str(loc[-1])
    close = difflib.get_close_matches(name[:100], _keys(loc[:-1], schema), n=1, cutoff=0.6)
    if close:
        return f"unknown key; did you mean {close[0]!r}?"
    elsewhere = [place for place in _places(schema, "") if place.rpartition(".")[2] == name]
    if elsewhere:
        return f"unknown key here; it belongs at {elsewhere[0]}"
    return f"unknown key; known here are {', '.join(_keys(loc[:-1], schema))}"


def _keys(loc: Loc, model: type[BaseModel]) -> list[str]:
    for part in loc:
        if isinstance(part, str) and part in model.model_fields:
            model = _section(model.model_fields[part].annotation) or model
    return list(model.model_fields)


def _places(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield f"{prefix}{name}"
        section = _section(field.annotation)
        if section is not None:
            yield from _places(section, f"{prefix}{name}{'[]' if name == 'accounts' else ''}.")


def _section(annotation: Any) -> type[BaseModel] | None:
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None
