"""What clients may take of the server: time, connections and file descriptors."""

import resource
from dataclasses import dataclass

_MOST_CONNECTIONS = 512


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds, counts and bytes that a client may use."""

    head: float = 10.0
    """Seconds from the first byte of a request, or from the connection, to the end of its headers."""
    body: float = 30.0
    """Seconds from there to the end of the body."""
    idle: float = 75.0
    """Seconds between two requests of one connection."""
    response: float = 30.0
    """Seconds in which a client must read what is sent to it."""
    connections: int = _MOST_CONNECTIONS
    """Open at the same time."""
    head_bytes: int = 64 << 10
    """Of a request line and its headers."""
    body_bytes: int = 16 << 20
    """Of a body as it is transmitted; what a handler reads is bounded more tightly."""
    grace: int = 3
    """Seconds for answers under way when the server stops."""
    pipelined: int = 32
    """Requests that wait for the answer to an earlier one of their connection."""

    @property
    def busy(self) -> int:
        """Requests in progress from which on only /metrics and the probes are answered."""
        return max(1, self.connections // 2)


def usual_limits() -> Limits:
    """The limits of a server in this process: at most half of its file descriptors are for clients."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return Limits()
    return Limits(connections=max(8, min(_MOST_CONNECTIONS, soft // 2)))


def raise_file_limit() -> None:
    """Let this process open as many files as the system allows it, rather than as many as is usual."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):  # pragma: no cover - a system that promises more than it gives
        return
