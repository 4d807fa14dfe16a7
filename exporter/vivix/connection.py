"""The connections to the API: how they are opened, and what their failures mean."""

import os
import socket

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.http_exceptions import ContentEncodingError

from exporter.errors import ApiError, ApiErrorKind
from exporter.threads import on_thread


class _Resolver(AbstractResolver):
    """The system's resolver, on threads that the process does not wait for at its end: a name server may
    never answer, and the library's own resolver would hold the exit up for as long."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        def look_up() -> list[ResolveResult]:
            found = socket.getaddrinfo(
                host, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
            )
            return [
                ResolveResult(
                    hostname=host,
                    host=str(address[0]),
                    port=int(address[1]),
                    family=of,
                    proto=protocol,
                    flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
                )
                for of, _, protocol, _, address in found
            ]

        return await on_thread(look_up, "resolver")

    async def close(self) -> None:
        """Nothing is kept."""


def open_session(proxy: str | None) -> aiohttp.ClientSession:
    """Return a session that connects through `proxy`, takes nothing else from the environment, and keeps no
    cookies. Must be called inside a running event loop."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(resolver=_Resolver()),
        cookie_jar=aiohttp.DummyCookieJar(),
        proxy=proxy,
        timeout=aiohttp.ClientTimeout(total=None),
        middlewares=(_once,),
    )


async def _once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Send a request once. By itself the library sends a GET again after a reset, without notice: a call
    that no budget counts. It does not repeat what fails with the plain exception."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
        raise aiohttp.ClientConnectionError(str(error)) from error
    except aiohttp.ClientHttpProxyError as error:
        without_request: aiohttp.ClientError = _ProxyRefusalError(f"status {error.status}")
    except aiohttp.ClientResponseError as error:
        # It holds the request, and the key with that; what is raised instead must not lead to it.
        without_request = aiohttp.ClientError(error.message)
    raise without_request


def translate(error: Exception, host: str = "the API") -> ApiError:
    """Return an exception of the transport, in a call to `host`, as one of ours."""
    kind, label = ApiErrorKind.UNAVAILABLE, "bad_response"
    match error:
        case aiohttp.ClientConnectorCertificateError():
            kind, label = ApiErrorKind.UNREACHABLE, "tls"
            message = f"the certificate of {host} is not accepted{_certificate_reason(error)}"
        case aiohttp.ClientSSLError() | aiohttp.ServerFingerprintMismatch():
            kind, label = ApiErrorKind.UNREACHABLE, "tls"
            message = f"the TLS handshake with {host} failed{_tls_reason(error)}"
        case TimeoutError():
            label, message = "timeout", f"{host} did not answer in time"
        case aiohttp.ClientConnectorDNSError():
            kind, label = ApiErrorKind.UNREACHABLE, "connect"
            message = f"the name of {host} cannot be resolved{_os_reason(error)}"
        case aiohttp.ClientHttpProxyError() | _ProxyRefusalError():
            kind, label = ApiErrorKind.UNREACHABLE, "connect"
            message = f"the proxy refuses to connect to {host}{_colon(getattr(error, 'message', ''))}"
        case aiohttp.ClientProxyConnectionError():
            kind, label = ApiErrorKind.UNREACHABLE, "connect"
            message = f"cannot connect to the proxy for {host}{_os_reason(error)}"
        case aiohttp.ClientConnectorError():
            kind, label = ApiErrorKind.UNREACHABLE, "connect"
            message = f"cannot connect to {host}{_os_reason(error)}"
        case aiohttp.ClientPayloadError() if isinstance(error.__cause__, ContentEncodingError):
            message = f"the answer of {host} is not valid HTTP"
        case aiohttp.ClientConnectionError() | aiohttp.ClientPayloadError() | OSError():
            label, message = "disconnected", f"the connection to {host} broke off"
        case _:
            message = f"the answer of {host} is not valid HTTP"
    return ApiError(kind, label, message)


def _certificate_reason(error: aiohttp.ClientConnectorCertificateError) -> str:
    return _colon(str(getattr(getattr(error, "_certificate_error", None), "verify_message", "")))


def _tls_reason(error: Exception) -> str:
    reason = getattr(error, "reason", None) or getattr(getattr(error, "_os_error", None), "reason", None)
    if reason == "WRONG_VERSION_NUMBER":
        return ": what listens there does not speak TLS; is http:// meant?"
    return _colon(str(reason or "").replace("_", " ").lower())


def _os_reason(error: aiohttp.ClientConnectorError) -> str:
    """Return what the system says of a failed connection, without its addresses."""
    number = getattr(error, "errno", None)
    known = isinstance(number, int) and number > 0
    return _colon(os.strerror(number) if known and number else str(getattr(error, "strerror", None) or ""))


def _colon(reason: str) -> str:
    return f": {reason}" if reason else ""


class _ProxyRefusalError(aiohttp.ClientError):
    """A proxy refused to open a tunnel."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
