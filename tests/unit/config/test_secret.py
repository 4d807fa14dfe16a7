"""Where secrets come from, and that they are found anew."""

from pathlib import Path

import pytest

from exporter.config import Secret, SecretSource
from exporter.errors import ConfigError


def test_a_file_is_read_each_time_without_its_white_space(tmp_path: Path) -> None:
    file = tmp_path / "key"
    source = SecretSource(file=file)
    for key in ("first", "second"):
        file.write_text(f"{key}\n")
        assert source.read() == Secret(key)


def test_the_environment_is_read_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    source = SecretSource(env="SOME_KEY")
    monkeypatch.setenv("SOME_KEY", "first")
    assert source.read() == Secret("first")
    monkeypatch.setenv("SOME_KEY", "second")
    assert source.read() == Secret("second")


@pytest.mark.parametrize("content", ["", "  \n", "two words", "two\nlines", "ünicode", "nul\0"])
def test_what_cannot_be_a_key_is_refused_without_showing_it(tmp_path: Path, content: str) -> None:
    (tmp_path / "key").write_text(content)
    with pytest.raises(ConfigError) as refused:
        SecretSource(file=tmp_path / "key").read()
    assert "key" in str(refused.value)
    assert not content.strip() or content.strip() not in str(refused.value)


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8 text"):
        SecretSource(file=tmp_path / "key").read()


def test_secrets_compare_and_never_show() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert "hidden" not in f"{Secret('hidden')!r} {Secret('hidden')}"
