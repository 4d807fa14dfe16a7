"""The connections of a server: how many there are, and which goes when there are too many."""

from typing import Protocol


class Connection(Protocol):
    """What can be closed to make room."""

    def evict(self) -> None:
        """Close it at once."""
        ...


class Connections:
    """At most `limit` connections. One that has sent a whole request is busy until that is answered; the
    others are closed for newer ones, the oldest first, and so are those that do not read their answer."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open: set[Connection] = set()
        self._waiting: dict[Connection, None] = {}
        self._unread: dict[Connection, None] = {}

    def __len__(self) -> int:
        return len(self._open)

    @property
    def busy(self) -> int:
        """Connections whose request is being worked on, or whose answer is being sent."""
        return len(self._open) - len(self._waiting)

    @property
    def is_full(self) -> bool:
        """Whether a further connection takes the place of another."""
        return len(self._open) >= self._limit

    def admit(self, connection: Connection) -> bool:
        """Add a connection, in place of another where there are too many. Returns false where all others are
        busy: it is not added."""
        if self.is_full:
            victim = next(iter(self._waiting), None) or next(iter(self._unread), None)
            if victim is None:
                return False
            self.remove(victim)
            victim.evict()
        self._open.add(connection)
        self._waiting[connection] = None
        return True

    def remove(self, connection: Connection) -> None:
        """Note that a connection is closed."""
        self._open.discard(connection)
        self._waiting.pop(connection, None)
        self._unread.pop(connection, None)

    def mark_busy(self, connection: Connection) -> None:
        """Note that a connection has sent a whole request."""
        self._waiting.pop(connection, None)

    def mark_waiting(self, connection: Connection) -> None:
        """Note that it is a connection's turn to send, from now on."""
        if connection in self._open:
            self._waiting.pop(connection, None)
            self._waiting[connection] = None

    def mark_unread(self, connection: Connection, *, unread: bool) -> None:
        """Note whether a connection leaves something unread."""
        if not unread:
            self._unread.pop(connection, None)
        elif connection in self._open:
            self._unread.setdefault(connection)
