"""Secrets are read again while the exporter runs."""

from pathlib import Path

import structlog

from exporter.config import RotatingSecrets, Secret, SecretSource
from exporter.config.rotation import READ_EVERY


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_several_secrets_hold_while_they_are_rotated(tmp_path: Path) -> None:
    file, time = tmp_path / "secrets", Time()
    file.write_text("old\n")
    secrets = RotatingSecrets(SecretSource(file=file), "the secret", time)
    assert secrets.current() == (Secret("old"),)
    file.write_text("new\nold\n")
    assert secrets.current() == (Secret("old"),)
    time.now += READ_EVERY
    assert secrets.current() == (Secret("new"), Secret("old"))
    assert secrets.admits(lambda secret: secret.reveal() == "old")
    assert not secrets.admits(lambda secret: secret.reveal() == "older")


def test_a_file_that_cannot_be_read_leaves_the_last_secret_and_one_line(tmp_path: Path) -> None:
    file, time = tmp_path / "secrets", Time()
    file.write_text("old")
    secrets = RotatingSecrets(SecretSource(file=file), "the secret", time)
    secrets.current()
    file.unlink()
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            time.now += READ_EVERY
            assert secrets.current() == (Secret("old"),)
    assert [line["event"] for line in logs] == ["cannot read the secret, keeping the last"]
    file.write_text("new")
    time.now += READ_EVERY
    assert secrets.current() == (Secret("new"),)


def test_an_empty_file_admits_nobody(tmp_path: Path) -> None:
    file = tmp_path / "secrets"
    file.write_text("\n")
    assert not RotatingSecrets(SecretSource(file=file), "the secret", Time()).admits(lambda _: True)


def test_secrets_whose_source_goes_before_they_are_needed_hold(tmp_path: Path) -> None:
    file, time = tmp_path / "secrets", Time()
    file.write_text("old")
    secrets = RotatingSecrets(SecretSource(file=file), "the secret", time)
    file.unlink()
    time.now += READ_EVERY
    assert secrets.current() == (Secret("old"),)
