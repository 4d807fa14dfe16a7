"""Webhook endpoints of accounts, and signature and headers of a delivery, as documented."""

import hashlib
import hmac
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

MOST_ENDPOINTS = 5
"""Maximum number of endpoints of an account."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A receiver and the secret that signs its deliveries. Raises ValueError for an invalid URL.

    The vendor accepts HTTPS only; the simulator also HTTP, for use on one machine.
    """

    url: str
    secret: str = field(repr=False)

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise ValueError(f"{self.url!r} is not the URL of a webhook, such as https://example.org/hook")
        if not self.secret:
            raise ValueError(f"the secret of {self.url} is empty")


class Endpoints:
    """The endpoints of every account. A pending delivery goes to a place in the list of its account, also
    when the endpoint there is replaced."""

    def __init__(self, accounts: Collection[str]) -> None:
        self._endpoints: dict[str, tuple[Endpoint, ...]] = dict.fromkeys(accounts, ())

    def set(self, account: str, endpoints: Sequence[Endpoint]) -> None:
        """Replace the list of an account. Raises ValueError for an unknown account or too many endpoints."""
        if account not in self._endpoints:
            raise ValueError(f"no account {account!r}: there are {', '.join(self._endpoints)}")
        if len(endpoints) > MOST_ENDPOINTS:
            raise ValueError(f"account {account} has more than {MOST_ENDPOINTS} webhook endpoints")
        self._endpoints[account] = tuple(endpoints)

    def of(self, account: str) -> tuple[Endpoint, ...]:
        """Return the endpoints of an account."""
        return self._endpoints[account]

    def urls(self) -> dict[str, list[str]]:
        """Return the URLs by account, without secrets."""
        return {account: [one.url for one in listed] for account, listed in self._endpoints.items()}


def signature(secret: str, body: bytes) -> str:
    """Return the value of X-Vivix-Signature."""
    return f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"


def headers(event: str, delivery_id: str, signed: str | None) -> Mapping[str, str]:
    """Return the headers of an attempt; `signed` is its signature, None only in a forgery."""
    common = {
        "Content-Type": "application/json",
        "User-Agent": "Vivix-Webhook/1.0",
        "X-Vivix-Event": event,
        "X-Vivix-Delivery-Id": delivery_id,
    }
    return common if signed is None else {**common, "X-Vivix-Signature": signed}
