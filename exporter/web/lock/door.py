"""The door of an HTTP server: rate limit, headers and users, as the file says at each request."""

import asyncio
import base64
import binascii
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus

import bcrypt
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from exporter.errors import ConfigError
from exporter.threads import on_thread
from exporter.web.conditions import Condition
from exporter.web.lock.file import WebConfigFile
from exporter.web.lock.schema import RateLimit

_REMEMBERED = 100
"""Results of comparisons that are remembered, of right passwords and of wrong ones each."""
_NOBODY = b"$2b$10$CwTycUXWue0Thq9StjUM0uJ8Zr0YqkzTBSUnFZvvBLM7BZwxUPQjG"
"""What the password of an unknown user is compared with, so that the time it takes tells nothing."""


class Bucket:
    """A token bucket that is full at the start. Times are seconds of a monotonic clock."""

    def __init__(self, limit: RateLimit, now: float) -> None:
        self._every = limit.interval / 1e6
        self._burst = limit.burst
        self._tokens = float(limit.burst)
        self._at = now

    def take(self, now: float) -> bool:
        """Return whether one more request is within the limit."""
        self._tokens = min(self._burst, self._tokens + (now - self._at) / self._every)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Passwords:
    """Compares passwords with hashes: one at a time, on a thread, with the last results remembered. Right
    ones are remembered apart: guessing does not make whoever has a password wait behind the guesses."""

    def __init__(self) -> None:
        self._comparing = asyncio.Lock()
        self._right: OrderedDict[bytes, None] = OrderedDict()
        self._wrong: OrderedDict[bytes, None] = OrderedDict()

    async def admit(self, users: Mapping[str, str], user: str, password: str) -> bool:
        """Return whether the user exists and has this password."""
        hashed = users[user].encode() if user in users else _NOBODY
        parts = (user.encode(), hashed, password.encode())
        key = hashlib.sha256(b"".join(len(part).to_bytes(4) + part for part in parts)).digest()
        if not self._knows(key):
            async with self._comparing:
                if not self._knows(key):  # nor has another request found it out meanwhile
                    # A high cost takes minutes, which the end of the process is not to wait for.
                    matches = await on_thread(partial(_matches, parts[2], hashed), "passwords")
                    self._remember(key, self._right if matches and user in users else self._wrong)
        return key in self._right

    def _knows(self, key: bytes) -> bool:
        return key in self._right or key in self._wrong

    def _remember(self, key: bytes, results: OrderedDict[bytes, None]) -> None:
        results[key] = None
        if len(results) > _REMEMBERED:
            results.popitem(last=False)


def _matches(password: bytes, hashed: bytes) -> bool:
    try:
        return bcrypt.checkpw(password, hashed)
    except ValueError:  # more than 72 bytes, or a hash that was broken while the exporter ran
        return False


class Door:
    """An application behind the door. Users need not say who they are where `is_open` says so."""

    def __init__(
        self,
        app: ASGIApp,
        file: WebConfigFile,
        is_open: Callable[[str, str], bool],
        monotonic: Callable[[], float],
        broken: Condition,
    ) -> None:
        """`is_open` takes method and path. `broken` is noted for each request that a broken file refuses.
        Raises ConfigError."""
        limit = file.read().rate_limit
        self._app = app
        self._file = file
        self._is_open = is_open
        self._monotonic = monotonic
        self._broken = broken
        self._bucket = Bucket(limit, monotonic()) if limit.interval else None
        self._passwords = Passwords()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            config = self._file.read()
        except ConfigError as error:
            self._broken.note(error=str(error))
            await _answer(HTTPStatus.INTERNAL_SERVER_ERROR)(scope, receive, send)
            return
        if self._bucket is not None and not self._bucket.take(self._monotonic()):
            await _answer(HTTPStatus.TOO_MANY_REQUESTS)(scope, receive, send)
            return
        added = config.http_server_config.headers

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in added.items():
                    headers.setdefault(name, value)
            await send(message)

        users = config.basic_auth_users
        if not users or self._is_open(scope["method"], scope["path"]) or await self._knows(users, scope):
            await self._app(scope, receive, send_with_headers)
        else:
            refused = _answer(HTTPStatus.UNAUTHORIZED, {"WWW-Authenticate": "Basic"})
            await refused(scope, receive, send_with_headers)

    async def _knows(self, users: Mapping[str, str], scope: Scope) -> bool:
        scheme, _, encoded = Headers(scope=scope).get("authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            user, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, ValueError):
            return False
        return bool(colon) and await self._passwords.admit(users, user, password)


def _answer(status: HTTPStatus, headers: Mapping[str, str] | None = None) -> PlainTextResponse:
    return PlainTextResponse(f"{status.phrase}\n", status, headers)
