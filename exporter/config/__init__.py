"""The configuration: read, checked, and with its secrets kept secret."""

from exporter.config.load import load_config, parse_config
from exporter.config.rotation import RotatingSecrets
from exporter.config.schema import Account, Config
from exporter.config.secret import Secret, SecretSource

__all__ = ["Account", "Config", "RotatingSecrets", "Secret", "SecretSource", "load_config", "parse_config"]
