"""The Vivix API over HTTP: three questions, and one taxonomy of what can go wrong with each."""

import asyncio
import email.utils
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Generic, Protocol, TypeVar
from urllib.parse import quote

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from exporter.clock import MICROS, Clock
from exporter.domain.values import AccountName, GenerationId, Observation
from exporter.errors import ApiError, ApiErrorKind
from exporter.vivix.payload import (
    Json,
    Model,
    PayloadError,
    Plan,
    parse_generation,
    parse_json,
    parse_message,
    parse_models,
    parse_plan,
)

T = TypeVar("T")

MAX_BODY = 1 << 20
"""Bytes of a body; a longer one is refused."""
MAX_RETRY_AFTER = 3600.0
"""Seconds that the API may ask to wait; a longer wait is asked for by mistake."""
PROVIDER_DOWN_RETRY = 60.0
"""Seconds to wait on 503 PROVIDER_DOWN, by the vendor's table of errors."""

_CODE = re.compile(r"[A-Z][A-Z0-9_]{1,49}")
_LOCKED_OUT = frozenset({"UNAUTHORIZED", "KEY_INVALID", "KEY_REVOKED", "TIER_LOCKED"})


class Endpoint(StrEnum):
    """The endpoints that the exporter calls; values of the label `endpoint`."""

    GENERATION = "generation"
    CREDITS = "credits"
    MODELS = "models"


