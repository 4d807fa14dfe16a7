"""What the documents say of commands, routes and each other is so."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from starlette.routing import BaseRoute, Route

from exporter.app import App
from exporter.cli import commands
from exporter.config import load_config
from exporter.store import open_database
from support.running import write_config

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/*.md"),
        ROOT / "dashboards/README.md",
        *ROOT.glob(".github/**/*.md"),
    ]
)
CONFIGURATION = (ROOT / "docs/configuration.md").read_text()
HTTP = (ROOT / "docs/http-api.md").read_text()
LINK = re.compile(r"\]\(([^)\s]+)\)")


def anchors(document: Path) -> set[str]:
    """What a link may name in a document, as GitHub writes headings into addresses."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_to_a_file_of_ours_leads_somewhere(document: Path) -> None:
    for link in LINK.findall(document.read_text()):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


def test_the_readme_can_be_read_in_one_sitting() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


def test_every_document_is_reached_from_the_readme() -> None:
    linked = {(ROOT / link).resolve() for link in LINK.findall((ROOT / "README.md").read_text())}
    assert {path for path in DOCUMENTS if path.parent == ROOT / "docs"} <= linked


@pytest.mark.parametrize("name", sorted(commands.commands))
def test_each_command_has_a_row_and_no_other_has(name: str) -> None:
    documented = re.findall(r"^\| `vivix-exporter ([\w-]+)", CONFIGURATION, flags=re.MULTILINE)
    assert sorted(documented) == sorted(commands.commands)
    assert documented.count(name) == 1


@pytest.mark.parametrize("name", sorted(commands.commands))
def test_each_option_of_a_command_is_explained(name: str) -> None:
    for parameter in commands.commands[name].params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            assert any(f"{option}" in CONFIGURATION for option in parameter.opts), parameter.opts


def routes(folder: Path) -> Iterator[BaseRoute]:
    config = load_config(write_config(folder, [{"name": "studio", "api_key": "k" * 40}]))
    database = open_database(config.state_at, owner=True)
    app = App(config, database)
    yield from app._endpoints(app._webhooks.routes()).app().routes
    database.close()


def test_each_route_has_a_row_and_no_other_has(tmp_path: Path) -> None:
    documented = set(re.findall(r"^\| `(?:GET|POST) (/[^`]*)`", HTTP, flags=re.MULTILINE))
    served = {route.path.replace(":path", "") for route in routes(tmp_path) if isinstance(route, Route)}
    assert served == documented | {"/static/{name}"}
