"""One account that is followed: its parts, for those who need several of them."""

from dataclasses import dataclass

from exporter.config import Account, RotatingSecrets
from exporter.polling.poller import Poller
from exporter.sources.listing import Sources


@dataclass(slots=True)
class FollowedAccount:
    """`webhook_secrets` is None where the account has no webhooks. A reload replaces what has changed."""

    config: Account
    poller: Poller
    sources: Sources
    webhook_secrets: RotatingSecrets | None
