"""What an alert is, and what several of them ask for."""

from dataclasses import dataclass
from typing import Literal

from mixin import limits
from mixin.records import pace, recorded

_UNITS = {"m": "minute", "h": "hour", "d": "day"}
Severity = Literal["critical", "warning", "info"]


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert. `lasting` is how long `expr` must hold, `keep_firing` how long it goes on after that;
    `summary` is a plain sentence, `description` says for whom and how much; `dashboard` is where to start."""

    name: str
    severity: Severity
    expr: str
    lasting: str
    summary: str
    description: str
    dashboard: str
    keep_firing: str = ""

    @property
    def by_account(self) -> bool:
        """Whether it is about one account, which its dashboard is then narrowed to."""
        return "$labels.account" in self.description

    @property
    def anchor(self) -> str:
        """Its heading in the runbooks, as a link names it."""
        return self.name.lower()


def of_exporters(metric: str, matchers: str = "") -> str:
    """A metric of processes, as it is selected."""
    every = ", ".join(filter(None, (limits.SELECTOR, matchers)))
    return f"{metric}{{{every}}}" if every else metric


def of_job(metric: str) -> str:
    """A metric that is not of the exporter's own naming, as it is selected."""
    return of_exporters(metric, f'job="{limits.JOB}"')


def spoken(window: str) -> str:
    """A Prometheus duration as a text has it: `hour` for `1h`, `30 minutes` for `30m`."""
    number, unit = int(window[:-1]), _UNITS[window[-1]]
    return unit if number == 1 else f"{number} {unit}s"


BALANCE = recorded("vivix_account_credits_balance")
GRANTED = recorded("vivix_account_credits_granted")
UNTIL_RESET = f"({recorded('vivix_account_cycle_reset_timestamp_seconds')} - time())"


def lasts(window: str, matchers: str = "") -> str:
    """Seconds that the balance lasts at the pace of a window; no data while nothing is spent."""
    chosen = f"{{{matchers}}}" if matchers else ""
    return f"{BALANCE}{chosen} / ({pace(window)}{chosen} > 0)"
