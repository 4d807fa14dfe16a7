"""`check --online`: whether each account's key works, by one call."""

from collections.abc import Iterator

from exporter.app import VERSION
from exporter.client import Client, Endpoint
from exporter.clock import MICROS, SystemClock
from exporter.config import Config
from exporter.errors import ApiError, ConfigError
from exporter.values import AccountName


class _Unmetered:
    """Hears of calls and forgets them."""

    def api_request(self, account: AccountName, endpoint: Endpoint, code: str, seconds: float) -> None:
        pass

    def api_error(self, account: AccountName, label: str) -> None:
        pass


async def check_online(config: Config) -> Iterator[str]:
    """Ask the API about each account. Returns a line about each; raises ConfigError, with a line for each
    account that cannot be followed."""
    well, wrong = [], []
    for account in config.accounts:
        client = Client(
            AccountName(account.name),
            account.base_url,
            config.polling.request_timeout / MICROS,
            SystemClock(),
            _Unmetered(),
            VERSION,
        )
        client.use_key(account.key_source(config.folder).read().reveal())
        try:
            plan = (await client.plan()).value
        except ApiError as error:
            wrong.append(f"account {account.name}: {account.base_url}: {error}")
        else:
            calls = plan.calls_per_minute or "an unknown number of"
            well.append(f"account {account.name}: tier {plan.tier or 'unknown'}, {calls} calls a minute")
        finally:
            await client.retire()
    if wrong:
        raise ConfigError("\n".join(wrong))
    return iter(well)
