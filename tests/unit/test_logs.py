"""Log lines: one a line whatever they hold, in one form whoever writes them."""

import io
import json
import logging
import sys
import warnings
from collections.abc import Callable, Iterator

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exporter import logs
from exporter.commands.options import FORMATS

Logged = Callable[[], list[str]]


@pytest.fixture
def restored() -> Iterator[None]:
    """Leave logging as other tests expect it."""
    root = logging.getLogger()
    handlers, level, raising = root.handlers[:], root.level, logging.raiseExceptions
    yield
    root.handlers[:], logging.raiseExceptions = handlers, raising
    root.setLevel(level)
    logging.getLogger("exporter").setLevel(logging.NOTSET)
    logging.captureWarnings(False)
    structlog.reset_defaults()


@pytest.fixture
def log(restored: None, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Logged]:
    """Set up logs of a level and style; the result returns the lines logged since it was last called."""

    def set_up(level: str, style: str) -> Logged:
        stream = io.StringIO()
        monkeypatch.setattr(sys, "stderr", stream)
        logs.set_up(level, style)

        def lines() -> list[str]:
            text = stream.getvalue()
            stream.seek(0)
            stream.truncate()
            return text.split("\n")[:-1]

        return lines

    return set_up


ours = structlog.get_logger("exporter.test")
foreign = logging.getLogger("another.library")


@pytest.mark.parametrize("style", FORMATS)
@given(text=st.text(st.characters()), kind=st.sampled_from([str, repr, lambda text: [text], ValueError]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_line_holds_no_line_break_and_no_control_character(
    log: Callable[[str, str], Logged], style: str, text: str, kind: Callable[[str], object]
) -> None:
    lines = log("debug", style)
    ours.info("message", value=kind(text))
    ours.error(text)
    foreign.warning("%s", text)
    try:
        raise ValueError(text)
    except ValueError:
        foreign.exception(text, stack_info=True)
        ours.exception(text)
    written = lines()
    assert len(written) == 5
    assert all(line.isprintable() for line in written)


def test_json_begins_with_time_level_and_message(log: Callable[[str, str], Logged]) -> None:
    lines = log("info", "json")
    ours.bind(zebra=1).warning("ours", trace_id="t", id="i", account="a")
    foreign.critical("theirs")
    first, second = (json.loads(line) for line in lines())
    assert list(first) == ["ts", "level", "msg", "account", "id", "trace_id", "zebra"]
    assert (first["level"], first["msg"]) == ("warn", "ours")
    assert list(second) == ["ts", "level", "msg"]
    assert (second["level"], second["msg"]) == ("error", "theirs")


def test_logfmt_has_the_same_order(log: Callable[[str, str], Logged]) -> None:
    lines = log("info", "logfmt")
    ours.warning("seen twice", zebra=True, account="a")
    assert lines()[0].split(" ", 1)[1] == 'level=warn msg="seen twice" account=a zebra=true'


def test_the_minimum_level_holds_for_everyone(log: Callable[[str, str], Logged]) -> None:
    lines = log("warn", "logfmt")
    for logger in (ours, foreign):
        logger.info("too little")
        logger.warning("enough")
    assert len(lines()) == 2


def test_other_libraries_log_nothing_below_info(log: Callable[[str, str], Logged]) -> None:
    lines = log("debug", "logfmt")
    ours.debug("a poll")
    foreign.debug("the key is")
    foreign.info("started")
    logging.getLogger("aiohttp.client").info("a call")
    assert [line.split(" ", 1)[1] for line in lines()] == [
        'level=debug msg="a poll"',
        "level=info msg=started",
    ]


def test_warnings_of_python_are_lines_as_well(log: Callable[[str, str], Logged]) -> None:
    lines = log("info", "logfmt")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old\nthing", UserWarning, stacklevel=1)
    logging.captureWarnings(False)
    [line] = lines()
    assert "level=warn" in line
    assert "old | thing" in line


def test_a_stderr_that_cannot_be_written_is_silent(log: Callable[[str, str], Logged]) -> None:
    log("info", "logfmt")
    sys.stderr.close()
    ours.error("nobody reads this")
