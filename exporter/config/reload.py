"""What a reload changes, and what needs a restart."""

from collections.abc import Sequence
from dataclasses import dataclass

from exporter.config.schema import Account, Config
from exporter.domain.values import AccountName
from exporter.errors import ConfigError

_NEEDS_RESTART = (
    "metrics.duration_buckets",
    "metrics.max_models",
    "metrics.max_failure_reasons",
    "tracing.exporter",
    "tracing.capture_output_urls",
)


@dataclass(frozen=True, slots=True)
class AccountChanges:
    """Accounts that are added, that stay (perhaps changed) and that are removed."""

    added: Sequence[Account]
    kept: Sequence[Account]
    removed: Sequence[AccountName]


def check_reloadable(former: Config, new: Config) -> None:
    """Raise ConfigError where a running exporter cannot apply the new configuration."""
    changed = ["state.url"] if former.state_at != new.state_at else []
    changed += [key for key in _NEEDS_RESTART if _value(former, key) != _value(new, key)]
    if changed:
        raise ConfigError(f"a change of {', '.join(changed)} needs a restart of the exporter")


def account_changes(former: Config, new: Config) -> AccountChanges:
    """Return what a new configuration changes about each account."""
    before, after = ({account.name for account in config.accounts} for config in (former, new))
    return AccountChanges(
        added=[account for account in new.accounts if account.name not in before],
        kept=[account for account in new.accounts if account.name in before],
        removed=[AccountName(account.name) for account in former.accounts if account.name not in after],
    )


def _value(config: Config, key: str) -> object:
    section, name = key.split(".")
    return getattr(getattr(config, section), name)
