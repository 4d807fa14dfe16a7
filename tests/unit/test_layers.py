"""Imports point one way, and stand at the top of a module."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "exporter"

LAYERS = (
    ("values", "errors", "clock", "durations", "watch", "globs", "__init__"),
    ("traceid", "heartbeat", "logs", "labels", "payload", "transition", "reliance", "bodies", "config"),
    ("ledger", "client", "hazard", "serving", "idfile"),
    ("store", "cadence", "budget", "agenda", "standing", "catalogue", "instruments", "idfiles", "exemplars"),
    ("follower", "tracing"),
    ("poller",),
    ("sources", "families", "web"),
    ("account",),
    ("intake", "collector"),
    ("api", "webhooks"),
    ("accounts",),
    ("app",),
    ("check", "explain", "demo"),
    ("cli",),
    ("__main__",),
)
"""From the words that all use up to the command; a module imports only from layers below its own."""

SIMULATOR_MAY = {"clock", "values", "errors", "simulator"}
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}

MODULES = sorted(PACKAGE.rglob("*.py"))


def part(path: Path) -> str:
    """The module of the package, or the subpackage, that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(tree: ast.AST) -> set[str]:
    """The parts of the package that a module imports from."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "exporter":
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("exporter."):
            names.add((node.module or "").split(".")[1])
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_from_below(path: Path) -> None:
    name, tree = part(path), ast.parse(path.read_text())
    if name == "simulator":
        assert imported(tree) <= SIMULATOR_MAY
        return
    if name not in ("demo", "cli"):
        assert "simulator" not in imported(tree)
    for other in imported(tree) - {name, "simulator"}:
        assert RANK[other] < RANK[name], f"{name} imports {other}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_import_hides_in_a_function(path: Path) -> None:
    functions = (
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    hidden = [
        inner.lineno
        for function in functions
        for inner in ast.walk(function)
        if isinstance(inner, ast.Import | ast.ImportFrom)
    ]
    assert hidden == []
