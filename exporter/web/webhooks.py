"""`POST /webhooks/{account}`: the vendor's deliveries, believed only by their signature.

The signature covers the body alone, so a header decides nothing but whether the body is read. Anybody can
send something here: what is refused is counted, and logged when it begins and ends, not each time. Formats
and names: the API's page on webhooks.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from enum import StrEnum
from http import HTTPStatus
from typing import Protocol

import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from exporter.clock import Clock
from exporter.config import RotatingSecrets
from exporter.domain.values import AccountName, GenerationId, Observation
from exporter.errors import StoreError
from exporter.polling.webhook_trust import HINT, WebhookTrust
from exporter.vivix.payload import PayloadError, parse_delivery, parse_json
from exporter.vivix.signature import is_signed
from exporter.web.bodies import UnreadableBodyError, read_body

MAX_BODY = 64 << 10
"""Bytes of a delivery."""
EVENTS = frozenset({"generation.completed", "generation.failed"})

_log = structlog.get_logger("exporter.web.webhooks")


class Result(StrEnum):
    """The outcome of a delivery; values of the label `result`."""

    ACCEPTED = "accepted"
    REPEAT = "repeat"
    STALE = "stale"
    """Of an unknown id that ended longer ago than ids are remembered: it may have been counted then."""
    UNKNOWN_EVENT = "unknown_event"
    BAD_SIGNATURE = "bad_signature"
    BAD_PAYLOAD = "bad_payload"
    TOO_LARGE = "too_large"
    STORE_ERROR = "store_error"


_NO_WEBHOOKS = "there are no webhooks for an account of this name"
_ANSWERS: Mapping[Result, tuple[HTTPStatus, str]] = {
    Result.UNKNOWN_EVENT: (HTTPStatus.NO_CONTENT, ""),
    Result.ACCEPTED: (HTTPStatus.NO_CONTENT, ""),
    Result.REPEAT: (HTTPStatus.NO_CONTENT, ""),
    Result.STALE: (HTTPStatus.NO_CONTENT, ""),
    Result.BAD_SIGNATURE: (HTTPStatus.UNAUTHORIZED, "the signature does not match the body"),
    Result.BAD_PAYLOAD: (HTTPStatus.BAD_REQUEST, "the body does not name a generation and how it ended"),
    Result.TOO_LARGE: (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is over {MAX_BODY >> 10} KiB"),
    Result.STORE_ERROR: (HTTPStatus.SERVICE_UNAVAILABLE, "the state cannot be written; deliver it again"),
}


class WebhookMeter(Protocol):
    """Counts deliveries by their outcome."""

    def webhook_delivery(self, account: AccountName, result: str) -> None: ...


class Intake(Protocol):
    """The receiver of deliveries."""

    def webhook_secrets(self, account: AccountName) -> RotatingSecrets | None:
        """Return the secrets that an account's deliveries are signed with, None where it has no webhooks."""
        ...

    def webhook_trust(self, account: AccountName) -> WebhookTrust:
        """Return whether an account's webhooks are relied on, where refused deliveries are counted."""
        ...

    async def deliver(
        self, account: AccountName, id: GenerationId, observation: Observation
    ) -> Result | None:
        """Store an end. None where another replica is to apply it, which counts the delivery then. Raises
        StoreError."""
        ...


class Webhooks:
    """The endpoint, for every account that has a secret."""

    def __init__(
        self,
        intake: Intake,
        clock: Clock,
        meter: WebhookMeter,
        is_ready: Callable[[], bool],
    ) -> None:
        self._intake = intake
        self._clock = clock
        self._meter = meter
        self._is_ready = is_ready
        self._unreadable: Counter[AccountName] = Counter()

    def routes(self) -> list[Route]:
        return [Route("/webhooks/{account}", self._receive, methods=["POST"])]

    async def _receive(self, request: Request) -> Response:
        if not self._is_ready():
            return _answer(HTTPStatus.SERVICE_UNAVAILABLE, "the state is not loaded yet; deliver it again")
        name = AccountName(request.path_params["account"])
        if self._intake.webhook_secrets(name) is None:
            return _answer(HTTPStatus.NOT_FOUND, _NO_WEBHOOKS)
        try:
            body = await read_body(request, MAX_BODY)
        except UnreadableBodyError as error:
            if not error.too_large:
                return Response(status_code=HTTPStatus.BAD_REQUEST)
            result = Result.TOO_LARGE
        else:
            # While the body arrived, a reload may have removed the account.
            secrets = self._intake.webhook_secrets(name)
            if secrets is None:
                return _answer(HTTPStatus.NOT_FOUND, _NO_WEBHOOKS)
            signature = request.headers.get("X-Vivix-Signature", "")
            genuine = secrets.admits(lambda secret: is_signed(body, signature, secret.reveal()))
            self._note_signature(name, genuine=genuine)
            if not genuine:
                result = Result.BAD_SIGNATURE
            elif request.headers.get("X-Vivix-Event") not in (None, *EVENTS):
                result = Result.UNKNOWN_EVENT
            else:
                taken = await self._take(name, body)
                if taken is None:
                    return _answer(*_ANSWERS[Result.ACCEPTED])
                result = taken
        self._meter.webhook_delivery(name, result.value)
        return _answer(*_ANSWERS[result])

    def _note_signature(self, account: AccountName, *, genuine: bool) -> None:
        trust = self._intake.webhook_trust(account)
        if not genuine:
            if trust.refused(self._clock.monotonic()):
                _log.warning("webhook deliveries are refused: wrong signature", account=account, check=HINT)
        elif (refused := trust.genuine()) is not None:
            _log.info("a genuine webhook delivery arrived again", account=account, refused=refused)

    async def _take(self, account: AccountName, body: bytes) -> Result | None:
        try:
            id, observation = parse_delivery(parse_json(body), self._clock.now_us())
        except PayloadError as error:
            self._unreadable[account] += 1
            if self._unreadable[account] == 1:
                _log.warning("genuine webhook deliveries cannot be read", account=account, error=str(error))
            return Result.BAD_PAYLOAD
        if unreadable := self._unreadable.pop(account, 0):
            _log.info("genuine webhook deliveries can be read again", account=account, unreadable=unreadable)
        try:
            return await self._intake.deliver(account, id, observation)
        except StoreError:
            return Result.STORE_ERROR


def _answer(status: HTTPStatus, message: str) -> Response:
    return JSONResponse({"error": message}, status) if message else Response(status_code=status)
