"""What tests of replicas stand on: servers that end with us, and a network that can be cut."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest

from support.pgbouncer import PgBouncer
from support.postgresql import Server
from support.relay import Relay

SHORT = 0.2
"""Seconds in which nothing must come."""

HOLDER = """
import sys
from support.pgbouncer import PgBouncer
from support.postgresql import Server
# A server that stops waits for whoever has said only half of who they are: by default a minute.
with Server(authentication_timeout=5) as server, PgBouncer(server) as pooler:
    print(server.port, pooler.port, server.folder, flush=True)
    {what}
    sys.stdin.read()
"""


@contextmanager
def echo() -> Iterator[int]:
    """The port of a server that repeats what it is sent."""

    def repeat(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            while chunk := connection.recv(4096):
                connection.sendall(chunk)

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=repeat, args=[listener.accept()[0]], daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def silent(client: socket.socket) -> bool:
    client.settimeout(SHORT)
    try:
        return client.recv(1) is None
    except TimeoutError:
        return True
    finally:
        client.settimeout(60)


def test_a_relay_that_is_cut_passes_nothing_and_all_of_it_afterwards() -> None:
    with echo() as port, Relay(port) as relay:
        old = socket.create_connection(("127.0.0.1", relay.port), timeout=60)
        old.sendall(b"a")
        assert old.recv(9) == b"a"
        relay.cut()
        old.sendall(b"b")
        new = socket.create_connection(("127.0.0.1", relay.port), timeout=60)
        new.sendall(b"c")
        assert silent(old)
        assert silent(new)
        relay.mend()
        assert (old.recv(9), new.recv(9)) == (b"b", b"c")
        old.shutdown(socket.SHUT_WR)
        assert old.recv(9) == b""
        for client in (old, new):
            client.close()


def test_a_relay_that_refuses_resets_what_is_open_until_it_is_mended() -> None:
    with echo() as port, Relay(port) as relay:
        with socket.create_connection(("127.0.0.1", relay.port), timeout=60) as old:
            old.sendall(b"a")
            assert old.recv(9) == b"a"
            relay.refuse()
            with pytest.raises(ConnectionResetError):
                old.recv(9)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", relay.port))
        relay.mend()
        with socket.create_connection(("127.0.0.1", relay.port), timeout=60) as new:
            new.sendall(b"b")
            assert new.recv(9) == b"b"


def test_a_server_keeps_its_port_and_what_was_committed_through_stops_of_every_kind() -> None:
    with Server() as server:
        url = server.create_database()
        name = url.reveal().rpartition("/")[2]
        server.execute("CREATE TABLE kept (number int)", name)
        for immediate in (False, True):
            server.execute("INSERT INTO kept VALUES (1)", name)
            server.restart(immediate=immediate)
        with psycopg.connect(url.reveal()) as connection:
            assert connection.execute("SELECT count(*) FROM kept").fetchone() == (2,)
        server.freeze()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(url.reveal(), connect_timeout=2)
        server.thaw()
        assert server.execute("SELECT count(*) FROM kept", name) == [(2,)]
        server.become_standby()
        assert server.execute("SELECT pg_is_in_recovery()") == [(True,)]


def test_a_pooler_gives_a_connection_for_one_transaction(postgresql: Server) -> None:
    with postgresql.database() as url, PgBouncer(postgresql, size=1) as pooler:
        pooled = pooler.before(url).reveal()
        with psycopg.connect(pooled) as one, psycopg.connect(pooled) as other:
            asked = "SELECT pg_backend_pid()"
            first = one.execute(asked).fetchone()
            one.commit()
            assert other.execute(asked).fetchone() == first


@pytest.mark.parametrize("what", ["pass", "server.freeze()"], ids=["running", "frozen"])
def test_servers_end_with_a_test_process_that_is_killed(what: str) -> None:
    here = Path(__file__).parents[2]
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER.format(what=what)],
        cwd=here,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdin is not None
    *ports, folder = holder.stdout.readline().split()
    clients = [socket.create_connection(("127.0.0.1", int(port)), timeout=60) for port in ports]
    for client in clients:
        client.sendall(b"\0")  # PgBouncer accepts nobody who does not say anything
    os.kill(holder.pid, signal.SIGKILL)
    for client in clients:
        with suppress(ConnectionResetError):
            assert client.recv(1) == b""
        client.close()
    while Path(folder).exists():  # its lifeline removes it last
        os.sched_yield()
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", int(port)))
    holder.communicate()
