"""Whatever a file holds, reading it gives a configuration or an error that names the place."""

import re
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from exporter.config import Config, load_config, parse_config
from exporter.config.nodes import compose, construct
from exporter.errors import ConfigError

ROOT = Path(__file__).parents[3]
PATH = Path("/etc/vivix/config.yaml")
EXAMPLE = (ROOT / "config.example.yaml").read_text()
FIXTURES = [path.read_text() for path in sorted((ROOT / "tests" / "testdata" / "config").glob("*.yaml"))]

PLACED = re.compile(r"/etc/vivix/config\.yaml:\d+:\d+: \S.*")
UNPLACED = (
    f"{PATH}: the file is empty; expected at least `accounts:` with one account",
    f"{PATH}: and ",
    f"{PATH}: not YAML: ",
)

SCRAPS = (
    "!env X", "2026-02-30", "0x_", "09", "!!int 09", "!!binary '?'", "&a", "*a", "<<: *a", "!!python/none x",
    "9" * 500, ".inf", "-.inf", ".nan", "1:2:3", "1" + ":59" * 300, "[" * 120, "{a: " * 50, "\ufeff", "~",
    "'", '"', '"\\0"', '"\\ud800"', "|", ">-", "? ", "- ", ": ", "=", "!", "!!set {a}", "%YAML 9.9", "---",
    "\t", "\n", "\r", "\x85", "\u2028", "\0", "\ud800", "#", "yes", "5", "2s", "999999999d", "http://a..b",
    "sqlite:///", "postgresql://u:p@h/d", "name", "accounts", "api_key_env", "[x, y]", "{x: y}",
)  # fmt: skip
scraps = st.sampled_from(SCRAPS)
yamlish = st.lists(scraps | st.text(max_size=5) | st.just("\n  "), max_size=30).map("".join)


@st.composite
def mutations(draw: st.DrawFn) -> str:
    """A good or a nearly good configuration with some parts replaced."""
    text = draw(st.sampled_from([EXAMPLE, *FIXTURES]))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = start + draw(st.integers(0, 12))
        text = text[:start] + draw(scraps | st.text(max_size=3)) + text[end:]
    return text


@st.composite
def values(draw: st.DrawFn) -> str:
    """The example with the value of one key replaced."""
    keys = [match.start(1) for match in re.finditer(r": ( *)[^ \n]", EXAMPLE)]
    start = draw(st.sampled_from(keys))
    end = EXAMPLE.index("\n", start)
    return EXAMPLE[:start] + " " + draw(scraps | yamlish) + EXAMPLE[end:]


def assert_read_or_refused(text: str) -> None:
    try:
        config = parse_config(text, PATH)
    except ConfigError as error:
        lines = str(error).split("\n")
        assert lines
        for line in lines:
            assert line.isprintable()
            assert PLACED.fullmatch(line) or line.startswith(UNPLACED), line
    else:
        assert isinstance(config, Config)


@given(st.text() | yamlish | mutations() | values())
@example("accounts: &a [*a]")
@example("? !!null x\n: 1")
@example("accounts:\n- {name: a, api_key: k, generations: [" + "x," * 300 + "]}")
def test_any_text_is_read_or_refused_with_its_places(text: str) -> None:
    assert_read_or_refused(text)


@given(st.binary() | mutations().map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_file_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(content)
    with suppress(ConfigError):
        assert isinstance(load_config(path), Config)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0), ("-17", -17), ("+1_000", 1000), ("0b101", 5), ("0x1F", 31), ("017", 15), ("1:30", 90),
        ("-1:00:30", -3630), ("1.5", 1.5), ("1_0.5e+2", 1050.0), ("-.inf", float("-inf")), ("1:30.5", 90.5),
        ("yes", True), ("Off", False), ("~", None), ("", None), ("09", "09"), ("1e3", "1e3"), ("'5'", "5"),
        ("!!str 5", "5"), ("!!float 5", 5.0), ("!!int '7'", 7),
    ],
)  # fmt: skip
def test_plain_values_are_those_of_yaml_1_1(text: str, value: object) -> None:
    root = compose(f"key: {text}\n", PATH, "key")
    assert root is not None
    values, problems = construct(root)
    assert problems == []
    assert values == {"key": value}
    assert isinstance(values, dict)
    assert type(values["key"]) is type(value)
