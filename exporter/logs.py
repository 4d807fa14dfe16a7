"""Structured logs on stderr: one line an event, logfmt or JSON; other libraries' take the same form."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

LEVELS = ("debug", "info", "warn", "error")
FORMATS = ("logfmt", "json")

_ORDER = ["ts", "level", "msg", "account", "id", "trace_id"]


def set_up(level: str, style: str) -> None:
    """Send every log line of the process to stderr. `level` is one of LEVELS, `style` one of FORMATS."""
    renderer: Any = structlog.processors.JSONRenderer()
    if style == "logfmt":
        renderer = structlog.processors.LogfmtRenderer(
            key_order=_ORDER, drop_missing=True, bool_as_flag=False
        )
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        structlog.processors.format_exc_info,
        structlog.processors.EventRenamer("msg"),
        _flatten,
    ]
    threshold = logging.WARNING if level == "warn" else getattr(logging, level.upper())
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
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(threshold)
    # Every call to the API and every change to a file, at info: far too much, and with ids of generations.
    for chatty in ("httpx", "httpcore", "asyncio", "uvicorn.access", "aiohttp", "watchfiles", "urllib3"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    logging.getLogger("uvicorn.error").setLevel(max(threshold, logging.WARNING))


def _flatten(_logger: Any, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Whatever a value holds stays on its line."""
    for key, value in event.items():
        if isinstance(value, str) and "\n" in value:
            event[key] = " | ".join(value.splitlines())
    return event
