"""The Vivix API over HTTP: three endpoints, and one taxonomy of what can go wrong with each."""

import asyncio
import email.utils
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Generic, Protocol, TypeVar
from urllib.parse import quote, urlsplit

import aiohttp
from yarl import URL

from exporter.clock import MICROS, Clock
from exporter.domain.values import AccountName, GenerationId, Observation
from exporter.errors import ApiError, ApiErrorKind
from exporter.vivix.connection import open_session, translate
from exporter.vivix.payload import (
    Json,
    Model,
    OtherGenerationError,
    PayloadError,
    Plan,
    parse_generation,
    parse_json,
    parse_message,
    parse_models,
    parse_plan,
)
from exporter.vivix.proxy import ProxyError, find_proxy

T = TypeVar("T")

MAX_BODY = 1 << 20
"""Bytes of a body; a longer one is an error."""
MAX_RETRY_AFTER = 3600.0
"""Most seconds to wait at the API's request; a longer wait is asked for by mistake."""
PROVIDER_DOWN_RETRY = 60.0
"""Seconds to wait on 503 PROVIDER_DOWN, by the vendor's table of errors."""

API_PATH = "/api/v1"
"""Where the API lies below the base URL."""

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_CODE = re.compile(r"[A-Z][A-Z0-9_]{1,49}")
_LOCKED_OUT = frozenset({"UNAUTHORIZED", "KEY_INVALID", "KEY_REVOKED", "TIER_LOCKED"})


class Endpoint(StrEnum):
    """The endpoints that the exporter calls; values of the label `endpoint`."""

    GENERATION = "generation"
    CREDITS = "credits"
    MODELS = "models"


