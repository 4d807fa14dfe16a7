"""A broken configuration is refused with everything that is wrong with it, and where."""

import inspect
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.config import load_config, parse_config
from exporter.errors import ConfigError

PATH = Path("/etc/vivix/config.yaml")
ACCOUNT = "accounts:\n- {name: a, api_key: k}\n"


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as refused:
        parse_config(inspect.cleandoc(text) + "\n" if text.startswith("\n") else text, PATH)
    return str(refused.value).replace(f"{PATH}:", "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", f"{PATH}"[:0] + " the file is empty; expected at least `accounts:` with one account"),
        ("# nothing yet\n", " the file is empty; expected at least `accounts:` with one account"),
        ("- a\n- b\n", "1:1: expected keys such as `accounts:` at the top"),
        ("accounts:\n\t- name: a\n", "2:1: a tab cannot indent YAML; use spaces"),
        ("polling: {}\n", "1:1: accounts: this key is missing"),
        ("accounts: []\n", "1:11: accounts: expected at least one account"),
        ("accounts: 5\n", "1:11: accounts: expected a list, got a number"),
        ("accounts: {name: a}\n", "1:11: accounts: expected a list, got a mapping"),
        ("accounts: [a]\n", "1:12: accounts[0]: expected a mapping of keys to values, got text"),
        (f"{ACCOUNT}poling: {{}}\n", "3:1: poling: unknown key; did you mean 'polling'?"),
        (
            "accounts:\n- name: a\n  api_key: k\n  rate_limit_shar: 1\n",
            "4:3: accounts[0].rate_limit_shar: unknown key; did you mean 'rate_limit_share'?",
        ),
        (
            f"{ACCOUNT}target_lag: 2s\n",
            "3:1: target_lag: unknown key here; it belongs at polling.target_lag",
        ),
        (
            f"{ACCOUNT}state: {{colour: red}}\n",
            "3:9: state.colour: unknown key; known here are url, retention",
        ),
        (
            "accounts:\n- name: a\n  api_key: k\n  name: b\n",
            "4:3: accounts[0].name: this key is given twice",
        ),
        (
            "accounts:\n- &a {name: a, api_key: k}\n- *a\n",
            "2:3: accounts[0]: aliases (*name) are not supported",
        ),
        (
            "accounts:\n- {name: a, api_key: k}\n- {name: a, api_key: k}\n",
            "2:1: accounts: two accounts have the name 'a'",
        ),
        (
            "accounts:\n- {name: a b, api_key: k}\n",
            "2:10: accounts[0].name: expected a name of at most 64 letters, digits, '_', '.' and '-'",
        ),
        (
            "accounts:\n- {name: yes, api_key: k}\n",
            "2:10: accounts[0].name: expected text, got true or false (put text such as yes, no, on and off "
            "in quotes)",
        ),
        (
            "accounts:\n- {name: a, api_key: k, api_key_file: f}\n",
            "2:3: accounts[0]: give exactly one of api_key, api_key_env, api_key_file; found api_key and "
            "api_key_file",
        ),
        (
            "accounts:\n- {name: a}\n",
            "2:3: accounts[0]: the key is missing: give exactly one of api_key, api_key_env, api_key_file",
        ),
        (
            "accounts:\n- {name: a, api_key_env: NOT_SET_ANYWHERE}\n",
            "2:26: accounts[0].api_key_env: the environment variable NOT_SET_ANYWHERE is not set",
        ),
        (
            "accounts:\n- {name: a, api_key_file: gone.key}\n",
            "2:27: accounts[0].api_key_file: cannot read the file /etc/vivix/gone.key: No such file or "
            "directory",
        ),
        (
            "accounts:\n- {name: a, api_key: k, base_url: ftp://x}\n",
            "2:35: accounts[0].base_url: expected a URL such as https://vivix-atelier.vercel.app",
        ),
        (
            "accounts:\n- {name: a, api_key: k, base_url: 'https://u:p@x'}\n",
            "2:35: accounts[0].base_url: expected a URL without user, query and fragment",
        ),
        (
            "accounts:\n- {name: a, api_key: k, rate_limit_share: 0}\n",
            "2:43: accounts[0].rate_limit_share: expected a number of more than 0.0",
        ),
        (
            "accounts:\n- {name: a, api_key: k, rate_limit_share: 1.5}\n",
            "2:43: accounts[0].rate_limit_share: expected a number of at most 1.0",
        ),
        (
            "accounts:\n- {name: a, api_key: k, rate_limit_share: half}\n",
            "2:43: accounts[0].rate_limit_share: expected a number, got text",
        ),
        (
            "accounts:\n- {name: a, api_key: k, calls_per_minute: 2.5}\n",
            "2:43: accounts[0].calls_per_minute: expected a whole number, got a number",
        ),
        (
            "accounts:\n- name: a\n  api_key: k\n  generations:\n  - good\n  - 12345\n",
            "6:5: accounts[0].generations[1]: expected the id of a generation as text; put it in quotes",
        ),
        (
            "accounts:\n- {name: a, api_key: k, generations: [2026-05-10]}\n",
            "2:39: accounts[0].generations[0]: expected the id of a generation as text; put it in quotes",
        ),
        (
            "accounts:\n- {name: a, api_key: k, generations: [..]}\n",
            "2:39: accounts[0].generations[0]: '..' cannot be the id of a generation",
        ),
        (
            "accounts:\n- {name: a, api_key: k, generations: [x, y, x]}\n",
            "2:38: accounts[0].generations: 'x' is listed twice",
        ),
        (
            f"{ACCOUNT}polling: {{target_lag: 5}}\n",
            "3:23: polling.target_lag: expected a duration such as 2s or 1h30m, got 5; add a unit",
        ),
        (
            f"{ACCOUNT}polling: {{target_lag: soon}}\n",
            "3:23: polling.target_lag: expected a duration such as 500ms, 2s, 1h30m or 30d, got 'soon'",
        ),
        (
            f"{ACCOUNT}polling: {{target_lag: 0s}}\n",
            "3:23: polling.target_lag: a duration must be longer than nothing",
        ),
        (
            f"{ACCOUNT}polling: {{min_interval: 2m}}\n",
            "3:10: polling: min_interval (2m) is longer than max_interval (1m)",
        ),
        (
            f"{ACCOUNT}metrics: {{duration_buckets: [2s, 1s]}}\n",
            "3:29: metrics.duration_buckets: expected durations in increasing order",
        ),
        (
            f"{ACCOUNT}metrics: {{duration_buckets: []}}\n",
            "3:29: metrics.duration_buckets: expected 1 to 100 durations",
        ),
        (
            f"{ACCOUNT}metrics: {{max_models: 0}}\n",
            "3:23: metrics.max_models: expected a number of at least 1",
        ),
        (
            f"{ACCOUNT}state: {{url: 'postgresql://u@h/d'}}\n",
            "3:14: state.url: PostgreSQL is not supported by this version yet; use sqlite:///FILE",
        ),
        (
            f"{ACCOUNT}state: {{url: state.db}}\n",
            "3:14: state.url: expected sqlite:///FILE, relative to this file, or sqlite:////ABSOLUTE/FILE",
        ),
        (
            f"{ACCOUNT}tracing: {{exporter: jaeger}}\n",
            "3:21: tracing.exporter: expected 'otlp', 'console' or 'none'",
        ),
        (
            f"{ACCOUNT}tracing: {{capture_output_urls: 'on'}}\n",
            "3:32: tracing.capture_output_urls: expected true or false, got text",
        ),
        (
            f"{ACCOUNT}web: {{trace_url: 'https://x/'}}\n",
            "3:18: web.trace_url: expected a URL that holds {trace_id}",
        ),
        (
            f"{ACCOUNT}web: {{registration_token_env: A, registration_token_file: b}}\n",
            "3:6: web: give exactly one of registration_token_env, registration_token_file; found "
            "registration_token_env and registration_token_file",
        ),
        (f"{ACCOUNT}polling:\n", "3:9: polling: expected a mapping of keys to values, got nothing"),
    ],
)
def test_the_message_says_what_where_and_how_to_mend_it(text: str, message: str) -> None:
    assert refusal(text) == message


def test_what_is_not_yaml_is_refused_with_its_place() -> None:
    assert refusal("accounts: [a\nb: c\n").startswith("2:2: not YAML: ")


def test_all_problems_are_told_at_once() -> None:
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


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for name, part in (("gone", "No such file"), ("", "Is a directory"), ("binary", "not UTF-8")):
        with pytest.raises(ConfigError, match=part):
            load_config(tmp_path / name)


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
