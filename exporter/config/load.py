"""From a file to a configuration, or to everything that is wrong with it, each with its line and key path."""

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from exporter.config.schema import Config, Document
from exporter.config.secret import SecretSource
from exporter.errors import ConfigError

MAX_FILE = 64 << 20
"""Bytes of a configuration."""

Loc = tuple[int | str, ...]

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_EXPECTED = {
    "string_type": "expected text",
    "string_too_short": "expected text that is not empty",
    "int_type": "expected a whole number",
    "int_from_float": "expected a whole number",
    "float_type": "expected a number",
    "float_parsing": "expected a number",
    "bool_type": "expected true or false",
    "list_type": "expected a list",
    "model_type": "expected a mapping of keys to values",
    "dict_type": "expected a mapping of keys to values",
    "model_attributes_type": "expected a mapping of keys to values",
}


def load_config(path: Path) -> Config:
    """Read and check the configuration at `path`, its secrets included. Raises ConfigError, whose text has
    a line for each problem."""
    try:
        if path.stat().st_size > MAX_FILE:
            raise ConfigError(f"{path}: larger than {MAX_FILE >> 20} MiB, which no configuration is")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the configuration: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not UTF-8 text") from None
    return parse_config(text, path)


def parse_config(text: str, path: Path) -> Config:
    """The configuration that `text` holds; `path` names it in errors, and its folder is where relative paths
    start. Raises ConfigError."""
    root = _compose(text, path)
    problems = [_line(path, node, loc, message) for node, loc, message in _odd_nodes(root, ())]
    if problems:
        raise ConfigError("\n".join(problems))
    values = _Constructor(text).construct_document(root)
    try:
        document = Document.model_validate(values)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        raise ConfigError("\n".join(_problem(path, root, detail) for detail in details)) from None
    config = Config.model_construct(**dict(document), folder=path.absolute().parent)
    _check_secrets(config, path, root)
    return config


class _Constructor(_Loader):  # type: ignore[misc]
    """Constructs from nodes that are there already."""


def _compose(text: str, path: Path) -> yaml.Node:
    for number, line in enumerate(text.splitlines(), 1):
        indent = line[: len(line) - len(line.lstrip())]
        if "\t" in indent and line.strip() and not line.lstrip().startswith("#"):
            raise ConfigError(
                f"{path}:{number}:{indent.index(chr(9)) + 1}: a tab cannot indent YAML; use spaces"
            )
    try:
        root: yaml.Node | None = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise ConfigError(f"{path}{where}: not YAML: {error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not YAML: {str(error).splitlines()[0]}") from None
    if root is None or (isinstance(root, yaml.ScalarNode) and root.tag.endswith(":null")):
        raise ConfigError(f"{path}: the file is empty; expected at least `accounts:` with one account")
    if not isinstance(root, yaml.MappingNode):
        raise ConfigError(f"{path}:1:1: expected keys such as `accounts:` at the top")
    return root


def _odd_nodes(root: yaml.Node, loc: Loc) -> Iterator[tuple[yaml.Node, Loc, str]]:
    """What YAML allows and a configuration should not have: repeated keys, aliases, keys that are no text."""
    seen: set[int] = set()
    stack: list[tuple[yaml.Node, Loc]] = [(root, loc)]
    while stack:
        node, loc = stack.pop()
        if isinstance(node, yaml.ScalarNode):
            continue
        if id(node) in seen:
            yield node, loc, "aliases (*name) are not supported"
            return
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            stack.extend((item, (*loc, index)) for index, item in enumerate(node.value))
            continue
        keys: set[str] = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or not key.tag.endswith(":str"):
                yield key, loc, "expected a key that is text"
                continue
            if key.value in keys:
                yield key, (*loc, key.value), "this key is given twice"
            keys.add(key.value)
            stack.append((value, (*loc, key.value)))


