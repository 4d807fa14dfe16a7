"""A broken configuration is refused with everything that is wrong with it, and where."""

import inspect
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.config import load_config, parse_config
from exporter.config.load import MAX_FILE
from exporter.errors import ConfigError

PATH = Path("/etc/vivix/config.yaml")
FIXTURES = sorted((Path(__file__).parents[2] / "testdata" / "config").glob("*.yaml"))
ACCOUNT = "accounts:\n- {name: a, api_key: k}\n"


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as refused:
        parse_config(inspect.cleandoc(text) + "\n" if text.startswith("\n") else text, PATH)
    return str(refused.value).replace(f"{PATH}:", "")


@pytest.mark.parametrize("fixture", FIXTURES, ids=lambda path: path.stem)
def test_the_message_names_the_place_and_what_is_expected(fixture: Path) -> None:
    """Each file breaks one rule and ends with the expected message, after `#!`."""
    text = fixture.read_text()
    expected = [line[3:] for line in text.splitlines() if line.startswith("#! ")]
    lines = refusal(text).splitlines()
    assert len(lines) == len(expected) == 1
    if expected[0].endswith(": not YAML"):  # the rest is the library's own words
        assert lines[0].startswith(f"{expected[0]}: ")
    else:
        assert lines == expected


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "\n---\n", "~\n", "\ufeff"])
def test_an_empty_file_is_refused_with_what_it_needs(text: str) -> None:
    assert refusal(text) == " the file is empty; expected at least `accounts:` with one account"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (f"{ACCOUNT}polling: \0\n", "3:10: not YAML: the character '\\x00' is not allowed"),
        (f"{ACCOUNT}polling: \ud800\n", "3:10: not YAML: the character '\\ud800' is not allowed"),
        (f"{ACCOUNT}\u2028polling: \x1b\n", "4:10: not YAML: the character '\\x1b' is not allowed"),
    ],
)
def test_characters_that_yaml_excludes_are_refused_with_their_place(text: str, place: str) -> None:
    assert refusal(text) == place


@pytest.mark.parametrize("opening", ["[", "- ", "{a: ", "? "])
def test_nesting_of_any_depth_is_refused(opening: str) -> None:
    assert refusal(f"accounts: \n  {opening * 100_000}")


def test_a_tab_is_allowed_where_it_does_not_indent() -> None:
    assert parse_config("accounts: [{name: a,\n\tapi_key: k}]\t# a tab\n", PATH).accounts[0].name == "a"


def test_all_problems_are_reported_together() -> None:
    text = """
        accounts:
        - name: a
          api_key: k
          base_url: nowhere
        polling:
          target_lag: 2
          colour: red
        """
    assert [line.split(": ")[1] for line in refusal(text).splitlines()] == [
        "accounts[0].base_url",
        "polling.target_lag",
        "polling.colour",
    ]


def test_no_more_than_fifty_problems_are_listed() -> None:
    accounts = "".join(f"- {{name: a{n}}}\n" for n in range(200))
    lines = refusal(f"accounts:\n{accounts}").splitlines()
    assert len(lines) == 51
    assert lines[-1].endswith(" and 150 more problems")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{ACCOUNT}  generations:\n" + "  - 5\n" * 100_000, "generations[0]: expected the id"),
        ("accounts:\n" + "- a\n" * 100_000, "accounts: expected at most 1000 items"),
        (ACCOUNT + "".join(f"k{n}: 1\n" for n in range(100_000)), "1:1: more than 1000 keys"),
        (f"{ACCOUNT}metrics: {{duration_buckets: [{'1s,' * 100_000}]}}", "expected at most 100 items"),
    ],
)
def test_a_hundred_thousand_mistakes_are_refused_quickly(text: str, message: str) -> None:
    text = text.replace("- {name: a, api_key: k}\n  gen", "- name: a\n  api_key: k\n  gen")
    assert message in refusal(text)


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "latin").write_bytes(b"accounts:\n- name: \xfc\n")
    (tmp_path / "utf-16").write_bytes("accounts: []".encode("utf-16"))
    with (tmp_path / "large").open("wb") as file:
        file.truncate(MAX_FILE + 1)
    for name, part in (
        ("gone", "gone: cannot read the configuration: No such file"),
        ("", "Is a directory"),
        ("pipe", "not a regular file"),
        ("latin", "latin:2: not UTF-8 text"),
        ("utf-16", "utf-16:1:1: not UTF-8 text but UTF-16"),
        ("large", "larger than"),
        ("n" * 300, "File name too long"),
    ):
        with pytest.raises(ConfigError, match=part):
            load_config(tmp_path / name)


def test_a_byte_order_mark_and_carriage_returns_are_fine(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_bytes(b"\xef\xbb\xbf" + ACCOUNT.replace("\n", "\r\n").encode())
    assert load_config(tmp_path / "config.yaml").accounts[0].name == "a"


def test_there_are_fixtures() -> None:
    assert len(FIXTURES) > 100


def test_a_hundred_thousand_ids_are_read() -> None:
    ids = "".join(f"  - id-{n}\n" for n in range(100_000))
    config = parse_config(f"accounts:\n- name: a\n  api_key: k\n  generations:\n{ids}", PATH)
    assert len(config.accounts[0].ids) == 100_000


secrets = st.text(st.characters(codec="ascii", categories=["Lu", "Ll", "Nd"]), min_size=12, max_size=40).map(
    lambda text: f"vvx{text}"
)


@given(secrets)
def test_a_secret_shows_in_no_text_of_the_configuration(secret: str) -> None:
    config = parse_config(f"accounts:\n- {{name: a, api_key: {secret}}}\n", PATH)
    assert config.accounts[0].key_source(config.folder).read().reveal() == secret
    for text in (repr(config), str(config), repr(config.accounts[0].key_source(config.folder))):
        assert secret not in text


@given(
    secrets,
    st.sampled_from(
        [
            "{{name: a, api_key: {0}, colour: red}}",
            "{{name: a b, api_key: {0}, base_url: 5}}",
            "{{name: a, api_key: [{0}]}}",
            "{{name: a, api_key: {{{0}: 1}}}}",
            "{{name: a, api_key: '{0} {0}'}}",
            "{{name: a, api_key: {0}, api_key_env: E}}",
            "{{name: a, api_key: '{0}ü'}}",
        ]
    ),
)
def test_a_secret_shows_in_no_error(secret: str, account: str) -> None:
    assert secret not in refusal(f"accounts:\n- {account.format(secret)}\n")
