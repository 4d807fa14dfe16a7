"""The proxy that the environment names for a URL: HTTPS_PROXY, HTTP_PROXY and NO_PROXY, also in lower case.

Nothing else of the environment counts for calls, least of all a `.netrc`.
"""

from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass


class ProxyError(ValueError):
    """The environment names a proxy that cannot be used. The text holds no credentials."""


def find_proxy(url: str) -> str | None:
    """Return the URL of the proxy for calls to `url`, or None where they go directly. Raises ProxyError."""
    target = urlsplit(url)
    found = getproxies().get(target.scheme, "").strip()
    if not found or proxy_bypass(target.netloc):
        return None
    variable = f"{target.scheme.upper()}_PROXY"
    proxy = found if "://" in found else f"http://{found}"
    try:
        parts = urlsplit(proxy)
        host, _ = (parts.hostname or "").encode("idna"), parts.port
    except ValueError as error:
        # The error may quote the URL, which may hold a password.
        raise ProxyError(f"the proxy in {variable} is not a URL with a host and a port") from error
    if parts.scheme not in ("http", "https"):
        raise ProxyError(f"the proxy in {variable} is not an HTTP proxy")
    if not host or not proxy.isprintable() or " " in proxy:
        raise ProxyError(f"the proxy in {variable} is not a URL with a host and a port")
    return proxy