def _problem(path: Path, root: yaml.Node, detail: ErrorDetails) -> str:
    loc, kind = detail["loc"], detail["type"]
    if kind == "extra_forbidden":
        return _line(path, _find(root, loc, key=True), loc, _unknown(loc))
    if kind == "missing":
        return _line(path, _find(root, loc[:-1]), loc, "this key is missing")
    node = _find(root, loc)
    return _line(path, node, loc, _message(detail, node))


def _message(detail: ErrorDetails, node: yaml.Node) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "value_error":
        return str(context.get("error", "not allowed"))
    if kind == "literal_error":
        return f"expected {context.get('expected', 'something else')}"
    bounds = {"greater_than": "more than {gt}", "greater_than_equal": "at least {ge}",
              "less_than_equal": "at most {le}", "less_than": "less than {lt}"}  # fmt: skip
    if kind in bounds:
        return f"expected a number of {bounds[kind].format(**context)}"
    expected = _EXPECTED.get(kind, detail["msg"])
    return f"{expected}, got {_kind(node)}"


def _kind(node: yaml.Node) -> str:
    """What a value is, without showing it: it may be a secret."""
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    tag = node.tag.rpartition(":")[2]
    return {"str": "text", "int": "a number", "float": "a number", "bool": "true or false (put text such as "
            "yes, no, on and off in quotes)", "null": "nothing", "timestamp": "a date (put it in quotes)"
            }.get(tag, "something else")  # fmt: skip


def _unknown(loc: Loc) -> str:
    """An unknown key, with the nearest key that is valid there, or where it would be."""
    name = str(loc[-1])
    close = difflib.get_close_matches(name, _keys(loc[:-1]), n=1, cutoff=0.6)
    if close:
        return f"unknown key; did you mean {close[0]!r}?"
    elsewhere = [place for place in _places(Document, "") if place.rpartition(".")[2] == name]
    if elsewhere:
        return f"unknown key here; it belongs at {elsewhere[0]}"
    return f"unknown key; known here are {', '.join(_keys(loc[:-1]))}"


def _keys(loc: Loc) -> list[str]:
    model: type[BaseModel] = Document
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


def _find(root: yaml.Node, loc: Sequence[int | str], *, key: bool = False) -> yaml.Node:
    """The node at `loc`, or the nearest one above it; with `key`, the node of its key."""
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


def _line(path: Path, node: yaml.Node, loc: Loc, message: str) -> str:
    keys = ""
    for part in loc:
        keys += f"[{part}]" if isinstance(part, int) else f".{part}" if keys else part
    mark = node.start_mark
    return f"{path}:{mark.line + 1}:{mark.column + 1}: {keys + ': ' if keys else ''}{message}"


def _check_secrets(config: Config, path: Path, root: yaml.Node) -> None:
    problems = []
    for source, several, loc in _secrets(config):
        try:
            source.read_all() if several else source.read()
        except ConfigError as error:
            problems.append(_line(path, _find(root, loc), loc, str(error)))
    if problems:
        raise ConfigError("\n".join(problems))


def _secrets(config: Config) -> Iterator[tuple[SecretSource, bool, Loc]]:
    """Every source of secrets, whether it may hold several, and the key that names it."""
    for index, account in enumerate(config.accounts):
        keys: Sequence[str] = ("api_key", "api_key_env", "api_key_file")
        yield account.key_source(config.folder), False, ("accounts", index, _given(account, keys))
        webhook = account.webhook_secret_source(config.folder)
        if webhook is not None:
            keys = "webhook_secret_env", "webhook_secret_file"
            yield webhook, True, ("accounts", index, _given(account, keys))
    token = config.web.token_source(config.folder)
    if token is not None:
        keys = "registration_token_env", "registration_token_file"
        yield token, True, ("web", _given(config.web, keys))


def _given(section: BaseModel, keys: Sequence[str]) -> str:
    return next(key for key in keys if getattr(section, key) is not None)
