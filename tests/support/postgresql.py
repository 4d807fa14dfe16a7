"""A real PostgreSQL, from Debian's packages, in a temporary folder and on loopback alone."""

import itertools
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, LiteralString, Self

import psycopg

from exporter.config import Secret
from support.lifeline import Lifeline, private_folder, steady_port, unprivileged

LOCKED = "locked"
"""A role whose members are asked for their password, which nobody else is."""

_PATIENCE_S = 300
"""How long a server may take to end, on a slow machine."""
_ATTEMPTS = 5
"""Ports that are tried; another process may be faster."""
_AT_THE_END = """
cat >/dev/null
exec >/dev/null 2>&1
first=$(head -n 1 "$1/data/postmaster.pid") && kill -CONT "$first" $(cat "/proc/$first/task/$first/children")
folder=$1; shift
"$@"
rm -rf "$folder"
"""


def program(name: str) -> str:
    """Where a program of the newest server that is installed is; `make test` installs one."""
    found = sorted(
        Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parents[1].name)
    )
    assert found, f"{name} is missing; run make test"
    return str(found[-1])


class Server:
    """A PostgreSQL server that ends with the context, or with the test's process. Everybody may log in as
    everybody without a password, but for members of LOCKED."""

    def __init__(self, **settings: object) -> None:
        """Create and start one, with these settings of `postgresql.conf` besides ours."""
        self.folder = private_folder("postgresql")
        self._data = self.folder / "data"
        self._log = self.folder / "log"
        self._settings = {
            "unix_socket_directories": "",
            "listen_addresses": "127.0.0.1",
            "fsync": "off",
            "max_connections": 200,
            **settings,
        }
        self._numbers = itertools.count(1)
        self._lifeline = Lifeline(_AT_THE_END, [str(self.folder), *self._control("stop", "-m", "immediate")])
        try:
            kind = ("--auth=trust", "--username=postgres", "--locale=C", "-E", "UTF8")
            self._run(unprivileged(program("initdb"), "--no-sync", *kind, "-D", str(self._data)))
            access = self._data / "pg_hba.conf"
            access.write_text(f"host all +{LOCKED} all scram-sha-256\n{access.read_text()}")
            self._start_somewhere()
            self.execute(f"CREATE ROLE {LOCKED}")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End it, and remove all it has written."""
        self.thaw()
        self._lifeline.cut()

    def create_database(self, options: LiteralString = "") -> Secret:
        """Create an empty database, with these options of CREATE DATABASE; its URL."""
        name = f"state_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} {options}")
        return self.url(name)

    @contextmanager
    def database(self) -> Iterator[Secret]:
        """The URL of an empty database that is gone after the context, whoever still uses it."""
        url = self.create_database()
        try:
            yield url
        finally:
            self.execute(f"DROP DATABASE {url.reveal().rpartition('/')[2]} WITH (FORCE)")

    def url(self, database: str, *, user: str = "postgres", port: int | None = None) -> Secret:
        """The URL of a database; a relay or a pooler before it has another `port`."""
        return Secret(f"postgresql://{user}@127.0.0.1:{port or self.port}/{database}")

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Execute a statement as superuser, outside a transaction, and return its rows."""
        with psycopg.connect(self.url(database).reveal(), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def start(self) -> None:
        """Start it again, on its port; returns once it answers."""
        options = [word for name, value in self._settings.items() for word in ("-c", f"{name}='{value}'")]
        command = " ".join([f"-p {self.port}", *options])
        self._run(self._control("start", "-w", "-l", str(self._log), "-o", command))

    def stop(self, *, immediate: bool = False) -> None:
        """Stop it, `immediate` without a word to anybody, as in a power cut."""
        # A client that connects meanwhile and says nothing, such as one that is frozen, holds the end up for
        # authentication_timeout, a minute; pg_ctl waits for no longer by itself.
        patience = ("-t", str(_PATIENCE_S))
        self._run(self._control("stop", *patience, "-m", "immediate" if immediate else "fast"))

    def restart(self, *, immediate: bool = False) -> None:
        """Stop it and start it again."""
        self.stop(immediate=immediate)
        self.start()

    def freeze(self) -> None:
        """Let none of its processes do anything, while the kernel still accepts connections for it."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let all go on."""
        self._signal(signal.SIGCONT)

    def become_standby(self) -> None:
        """Restart it as one that follows a primary, which never says anything."""
        self.stop()
        (self._data / "standby.signal").touch()
        self.start()

    def _start_somewhere(self) -> None:
        for attempt in itertools.count(1):
            self.port = steady_port()
            try:
                self.start()
            except AssertionError:
                if attempt == _ATTEMPTS or "could not bind" not in self._log.read_text():
                    raise
            else:
                return

    def _control(self, verb: str, *arguments: str) -> list[str]:
        return unprivileged(program("pg_ctl"), verb, "-D", str(self._data), *arguments)

    def _run(self, command: list[str]) -> None:
        # Its output goes to a file: the server inherits it, and a pipe would not end.
        said = self.folder / "said"
        with said.open("w") as output:
            done = subprocess.run(command, cwd=self.folder, stdout=output, stderr=output)
        log = self._log.read_text() if self._log.exists() else ""
        assert done.returncode == 0, f"{command}:\n{said.read_text()}\n{log}"

    def _signal(self, which: signal.Signals) -> None:
        with suppress(FileNotFoundError, ProcessLookupError):
            first = int((self._data / "postmaster.pid").read_text().split()[0])
            # The first one before its children, since it would start others.
            os.kill(first, which)
            for child in Path(f"/proc/{first}/task/{first}/children").read_text().split():
                with suppress(ProcessLookupError):
                    os.kill(int(child), which)