class ClientMeter(Protocol):
    """Instruments of calls and errors."""

    def api_request(self, account: AccountName, endpoint: Endpoint, code: str, seconds: float) -> None: ...
    def api_error(self, account: AccountName, label: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Reply(Generic[T]):
    """An answer, with the account's state from its headers; None where those lack it."""

    value: T
    calls_remaining: int | None
    credits_balance: float | None


class Client:
    """The API as one account sees it. Connections are reused; redirects are not followed, because a key must
    not travel to where someone else points. Of the environment, only the variables for proxies count."""

    def __init__(
        self,
        account: AccountName,
        base_url: str,
        timeout: float,
        clock: Clock,
        meter: ClientMeter,
        version: str,
    ) -> None:
        """`timeout` is in seconds, for a whole call. Must be created inside a running event loop. The
        variables for proxies are read now; one that cannot be used makes each call fail, and nothing else."""
        self._account = account
        self._base_url = base_url.rstrip("/")
        self._host = urlsplit(base_url).netloc
        self._unusable_proxy: ProxyError | None = None
        self._timeout = timeout
        self._clock = clock
        self._meter = meter
        self._key = ""
        self._under_way = 0
        self._retired = False
        self._proxy: str | None = None
        try:
            self._proxy = find_proxy(self._base_url)
        except ProxyError as error:
            self._unusable_proxy = error
        self._headers = {
            "User-Agent": f"vivix-exporter/{version}",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
        }
        # Opened for the first call: a client that a refused reload has built is never used, nor retired.
        self._http: aiohttp.ClientSession | None = None

    def use_key(self, key: str) -> None:
        """Authenticate with `key` from the next call on."""
        self._key = key

    async def generation(self, id: GenerationId) -> Reply[Observation]:
        """Poll one generation. Raises ApiError."""
        asked_at = self._clock.monotonic()
        return await self._get(
            Endpoint.GENERATION,
            f"{API_PATH}/generations/{quote(id, safe='')}",
            lambda payload: parse_generation(payload, id, self._clock.now_us(), asked_at),
        )

    async def plan(self) -> Reply[Plan]:
        """Return the account's plan and wallet. Raises ApiError."""
        return await self._get(Endpoint.CREDITS, f"{API_PATH}/credits", parse_plan)

    async def models(self) -> Reply[tuple[Model, ...]]:
        """Return the models that the account may use. Raises ApiError."""
        return await self._get(Endpoint.MODELS, f"{API_PATH}/models", parse_models)

    async def retire(self) -> None:
        """Make no further call, and close the connections once those under way have ended."""
        self._retired = True
        if not self._under_way:
            await self._close()

    async def _get(self, endpoint: Endpoint, path: str, parse: Callable[[Json], T]) -> Reply[T]:
        started = self._clock.monotonic()
        code = "error"
        self._under_way += 1
        try:
            response, body = await self._fetch(path)
            code = str(response.status)
            if response.status != HTTPStatus.OK:
                raise self._refusal(response, body)
            try:
                value = parse(parse_json(body))
            except OtherGenerationError as error:
                raise ApiError(
                    ApiErrorKind.UNEXPLAINED,
                    "bad_payload",
                    str(error),
                    response.status,
                    request_id=_request_id(response),
                ) from error
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
                await self._close()
        return Reply(
            value,
            _whole(response.headers.get("X-RateLimit-Remaining")),
            _number(response.headers.get("X-Credits-Balance")),
        )

    async def _fetch(self, path: str) -> tuple[aiohttp.ClientResponse, bytes]:
        if self._unusable_proxy is not None:
            raise ApiError(ApiErrorKind.UNREACHABLE, "connect", str(self._unusable_proxy))
        if self._http is None:
            self._http = open_session(self._proxy)
        try:
            async with (
                asyncio.timeout(self._clock.to_real(self._timeout)),
                self._http.get(
                    # What an id holds is quoted by now, and must not be read as if it were not.
                    URL(self._base_url + path, encoded=True),
                    headers=self._headers | {"Authorization": f"Bearer {self._key}"},
                    allow_redirects=False,
                ) as response,
            ):
                body = bytearray()
                async for chunk in response.content.iter_any():
                    body += chunk
                    if len(body) > MAX_BODY:
                        raise _unavailable("too_large", "the body is over 1 MiB", response)
                return response, bytes(body)
        except (
            aiohttp.ClientError,
            TimeoutError,
            OSError,
            ValueError,  # of a URL or a header that the libraries refuse
        ) as error:
            raise translate(error, self._host) from error

    async def _close(self) -> None:
        if self._http is not None:
            await self._http.close()

    def _refusal(self, response: aiohttp.ClientResponse, body: bytes) -> ApiError:
        """Return what an answer other than 200 means, by status and `error`, never by the message."""
        try:
            payload = parse_json(body)
        except PayloadError:
            payload = {}
        named = payload.get("error")
        code = named if isinstance(named, str) and _CODE.fullmatch(named) else None
        status = response.status
        retry_after = self._retry_after(response.headers.get("Retry-After"))
        if status == HTTPStatus.UNAUTHORIZED or (status == HTTPStatus.FORBIDDEN and code in _LOCKED_OUT):
            kind = ApiErrorKind.LOCKED_OUT
        elif status == HTTPStatus.FORBIDDEN and code == "NOT_YOURS":
            kind = ApiErrorKind.NOT_YOURS
        elif status == HTTPStatus.NOT_FOUND and self._base_url.endswith(API_PATH):
            kind = ApiErrorKind.UNEXPLAINED
        elif status == HTTPStatus.NOT_FOUND and code == "NOT_FOUND":
            kind = ApiErrorKind.NOT_FOUND
        elif status == HTTPStatus.TOO_MANY_REQUESTS:
            kind = ApiErrorKind.RATE_LIMITED
        elif HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR:
            # One without an error of the API may come from something in between.
            kind = ApiErrorKind.REFUSED if isinstance(named, str) else ApiErrorKind.UNEXPLAINED
        else:
            kind = ApiErrorKind.UNAVAILABLE
            if code == "PROVIDER_DOWN" and retry_after is None:
                retry_after = PROVIDER_DOWN_RETRY
        redirect = "redirect" if _is_redirect(response) else f"http_{status}"
        return ApiError(
            kind=kind,
            label=code or redirect,
            message=self._explained(response, parse_message(payload.get("message"))),
            status=status,
            retry_after=retry_after,
            request_id=_request_id(response),
        )

    def _explained(self, response: aiohttp.ClientResponse, message: str | None) -> str:
        """Return the message of an answer other than 200, without the key if the answer repeats it."""
        status = response.status
        text = message or f"HTTP status {status} from {self._host}"
        if _is_redirect(response):
            return f"{text}, a redirect, which is not followed: base_url should be where that leads"
        if self._key:
            text = text.replace(self._key, "[key]")
        if status == HTTPStatus.NOT_FOUND and self._base_url.endswith(API_PATH):
            return f"{text}; base_url ends in {API_PATH}, which is added to it: leave that out"
        return text

    def _retry_after(self, header: str | None) -> float | None:
        """Return the seconds to wait, from either form of the header (RFC 9110, section 10.2.3)."""
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


def _unavailable(label: str, message: str, response: aiohttp.ClientResponse) -> ApiError:
    return ApiError(
        ApiErrorKind.UNAVAILABLE, label, message, response.status, request_id=_request_id(response)
    )


def _is_redirect(response: aiohttp.ClientResponse) -> bool:
    return response.status in _REDIRECTS and "Location" in response.headers


def _request_id(response: aiohttp.ClientResponse) -> str | None:
    return parse_message(response.headers.get("X-Request-Id"))


def _number(header: str | None) -> float | None:
    if header is None or not re.fullmatch(r"-?\d{1,15}(\.\d{1,9})?", header.strip()):
        return None
    return float(header)


def _whole(header: str | None) -> int | None:
    number = _number(header)
    return None if number is None else max(0, int(number))
