"""Structured logs on stderr: one line an event, logfmt or JSON. Other libraries log in the same form."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from exporter.printable import printable

_FIRST = ("ts", "level", "msg", "account", "id", "trace_id")
_LEVEL_NAMES = {"warning": "warn", "critical": "error", "fatal": "error", "exception": "error"}
_CHATTY = ("asyncio", "uvicorn.access", "aiohttp", "watchfiles", "urllib3")
"""Loggers with a line for each API call or each change to a file, some with ids of generations."""

Event = MutableMapping[str, Any]


def set_up(level: str, style: str) -> None:
    """Send every log line of the process to stderr. `level` is the minimum that is logged, `style` logfmt or
    json. Other libraries log nothing below info: their debug lines may hold secrets."""
    # A stderr that was closed, or whose reader has gone, is no reason for tracebacks.
    logging.raiseExceptions = False
    logging.captureWarnings(True)
    threshold = logging.WARNING if level == "warn" else getattr(logging, level.upper())
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.EventRenamer("msg"),
                _line,
                _renderer(style),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(threshold, logging.INFO))
    logging.getLogger("exporter").setLevel(threshold)
    for chatty in _CHATTY:
        logging.getLogger(chatty).setLevel(max(threshold, logging.WARNING))
    logging.getLogger("uvicorn.error").setLevel(max(threshold, logging.WARNING))
    # What it says of a connection that broke, with a traceback, whoever used that one is told as well.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)


def _renderer(style: str) -> Any:
    if style == "json":
        return structlog.processors.JSONRenderer()
    return structlog.processors.LogfmtRenderer(bool_as_flag=False)


def _line(_logger: Any, _name: str, event: Event) -> Event:
    """Return an event of the form that both styles share: known keys first, one name for each level, and
    nothing that would end the line or steer a terminal."""
    level = event.get("level")
    event["level"] = _LEVEL_NAMES.get(str(level), level)
    keys = [key for key in _FIRST if key in event] + [key for key in event if key not in _FIRST]
    return {key: _value(event[key]) for key in keys}


def _value(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    return printable(" | ".join(str(value).splitlines()))
