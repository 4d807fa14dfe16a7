"""The configuration: read, checked, and with its secrets kept secret."""

from exporter.config.load import LocatedConfig, load_config, locate_config, parse_config, secret_sources
from exporter.config.rotation import RotatingSecrets
from exporter.config.schema import Account, Config
from exporter.config.secret import Secret, SecretSource

__all__ = [
    "Account",
    "Config",
    "LocatedConfig",
    "RotatingSecrets",
    "Secret",
    "SecretSource",
    "load_config",
    "locate_config",
    "parse_config",
    "secret_sources",
]