class ClientMeter(Protocol):
    """Hears of every call and every error."""

    def api_request(self, account: AccountName, endpoint: Endpoint, code: str, seconds: float) -> None: ...
    def api_error(self, account: AccountName, label: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Reply(Generic[T]):
    """An answer, with what its headers say of the account; None where they did not."""

    value: T
    calls_remaining: int | None
    credits_balance: float | None


class Client:
    """The API as one account sees it. Connections are reused; redirects are not followed, because a key must
    not travel to where someone else points."""

    def __init__(
        self,
        account: AccountName,
        base_url: str,
        timeout: float,
        clock: Clock,
        meter: ClientMeter,
        version: str,
    ) -> None:
        """`timeout` is in seconds, for a whole call. Must be created inside a running event loop."""
        self._account = account
        self._base_url = base_url.rstrip("/")
        self._timeout = timeout
        self._clock = clock
        self._meter = meter
        self._authorization = ""
        self._under_way = 0
        self._retired = False
        self._http = httpx.AsyncClient(
            transport=AiohttpTransport(client=_session),
            headers={
                "User-Agent": f"vivix-exporter/{version}",
                "Accept": "application/json",
                "Accept-Encoding": "identity",
            },
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            timeout=None,
            follow_redirects=False,
        )

    def use_key(self, key: str) -> None:
        """Authenticate with `key` from the next call on."""
        self._authorization = f"Bearer {key}"

    async def generation(self, id: GenerationId) -> Reply[Observation]:
        """Look at one generation. Raises ApiError."""
        asked_at = self._clock.monotonic()
        return await self._get(
            Endpoint.GENERATION,
            f"/api/v1/generations/{quote(id, safe='')}",
            lambda payload: parse_generation(payload, id, self._clock.now_us(), asked_at),
        )

    async def plan(self) -> Reply[Plan]:
        """The account's plan and wallet. Raises ApiError."""
        return await self._get(Endpoint.CREDITS, "/api/v1/credits", parse_plan)

    async def models(self) -> Reply[tuple[Model, ...]]:
        """The models that the account may use. Raises ApiError."""
        return await self._get(Endpoint.MODELS, "/api/v1/models", parse_models)

    async def retire(self) -> None:
        """Make no further call, and close the connections once those under way have ended."""
        self._retired = True
        if not self._under_way:
            await self._http.aclose()

    async def _get(self, endpoint: Endpoint, path: str, parse: Callable[[Json], T]) -> Reply[T]:
        started = self._clock.monotonic()
        code = "error"
        self._under_way += 1
        try:
            response, body = await self._fetch(path)
            code = str(response.status_code)
            if response.status_code != HTTPStatus.OK:
                raise self._refusal(response, body)
            try:
                value = parse(parse_json(body))
            except PayloadError as error:
                raise _unavailable("bad_payload", str(error), response) from error
        except ApiError as error:
            self._meter.api_error(self._account, error.label)
            if error.status is not None:
                code = str(error.status)
            raise
        finally:
            self._meter.api_request(self._account, endpoint, code, self._clock.monotonic() - started)
            self._under_way -= 1
            if self._retired and not self._under_way:
                await self._http.aclose()
        return Reply(
            value,
            _whole(response.headers.get("X-RateLimit-Remaining")),
            _number(response.headers.get("X-Credits-Balance")),
        )

    async def _fetch(self, path: str) -> tuple[httpx.Response, bytes]:
        try:
            async with (
                asyncio.timeout(self._clock.to_real(self._timeout)),
                self._http.stream(
                    "GET", self._base_url + path, headers={"Authorization": self._authorization}
                ) as response,
            ):
                body = bytearray()
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > MAX_BODY:
                        raise _unavailable("too_large", "the body is over 1 MiB", response)
                return response, bytes(body)
        except (httpx.HTTPError, httpx.InvalidURL, aiohttp.ClientError, TimeoutError, OSError) as error:
            raise translate(error) from error

    def _refusal(self, response: httpx.Response, body: bytes) -> ApiError:
        """What an answer other than 200 means. Branches on status and `error`, never on the message."""
        try:
            payload = parse_json(body)
        except PayloadError:
            payload = {}
        named = payload.get("error")
        code = named if isinstance(named, str) and _CODE.fullmatch(named) else None
        status = response.status_code
        retry_after = self._retry_after(response.headers.get("Retry-After"))
        if status == HTTPStatus.UNAUTHORIZED or (status == HTTPStatus.FORBIDDEN and code in _LOCKED_OUT):
            kind = ApiErrorKind.LOCKED_OUT
        elif status == HTTPStatus.FORBIDDEN and code == "NOT_YOURS":
            kind = ApiErrorKind.NOT_YOURS
        elif status == HTTPStatus.NOT_FOUND and code == "NOT_FOUND":
            # A 404 without the code comes from something in between, and says nothing about a generation.
            kind = ApiErrorKind.NOT_FOUND
        elif status == HTTPStatus.TOO_MANY_REQUESTS:
            kind = ApiErrorKind.RATE_LIMITED
        else:
            kind = ApiErrorKind.UNAVAILABLE
            if code == "PROVIDER_DOWN" and retry_after is None:
                retry_after = PROVIDER_DOWN_RETRY
        redirect = "redirect" if response.is_redirect else f"http_{status}"
        return ApiError(
            kind=kind,
            label=code or redirect,
            message=parse_message(payload.get("message")) or f"HTTP status {status}",
            status=status,
            retry_after=retry_after,
            request_id=_request_id(response),
        )

    def _retry_after(self, header: str | None) -> float | None:
        """Seconds to wait, from either form of the header (RFC 9110, section 10.2.3)."""
        if header is None:
            return None
        seconds = _number(header)
        if seconds is None:
            try:
                moment = email.utils.parsedate_to_datetime(header).timestamp()
            except (ValueError, OverflowError):
                return None
            seconds = moment - self._clock.now_us() / MICROS
        return min(max(seconds, 0.0), MAX_RETRY_AFTER)


def translate(error: Exception) -> ApiError:
    """A transport's exception as one of ours. The transport says little in its own type, so its cause is
    asked first."""
    cause = error.__cause__ if isinstance(error, httpx.HTTPError) and error.__cause__ else error
    match cause:
        case (
            aiohttp.ClientSSLError()
            | aiohttp.ClientConnectorCertificateError()
            | aiohttp.ServerFingerprintMismatch()
        ):
            label, message = "tls", "the TLS handshake failed"
        case TimeoutError() | httpx.TimeoutException():
            label, message = "timeout", "no answer in time"
        case aiohttp.ClientConnectorError() | aiohttp.ClientProxyConnectionError() | httpx.ConnectError():
            label, message = "connect", "cannot connect"
        case aiohttp.ClientConnectionError() | aiohttp.ClientPayloadError() | OSError():
            label, message = "disconnected", "the connection broke off"
        case _:
            label, message = "bad_response", "the answer is not HTTP as it should be"
    return ApiError(ApiErrorKind.UNAVAILABLE, label, message)


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=True,
        timeout=aiohttp.ClientTimeout(total=None),
        middlewares=(_once,),
    )


async def _once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Send a request once. By itself the library sends a GET again after a reset, without telling: a call
    that no budget knows of. It does not repeat what fails with the plain exception."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
        raise aiohttp.ClientConnectionError(str(error)) from error
    except aiohttp.ClientResponseError as error:
        # It holds the request, and the key with that; what is raised instead must not lead to it.
        without_request = aiohttp.ClientError(error.message)
    raise without_request


def _unavailable(label: str, message: str, response: httpx.Response) -> ApiError:
    return ApiError(
        ApiErrorKind.UNAVAILABLE, label, message, response.status_code, request_id=_request_id(response)
    )


def _request_id(response: httpx.Response) -> str | None:
    return parse_message(response.headers.get("X-Request-Id"))


def _number(header: str | None) -> float | None:
    if header is None or not re.fullmatch(r"-?\d{1,15}(\.\d{1,9})?", header.strip()):
        return None
    return float(header)


def _whole(header: str | None) -> int | None:
    number = _number(header)
    return None if number is None else int(number)
