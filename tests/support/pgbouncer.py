"""A real PgBouncer in transaction mode, before a real PostgreSQL."""

import os
import shutil
import socket
import time
from typing import Self

from exporter.config import Secret
from support.lifeline import Lifeline, private_folder, steady_port, unprivileged
from support.postgresql import Server

_PATIENCE = 60.0
"""Seconds that it may take to listen."""
_CONFIGURATION = """
[databases]
* = host=127.0.0.1 port={server}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = {size}
max_client_conn = 1000
; Seconds until it tries again to reach a server that was down; 15 by default.
server_login_retry = 1
logfile = {folder}/log
"""
_ITS_LIFE = """
folder=$1; shift
"$@" >/dev/null 2>&1 &
cat >/dev/null
kill -9 $! 2>/dev/null
rm -rf "$folder"
"""


class PgBouncer:
    """A pooler that gives a client a connection for one transaction; ends with the context, or with the
    test's process."""

    def __init__(self, server: Server, *, size: int = 20) -> None:
        """Start one with up to `size` connections to each database of a server."""
        self._server = server
        self._folder = private_folder("pgbouncer")
        self.port = steady_port()
        (self._folder / "users").write_text('"postgres" ""\n')
        configuration = self._folder / "pgbouncer.ini"
        configuration.write_text(
            _CONFIGURATION.format(server=server.port, port=self.port, folder=self._folder, size=size)
        )
        command = unprivileged(_program(), "-q", str(configuration))
        self._lifeline = Lifeline(_ITS_LIFE, [str(self._folder), *command])
        try:
            self._await_listening()
        except BaseException:
            self._lifeline.cut()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lifeline.cut()

    def before(self, database: Secret) -> Secret:
        """The URL of a database of its server, through it."""
        return self._server.url(database.reveal().rpartition("/")[2], port=self.port)

    def _await_listening(self) -> None:
        until = time.monotonic() + _PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
            except ConnectionRefusedError:
                log = self._folder / "log"
                assert time.monotonic() < until, log.read_text() if log.exists() else "it did not start"
                time.sleep(0.01)
            else:
                return


def _program() -> str:
    # Debian has it where only root looks.
    found = shutil.which("pgbouncer", path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")
    assert found is not None, "pgbouncer is missing; run make test"
    return found
