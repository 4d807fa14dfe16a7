"""Imports point one way, without circles, and stand at the top of a module."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "exporter"

LAYERS = (
    ("__main__",),
    ("cli",),
    ("commands",),
    ("app",),
    ("replica", "reloads"),
    ("accounts", "intake"),
    ("ownership",),
    ("account",),
    ("web",),
    ("metrics",),
    ("sources",),
    ("tracing",),
    ("polling",),
    ("store",),
    ("vivix",),
    ("config",),
    ("domain",),
    ("heartbeat", "lasting", "logs", "quiet", "threads"),
    ("errors", "clock", "printable", "signals"),
)
"""The layout, from the command down to the words that all use; imports point down this list."""

SIMULATOR_MAY = {"clock", "domain", "errors", "quiet", "simulator"}
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}

MODULES = sorted(PACKAGE.rglob("*.py"))


def dotted(path: Path) -> str:
    """The name of a module, without that of the package."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {dotted(path) for path in MODULES}


def resolved(name: str) -> str:
    """The module that a dotted name leads to: itself, or the one that an attribute of it lies in."""
    while name not in NAMES:
        name = name.rpartition(".")[0]
    return name


def imported(path: Path) -> Iterator[str]:
    """The modules of the package that a module imports, or names to `import_module`."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.ImportFrom(module=str(module)) if module.split(".")[0] == "exporter":
                for alias in node.names:
                    yield resolved(f"{module}.{alias.name}".partition(".")[2])
            case ast.Import():
                for alias in node.names:
                    if alias.name.split(".")[0] == "exporter":
                        yield resolved(alias.name.partition(".")[2])
            case ast.Call(func=ast.Name(id="import_module"), args=[ast.Constant(value=str(module)), *_]):
                if module.startswith("exporter."):
                    yield resolved(module.partition(".")[2])
            case _:
                pass


def part(name: str) -> str:
    """The module of the package, or the subpackage, that a module belongs to."""
    return name.partition(".")[0]


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_a_module_imports_only_from_below(path: Path) -> None:
    name = part(dotted(path))
    others = {part(other) for other in imported(path)} - {""}
    if name == "simulator":
        assert others <= SIMULATOR_MAY
        return
    if name not in ("commands", "cli"):
        assert "simulator" not in others
    for other in others - {name, "simulator"}:
        assert RANK[other] > RANK[name], f"{name} imports {other}"


def test_the_domain_imports_nothing_of_ours() -> None:
    for path in (PACKAGE / "domain").glob("*.py"):
        assert {part(other) for other in imported(path)} <= {"domain"}, path.name


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {dotted(path): set(imported(path)) - {"", dotted(path)} for path in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("path", MODULES, ids=dotted)
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


def test_modules_are_imported_by_name_in_few_places() -> None:
    """The command line imports a command when it is needed, tracing its SDK where something is traced, the
    store the dialect and the driver of its database, the pages their templates' engine for the first page."""
    by_name = {
        dotted(path)
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "import_module"
    }
    assert by_name <= {
        "commands.usage",
        "store.opening",
        "store.upsert",
        "tracing.opening",
        "tracing.sdk",
        "web.pages.drawing",
    }
