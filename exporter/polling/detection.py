"""What follows from an end once it is stored: its lag is measured, its duration learnt, and it is logged; and
webhooks that did not report it are trusted less."""

from typing import Protocol

import structlog

from exporter.clock import MICROS
from exporter.domain.traceid import trace_id
from exporter.domain.values import AccountName, Ended, Generation, Via
from exporter.polling.cadence import Cadence
from exporter.polling.webhook_trust import HINT, PATIENCE, WebhookTrust

_log = structlog.get_logger("exporter.polling.detection")


class DetectionMeter(Protocol):
    """Counts detected ends, and those that webhooks should have reported."""

    def detected(self, account: AccountName, via: Via, lag_seconds: float) -> None: ...
    def webhook_missed(self, account: AccountName) -> None: ...


class Detection:
    """The detection of one account's ends."""

    def __init__(
        self, account: AccountName, cadence: Cadence, webhook_trust: WebhookTrust, meter: DetectionMeter
    ) -> None:
        self._account = account
        self._cadence = cadence
        self._webhook_trust = webhook_trust
        self._meter = meter
        self._refund_logged = False

    def ended(self, generation: Generation, fact: Ended, lag: float | None) -> None:
        """Note an end, detected after `lag` seconds; None for one that was not followed before it ended."""
        end = fact.end
        if end.duration_us is not None:
            self._cadence.learn(generation.model, end.duration_us / MICROS)
        if lag is not None:
            self._meter.detected(self._account, end.via, lag)
            if self._webhook_trust.configured and end.via is Via.POLL and lag > PATIENCE:
                self._missed()
        _log.info(
            "generation ended",
            account=self._account,
            id=generation.id,
            trace_id=trace_id(generation.id, generation.traceparent),
            model=fact.model,
            status=end.status.value,
            **({"reason": end.reason} if end.reason else {}),
            duration=None if end.duration_us is None else end.duration_us / MICROS,
            credits=end.credits_used_micro / MICROS,
        )
        if fact.refunded_micro:
            self._refunded(generation, fact)

    def _refunded(self, generation: Generation, fact: Ended) -> None:
        if self._refund_logged:
            return
        self._refund_logged = True
        _log.warning(
            "the API charged credits for a failed generation; failures are refunded and count none (logged "
            "once for this account)",
            account=self._account,
            id=generation.id,
            trace_id=trace_id(generation.id, generation.traceparent),
            charged=fact.refunded_micro / MICROS,
        )

    def _missed(self) -> None:
        self._meter.webhook_missed(self._account)
        if not self._webhook_trust.missed():
            return
        refused = self._webhook_trust.refusals
        if refused:
            _log.warning(
                "webhook deliveries arrive with a wrong signature; polling without relying on webhooks until "
                "a genuine one arrives",
                account=self._account,
                refused=refused,
                check=HINT,
            )
        else:
            _log.warning(
                "no webhook deliveries arrive; polling without relying on webhooks until one does",
                account=self._account,
                check="the endpoint's URL on the vendor's dashboard, and that it can be reached",
            )
