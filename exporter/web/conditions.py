"""Conditions that clients can cause at any rate: logged when they begin and when they have ended."""

import asyncio

import structlog

QUIET = 60.0
"""Seconds without an occurrence after which a condition has ended."""

_log = structlog.get_logger("exporter.web")


class Condition:
    """One condition; `begin` and `end` are the texts of its two lines."""

    def __init__(self, begin: str, end: str, quiet: float = QUIET) -> None:
        self._begin, self._end, self._quiet = begin, end, quiet
        self._count = 0
        self._latest = 0.0
        self._check: asyncio.TimerHandle | None = None

    def note(self, **details: object) -> None:
        """Count an occurrence; the first is logged, with its details."""
        loop = asyncio.get_running_loop()
        self._count += 1
        self._latest = loop.time()
        if self._check is None:
            _log.warning(self._begin, **details)
            self._check = loop.call_later(self._quiet, self._end_if_quiet)

    def close(self) -> None:
        """Stop waiting for the end."""
        if self._check is not None:
            self._check.cancel()
            self._check = None

    def _end_if_quiet(self) -> None:
        loop = asyncio.get_running_loop()
        left = self._latest + self._quiet - loop.time()
        if left > 0:
            self._check = loop.call_later(left, self._end_if_quiet)
            return
        _log.info(self._end, count=self._count)
        self._count, self._check = 0, None


def file_broken() -> Condition:
    """A web configuration file, or something that it names, that cannot be used."""
    return Condition(
        "the web configuration cannot be used: requests are answered 500, TLS handshakes fail",
        "the web configuration can be used, or nobody asks any more",
    )


class Conditions:
    """What can go wrong between clients and the server."""

    def __init__(self) -> None:
        self.invalid = Condition(
            "clients send requests that are not valid HTTP; they are answered 4xx",
            "no more invalid requests",
        )
        self.slow = Condition(
            "clients do not finish their requests, or do not read their answers; they are cut off",
            "no more clients had to be cut off",
        )
        self.full = Condition(
            "too many clients; connections that have not sent a request are closed, further requests get 503",
            "no longer too many clients",
        )
        self.no_files = Condition(
            "cannot accept connections: no file descriptors left; retrying every second",
            "connections are accepted again",
        )

    def close(self) -> None:
        """Stop waiting for their ends."""
        for one in (self.invalid, self.slow, self.full, self.no_files):
            one.close()
