"""The metrics about the exporter itself: counted since it started, on the client library's instruments."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from exporter.clock import MICROS
from exporter.domain.labels import LabelLimit
from exporter.domain.values import AccountName, Via
from exporter.vivix.client import Endpoint

MAX_ERRORS = 50
"""Values of the label `error` for each account; further ones are counted under `other`."""
MAX_CODES = 30
"""Values of the label `code`, likewise."""

_CALL_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_LAG_BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0)
_WRITE_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)

Instrument = TypeVar("Instrument", Counter, Histogram)


class Instruments:
    """One registry with the instruments that the rest of the exporter counts on; it is the meter of the API
    client, the store and the poller."""

    def __init__(self, version: str, python_version: str) -> None:
        self.registry = registry = CollectorRegistry()
        self._of_accounts: list[Counter | Histogram] = []
        self._watched: list[tuple[Gauge, Callable[[], float]]] = []
        self._errors = LabelLimit(MAX_ERRORS)
        self._codes = LabelLimit(MAX_CODES)
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        self._requests = self._of_account(
            Counter,
            "vivix_api_requests",
            "Calls to the Vivix API by HTTP status, or 'error' where no answer came.",
            ["endpoint", "code"],
        )
        self._request_seconds = self._of_account(
            Histogram,
            "vivix_api_request_duration_seconds",
            "How long calls to the Vivix API took, failed ones included.",
            ["endpoint"],
            buckets=_CALL_BUCKETS,
        )
        self._calls: dict[tuple[AccountName, Endpoint, str], tuple[Counter, Histogram]] = {}
        """The series of both that are counted with each call: to look them up costs more than to count."""
        self._api_errors = self._of_account(
            Counter,
            "vivix_api_errors",
            "Calls to the Vivix API that brought no usable answer, by the API's error code, or a name in "
            "lower case such as 'timeout', 'connect', 'tls', 'bad_payload' or 'unknown_status'.",
            ["error"],
        )
        self._lag = self._of_account(
            Histogram,
            "vivix_exporter_detection_lag_seconds",
            "Time from the end of a generation to its detection, for those followed before they ended. The "
            "status endpoint gives ends in whole seconds.",
            ["via"],
            buckets=_LAG_BUCKETS,
        )
        self._webhook_deliveries = self._of_account(
            Counter,
            "vivix_exporter_webhook_deliveries",
            "Webhook deliveries by what became of them: 'accepted', 'repeat' and 'stale' (of a generation "
            "that was counted before), 'unknown_event', or refused as 'bad_signature', 'bad_payload', "
            "'too_large' or 'store_error'.",
            ["result"],
        )
        self._webhook_missed = self._of_account(
            Counter,
            "vivix_exporter_webhook_missed",
            "Ends that only a poll found although the account has webhooks: deliveries that never came, or "
            "came later than that.",
            [],
        )
        self._spans_exported = Counter(
            "vivix_exporter_spans_exported",
            "Spans that the collector has accepted.",
            registry=registry,
        )
        self._span_export_failures = Counter(
            "vivix_exporter_span_export_failures",
            "Attempts to export a batch of spans that failed; they are tried again.",
            registry=registry,
        )
        self._spans_pending = Gauge(
            "vivix_exporter_spans_pending",
            "Spans of generations that have ended, waiting in the state to be exported; 0 without tracing.",
            registry=registry,
        )
        self._store_errors = Counter(
            "vivix_exporter_store_errors",
            "Writes to the state that failed; they are tried again.",
            registry=registry,
        )
        self._store_seconds = Histogram(
            "vivix_exporter_store_write_seconds",
            "How long transactions on the state took.",
            buckets=_WRITE_BUCKETS,
            registry=registry,
        )
        self._reload_successful = Gauge(
            "vivix_exporter_config_last_reload_successful",
            "Whether the last attempt to load the configuration succeeded.",
            registry=registry,
        )
        self._reload_success_time = Gauge(
            "vivix_exporter_config_last_reload_success_timestamp_seconds",
            "When the configuration in force was loaded, in Unix time.",
            registry=registry,
        )
        self._accounts_owned = Gauge(
            "vivix_exporter_accounts_owned",
            "Accounts that this process follows.",
            registry=registry,
        )
        self._replicas = Gauge(
            "vivix_exporter_replicas",
            "Replicas that share the state and are alive, as this one sees them, itself included.",
            registry=registry,
        )
        self._replicas.set(1)
        self._takeovers = Counter(
            "vivix_exporter_takeovers",
            "Accounts that this replica has taken over from one that was no longer alive.",
            registry=registry,
        )
        Gauge(
            "vivix_exporter_build_info",
            "1, with the version of the exporter and of Python.",
            ["version", "python_version"],
            registry=registry,
        ).labels(version, python_version).set(1)

    def _of_account(
        self, kind: type[Instrument], name: str, help: str, labels: Sequence[str] = (), **settings: Any
    ) -> Instrument:
        """An instrument of `account` and further labels, whose series go when the account does."""
        made = kind(name, help, ["account", *labels], registry=self.registry, **settings)
        self._of_accounts.append(made)
        return made

    def api_request(self, account: AccountName, endpoint: Endpoint, code: str, seconds: float) -> None:
        key = account, endpoint, self._codes.fold(account, code)
        series = self._calls.get(key)
        if series is None:
            series = self._calls[key] = (
                self._requests.labels(account, endpoint.value, key[2]),
                self._request_seconds.labels(account, endpoint.value),
            )
        count, duration = series
        count.inc()
        duration.observe(seconds)

    def api_error(self, account: AccountName, label: str) -> None:
        self._api_errors.labels(account, self._errors.fold(account, label)).inc()

    def detected(self, account: AccountName, via: Via, lag_seconds: float) -> None:
        self._lag.labels(account, via.value).observe(lag_seconds)

    def webhook_missed(self, account: AccountName) -> None:
        self._webhook_missed.labels(account).inc()

    def webhook_delivery(self, account: AccountName, result: str) -> None:
        self._webhook_deliveries.labels(account, result).inc()

    def expect_deliveries(self, account: AccountName, results: Iterable[str]) -> None:
        """Show zeros for an account with webhooks, so that a query sees the first delivery of each result."""
        self._webhook_missed.labels(account)
        for result in results:
            self._webhook_deliveries.labels(account, result)

    def forget(self, account: AccountName) -> None:
        """Remove the series of an account that is no longer followed."""
        for instrument in self._of_accounts:
            instrument.remove_by_labels({"account": account})
        for key in [key for key in self._calls if key[0] == account]:
            del self._calls[key]

    def config_refused(self) -> None:
        """Count a configuration that was refused; the one in force stays."""
        self._reload_successful.set(0)

    def config_loaded(self, at_us: int) -> None:
        """Report that a configuration is in force from `at_us` on."""
        self._reload_successful.set(1)
        self._reload_success_time.set(at_us / MICROS)

    def watch_owned_accounts(self, count: Callable[[], float]) -> None:
        """Ask `count` for the accounts that are followed, at each scrape."""
        self._watched.append((self._accounts_owned, count))

    def watch_replicas(self, count: Callable[[], float]) -> None:
        """Ask `count` for the replicas that are alive, at each scrape."""
        self._watched.append((self._replicas, count))

    def taken_over(self) -> None:
        self._takeovers.inc()

    def spans_exported(self, spans: int) -> None:
        self._spans_exported.inc(spans)

    def span_export_failed(self) -> None:
        self._span_export_failures.inc()

    def watch_pending_spans(self, count: Callable[[], float]) -> None:
        """Read the number of pending spans from `count` at each scrape."""
        self._watched.append((self._spans_pending, count))

    def read_watched(self) -> None:
        """Read what is watched, on the event loop, where it changes; then `registry` can be collected on any
        thread."""
        for gauge, count in self._watched:
            gauge.set(count())

    def store_write(self, seconds: float) -> None:
        self._store_seconds.observe(seconds)

    def store_error(self) -> None:
        self._store_errors.inc()
