"""How the HTTP server is reached and locked, as the command line says."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from exporter.errors import ConfigError
from exporter.web.lock.file import WebConfigFile

_PROBES = ("/-/healthy", "/-/ready")


@dataclass(frozen=True, slots=True)
class Serving:
    """`web_config` is None where nothing is locked. `external_url` is where browsers reach the exporter,
    without a slash at its end; empty where that is wherever they ask. `link_prefix` is the path that their
    links begin with, `route_prefix` the path that requests arrive with: empty, or such as `/vivix`."""

    web_config: WebConfigFile | None = None
    external_url: str = ""
    link_prefix: str = ""
    route_prefix: str = ""

    def is_open(self, method: str, path: str) -> bool:
        """Return whether a request needs no user: probes, and what says by itself who it is from."""
        inner = path.removeprefix(self.route_prefix)
        registers = method == "POST" and inner == "/api/v1/generations"
        return registers or inner in _PROBES or inner.startswith("/webhooks/")


def serving(external_url: str, route_prefix: str | None, web_config: WebConfigFile | None) -> Serving:
    """Return what the flags mean, as Prometheus reads its own: the prefix of routes is the path of the
    external URL unless it is given. Raises ConfigError."""
    if not _is_url(external_url):
        raise ConfigError(
            f"--web.external-url: {external_url!r} is not a URL such as https://example.org/vivix/"
        )
    parts = urlsplit(external_url)
    path = _prefix(parts.path)
    given = path if route_prefix is None else _prefix(route_prefix)
    url = f"{parts.scheme}://{parts.netloc}{path}" if parts.netloc else ""
    return Serving(web_config, url, path if external_url else given, given)


def _is_url(text: str) -> bool:
    """Return whether a text is an address of HTTP or its path alone."""
    if not text.isprintable() or set(text) & set(" ?#\\"):
        return False
    try:
        parts = urlsplit(text)
        host = parts.hostname if parts.port != 0 else None
    except ValueError:
        return False
    if parts.scheme or parts.netloc:
        return parts.scheme in ("http", "https") and bool(host) and parts.username is None
    return True


def _prefix(path: str) -> str:
    inner = path.strip("/")
    return f"/{inner}" if inner else ""
