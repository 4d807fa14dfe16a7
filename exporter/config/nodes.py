"""YAML text as nodes with their places, and the plain values that they stand for.

Values are built from the composed nodes here, not by the library: a configuration holds text, numbers,
booleans and nothing else, so every other tag is a problem with a place rather than an exception.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from exporter.errors import ConfigError

MAX_DEPTH = 100
"""Levels of nesting; the schema has four."""
MAX_KEYS = 1_000
"""Keys of one mapping; the schema has a dozen."""
MAX_NUMBER = 400
"""Characters of a number; the longest float needs 325."""
MAX_SHOWN = 60
"""Characters of a value or a key that an error repeats."""

Loc = tuple[int | str, ...]
"""Keys and indexes, from the top down to a value."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_YAML = "tag:yaml.org,2002:"
_FOREIGN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that YAML does not allow (YAML 1.1, section 5.1)."""
_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_BOOLS = {"yes": True, "no": False, "true": True, "false": False, "on": True, "off": False}
_BASES = {"0b": 2, "0x": 16}
_PLAIN_KEY = re.compile(r"[\w.-]{1,64}")


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with the value, or the key, at `node`."""

    node: yaml.Node
    loc: Loc
    message: str

    def line(self, path: Path) -> str:
        """Return the problem as one line of an error about the file at `path`."""
        keys = ""
        for part in self.loc:
            keys += f"[{part}]" if isinstance(part, int) else f"{'.' if keys else ''}{_key(part)}"
        mark = self.node.start_mark
        return f"{path}:{mark.line + 1}:{mark.column + 1}: {keys}{': ' if keys else ''}{self.message}"


def compose(text: str, path: Path, key: str) -> yaml.MappingNode | None:
    """Return the mapping that a file's text holds, None where it holds nothing. Raises ConfigError where it
    is something else; the message then names `key` as one that is meant to stand at the top."""
    foreign = _FOREIGN.search(text)
    if foreign is not None:
        where = _position(text, foreign.start())
        raise ConfigError(f"{path}:{where}: not YAML: the character {shown(foreign[0])} is not allowed")
    try:
        root: yaml.Node | None = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        raise ConfigError(f"{path}{_explained(error, text)}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not YAML: {' '.join(str(error).split())[:200]}") from None
    if root is None or (isinstance(root, yaml.ScalarNode) and root.tag == f"{_YAML}null"):
        return None
    if not isinstance(root, yaml.MappingNode):
        raise ConfigError(f"{path}:1:1: expected keys such as `{key}:` at the top")
    return root


def construct(root: yaml.MappingNode) -> tuple[object, list[Problem]]:
    """Return the values of a document, and what a configuration may not hold although YAML allows it."""
    building = _Building([], set())
    return building.value(root, ()), building.problems


def find(root: yaml.Node, loc: Loc, *, key: bool = False) -> yaml.Node:
    """Return the node at `loc`, or the nearest one above it; with `key`, the node of its key."""
    node = root
    for place, part in enumerate(loc):
        step: yaml.Node | None = None
        if isinstance(node, yaml.MappingNode):
            for name, value in node.value:
                if name.value == part:
                    step = name if key and place == len(loc) - 1 else value
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            step = node.value[part]
        if step is None:
            break
        node = step
    return node


