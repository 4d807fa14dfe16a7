"""The inbox: what replicas have acknowledged for the owners of accounts, until those apply it."""

from sqlalchemy import Connection, delete, insert

from exporter.store.letters import Letter
from exporter.store.schema import inbox


class Inbox:
    """The inbox, on one open transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def put(self, letter: Letter) -> None:
        """Let the owner of an account apply a letter."""
        row = {"account": letter.account, "at_us": letter.at_us, "token": letter.token}
        self._connection.execute(insert(inbox).values(row | {"kind": letter.kind.value, "body": letter.body}))

    def remove(self, letter: Letter) -> None:
        """Remove a letter that is applied in this transaction."""
        self._connection.execute(
            delete(inbox).where(
                inbox.c.account == letter.account,
                inbox.c.at_us == letter.at_us,
                inbox.c.token == letter.token,
            )
        )
