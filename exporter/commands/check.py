"""`check`: whether the files of ids can be read, and with `--online` whether each account's key works."""

from collections.abc import Iterator

from exporter.app import VERSION
from exporter.clock import MICROS, SystemClock
from exporter.config import Config
from exporter.domain.values import AccountName
from exporter.errors import ApiError, ConfigError
from exporter.heartbeat import Heartbeat
from exporter.sources.idfiles import IdFiles
from exporter.vivix.client import Client, Endpoint


class _Unmetered:
    """Hears of calls and forgets them."""

    def api_request(self, account: AccountName, endpoint: Endpoint, code: str, seconds: float) -> None:
        pass

    def api_error(self, account: AccountName, label: str) -> None:
        pass


async def check_files(config: Config) -> int:
    """How many ids the files of all accounts list. What is wrong with a file is logged; raises ConfigError
    where there is such a one."""
    clock = SystemClock()
    listed = broken = 0
    for account in config.accounts:
        name = AccountName(account.name)
        files = IdFiles(name, config.folder, account.generation_files, clock, Heartbeat(clock), settle=0.0)
        listed += len(await files.read())
        broken += files.broken
    if broken:
        raise ConfigError(f"{broken} files of ids cannot be used")
    return listed


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