def shown(text: str) -> str:
    """Return a value in quotes, on one line, shortened where it is long."""
    return repr(text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…")


@dataclass(frozen=True, slots=True)
class _Building:
    """One walk over the nodes of a document."""

    problems: list[Problem]
    seen: set[int]

    def value(self, node: yaml.Node, loc: Loc) -> object:
        try:
            if isinstance(node, yaml.ScalarNode):
                return _scalar(node)
            if id(node) in self.seen:
                raise ValueError("aliases (*name) are not supported; repeat the value")
            self.seen.add(id(node))
            if len(loc) >= MAX_DEPTH:
                raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
            if isinstance(node, yaml.SequenceNode) and node.tag == f"{_YAML}seq":
                return [self.value(item, (*loc, index)) for index, item in enumerate(node.value)]
            if isinstance(node, yaml.MappingNode) and node.tag == f"{_YAML}map":
                if len(node.value) > MAX_KEYS:
                    raise ValueError(f"more than {MAX_KEYS} keys")
                return self._mapping(node.value, loc)
            raise ValueError(_unsupported(node.tag))
        except ValueError as error:
            message = str(error)
            if loc[-1:] == ("api_key",):
                # What seems to be a tag may be a key that was not put in quotes.
                message = message.replace(_named(node.tag), "this tag")
            self.problems.append(Problem(node, loc[:4] if len(loc) >= MAX_DEPTH else loc, message))
            return None

    def _mapping(self, pairs: Sequence[tuple[yaml.Node, yaml.Node]], loc: Loc) -> dict[str, object]:
        values: dict[str, object] = {}
        for key, node in pairs:
            if key.tag == f"{_YAML}merge":
                self.problems.append(Problem(key, loc, "merge keys (<<) are not supported"))
            elif not isinstance(key, yaml.ScalarNode) or key.tag != f"{_YAML}str":
                self.problems.append(Problem(key, loc, "expected a key that is text"))
            else:
                name = str(key.value)
                if name in values:
                    self.problems.append(Problem(key, (*loc, name), "this key is given twice"))
                values[name] = self.value(node, (*loc, name))
        return values


def _scalar(node: yaml.ScalarNode) -> object:
    """Return the value of a scalar as YAML 1.1 has it. Raises ValueError."""
    text = str(node.value)
    match node.tag.removeprefix(_YAML):
        case "str":
            return text
        case "null":
            return None
        case "bool":
            if text.lower() not in _BOOLS:
                raise ValueError("expected true or false")
            return _BOOLS[text.lower()]
        case "int":
            return _number(text, _int, "a whole number")
        case "float":
            return _number(text, _float, "a number")
        case "timestamp":
            raise ValueError("a date is not supported; put it in quotes if it is meant as text")
        case _:
            raise ValueError(_unsupported(node.tag))


def _number(text: str, read: Callable[[str], int | float], expected: str) -> int | float:
    digits = text.replace("_", "").lower()
    sign = -1 if digits.startswith("-") else 1
    try:
        if len(text) > MAX_NUMBER:
            raise ValueError
        number: int | float = read(digits[1:] if digits[:1] in ("+", "-") else digits)
    except (ValueError, OverflowError):
        raise ValueError(f"expected {expected}; put {shown(text)} in quotes if it is meant as text") from None
    return sign * number


def _int(digits: str) -> int:
    if digits[:2] in _BASES:
        return int(digits[2:], _BASES[digits[:2]])
    if digits.startswith("0"):
        return int(digits, 8)
    return sum(int(part) * 60**power for power, part in enumerate(reversed(digits.split(":"))))


def _float(digits: str) -> float:
    if digits in (".inf", ".nan"):
        return float(digits[1:])
    parts = reversed(digits.split(":"))
    return math.fsum(float(part) * 60.0**power for power, part in enumerate(parts))


def _unsupported(tag: str) -> str:
    return f"{_named(tag)} is not supported; put text that begins with '!' or '=' in quotes"


def _named(tag: str) -> str:
    return f"the tag {shown(tag.replace(_YAML, '!!'))}"


def _explained(error: yaml.MarkedYAMLError, text: str) -> str:
    """Return place and reason of a syntax error."""
    # What is never closed is best shown where it was opened.
    marks = [error.context_mark, error.problem_mark]
    first, second = marks if "end of stream" in str(error.problem) else reversed(marks)
    mark = first or second
    reason = " ".join(f"{error.context or ''} {error.problem or ''}".split())
    if mark is None:
        return f": not YAML: {reason}"
    lines = _BREAK.split(text)
    line = lines[mark.line] if mark.line < len(lines) else ""
    indent = line[: len(line) - len(line.lstrip())]
    if "\t" in indent and mark.column <= len(indent):
        return f":{mark.line + 1}:{indent.index(chr(9)) + 1}: a tab cannot indent YAML; use spaces"
    hint = "; is the line indented as those beside it?" if "block" in (error.context or "") else ""
    return f":{mark.line + 1}:{mark.column + 1}: not YAML: {reason}{hint}"


def _position(text: str, index: int) -> str:
    """Return line and column, as YAML counts lines."""
    before = _BREAK.split(text[:index])
    return f"{len(before)}:{len(before[-1]) + 1}"


def _key(name: str) -> str:
    return name if _PLAIN_KEY.fullmatch(name) else shown(name)
