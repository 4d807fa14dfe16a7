"""The log of an account's calls: each condition when it begins, changes and ends, with a count."""

import logging
from collections.abc import Callable

import structlog

from exporter.domain.values import AccountName, GenerationId
from exporter.errors import ApiError
from exporter.polling.witnesses import Owner, Witness
from exporter.vivix.client import Endpoint

NOTICED = 4
"""Failures of one id in a row before it is logged: single ones are common, and a retry cures them."""

_log = structlog.get_logger("exporter.polling.calls")
_threshold = logging.getLogger("exporter.polling.calls")


class Condition:
    """A condition with its first and last line. `begin` logs the first, and again for each other cause."""

    def __init__(self, began: str, ended: str, begin: Callable[..., object], times: int = 1) -> None:
        """It is logged as begun once it has been met so many `times` in a row."""
        self._began, self._ended, self._begin = began, ended, begin
        self._times = times
        self._met = 0
        self._causes: set[str] = set()

    def met(self, cause: str, **fields: object) -> None:
        """Note that it was met; `cause` is one of few."""
        self._met += 1
        if self._met >= self._times and cause not in self._causes:
            self._causes.add(cause)
            self._begin(self._began, **fields, failed_calls=self._met)

    def over(self, account: AccountName) -> None:
        """Note that it is over, where it was met at all."""
        if self._causes:
            _log.info(self._ended, account=account, failed_calls=self._met)
        self._met = 0
        self._causes.clear()


class CallLog:
    """The conditions of one account's calls."""

    def __init__(self, account: AccountName) -> None:
        self._account = account
        self._api = Condition(
            "the API does not answer; calling it once at a time until it does",
            "the API answers again",
            _log.warning,
        )
        self._key = Condition(
            "the API refuses the key; following resumes once one works", "the key works again", _log.error
        )
        self._limit = Condition(
            "the API reports too many calls; waiting as it asks",
            "the API's limit of calls holds again",
            _log.warning,
        )
        # Single failures are common, and what was known stays in use for minutes.
        self._endpoints = {
            Endpoint.CREDITS: Condition(
                "cannot read wallet and plan", "wallet and plan can be read again", _log.warning, times=2
            ),
            Endpoint.MODELS: Condition(
                "cannot read the list of models",
                "the list of models can be read again",
                _log.warning,
                times=2,
            ),
        }

    def polled(self, id: GenerationId, status: str) -> None:
        """Log an answered poll, where that is wanted: there are too many to prepare each line in vain."""
        if _threshold.isEnabledFor(logging.DEBUG):
            _log.debug("polled", account=self._account, id=id, status=status)

    def recovered(self) -> None:
        """Log what is over with any answer of the API."""
        for condition in (self._api, self._key, self._limit):
            condition.over(self._account)

    def answered(self, witness: Witness, failures: int) -> None:
        """Log that an id or endpoint is answered again after so many `failures`."""
        if not witness.id:
            self._endpoints[witness.endpoint].over(self._account)
        elif failures >= NOTICED:
            _log.info(
                "the generation is answered for again",
                account=self._account,
                id=witness.id,
                failed_calls=failures,
            )

    def failed(
        self, witness: Witness, owner: Owner, error: ApiError, pause: float, failures: int, *, up: bool | None
    ) -> None:
        """Log a failed call where that is news; `failures` are those of the witness by itself."""
        of = {"id": witness.id} if witness.id else {"endpoint": witness.endpoint.value}
        _log.debug(
            "call failed", account=self._account, **of, error=str(error), trouble_of=owner.name.lower()
        )
        text, account = str(error), self._account
        match owner:
            case Owner.KEY:
                self._key.met(error.label, account=account, error=text, pause=round(pause, 1))
            case Owner.BUDGET:
                self._limit.met(error.label, account=account, error=text, pause=round(pause, 1))
            case Owner.API if up is False:
                self._api.met(error.label, account=account, error=text, pause=round(pause, 1))
            case Owner.WITNESS if not witness.id:
                self._endpoints[witness.endpoint].met(error.label, account=account, error=text)
            case Owner.WITNESS if failures == NOTICED:
                _log.warning(
                    "no usable answer for a generation; polling it less and less often",
                    account=account,
                    id=witness.id,
                    error=text,
                    failed_calls=failures,
                )
            case Owner.API | Owner.WITNESS:
                pass
