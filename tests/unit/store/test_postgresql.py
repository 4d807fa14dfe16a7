"""The state on a real PostgreSQL: what refuses to open says why, and whose fault an error is."""

import itertools
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from queue import Queue
from urllib.parse import quote

import psycopg
import pytest
from sqlalchemy import Connection, func, insert, select, text

from exporter.config import Secret
from exporter.domain.ledger import Ledger
from exporter.errors import StateUnusableError, StoreError, UnstorableError
from exporter.store import Database, Transaction, deadline, migrations, open_database, schema, upsert
from exporter.store import postgresql as engine
from exporter.store.leases import LIFE
from support.lifeline import steady_port, unprivileged
from support.pgbouncer import PgBouncer
from support.postgresql import LOCKED, Server
from support.relay import Relay

OPENERS = 4
SECRET = "hunter2@/: ?%"
ROLES = itertools.count(1)

FIRST = "INSERT INTO meta VALUES ('kept', 'first')"
KEPT = select(schema.meta.c.value).where(schema.meta.c.key == "kept")
BACKEND = text("SELECT pg_backend_pid()")


@pytest.fixture
def url(postgresql: Server) -> Iterator[Secret]:
    with postgresql.database() as url:
        yield url


@pytest.fixture
def database(url: Secret) -> Iterator[Database]:
    with closing(open_database(url, owner=True)) as database:
        yield database


def name_of(url: Secret) -> str:
    return url.reveal().rpartition("/")[2]


def role(server: Server, options: str = "") -> str:
    """A new user without any rights of its own."""
    name = f"role_{next(ROLES)}"
    server.execute(f"CREATE ROLE {name} LOGIN {options}")
    return name


def as_user(server: Server, user: str, url: Secret) -> Secret:
    return server.url(name_of(url), user=user)


def refusal(at: Secret, *, owner: bool = True) -> str:
    """What the exporter says of a state that it cannot open."""
    with pytest.raises(StateUnusableError) as refused:
        open_database(at, owner=owner)
    return str(refused.value)


def write_first(connection: Connection) -> None:
    connection.execute(text(FIRST))


def execute(database: Database, statement: str) -> None:
    with database.begin() as connection:
        connection.execute(text(statement))


def failure(database: Database, work: Callable[[Connection], object]) -> StoreError:
    """What a transaction fails with that does this."""

    def transact() -> None:
        with database.begin() as connection:
            work(connection)

    with pytest.raises(StoreError) as failed:
        transact()
    assert str(failed.value).startswith(database.name)
    return failed.value


def outage(database: Database, work: Callable[[Connection], object] = write_first) -> str:
    """What a transaction fails with, which is not its own fault."""
    error = failure(database, work)
    assert not isinstance(error, UnstorableError)
    return str(error)


def kept(database: Database) -> str | None:
    with database.read() as connection:
        return connection.scalar(KEPT)


# Opening.


@pytest.mark.parametrize(
    "form",
    ["postgresql://{user}:{quoted}@127.0.0.1:{port}/{name}",
     "host=127.0.0.1 port={port} dbname={name} user={user} password='{password}'"],
    ids=["URL", "pairs"],
)  # fmt: skip
def test_a_password_opens_and_a_wrong_one_is_refused_without_being_shown(
    postgresql: Server, url: Secret, form: str
) -> None:
    user = role(postgresql, f"PASSWORD '{SECRET}' IN ROLE {LOCKED}")
    postgresql.execute("GRANT CREATE ON SCHEMA public TO PUBLIC", name_of(url))

    def at(password: str) -> Secret:
        return Secret(
            form.format(
                user=user,
                quoted=quote(password, safe=""),
                password=password,
                port=postgresql.port,
                name=name_of(url),
            )
        )

    open_database(at(SECRET), owner=True).close()
    said = refusal(at(f"{SECRET}+"))
    assert f'password authentication failed for user "{user}"' in said
    assert "hunter2" not in said
    assert "\n" not in said


def test_what_the_url_leaves_out_comes_from_where_libpq_finds_it(
    postgresql: Server, url: Secret, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = role(postgresql, f"PASSWORD '{SECRET}' IN ROLE {LOCKED}")
    postgresql.execute("GRANT CREATE ON SCHEMA public TO PUBLIC", name_of(url))
    passwords = tmp_path / "pgpass"
    passwords.write_text(f"127.0.0.1:{postgresql.port}:*:{user}:{SECRET.replace(':', chr(92) + ':')}\n")
    passwords.chmod(0o600)
    for name, value in {
        "PGHOST": "127.0.0.1",
        "PGPORT": str(postgresql.port),
        "PGUSER": user,
        "PGDATABASE": name_of(url),
        "PGPASSFILE": str(passwords),
    }.items():
        monkeypatch.setenv(name, value)
    with closing(open_database(Secret("postgresql://"), owner=True)) as database:
        assert database.name == f"postgresql://127.0.0.1:{postgresql.port}/{name_of(url)}"
    passwords.unlink()
    assert "no password supplied" in refusal(Secret("postgresql://"))


def test_a_server_is_known_by_its_certificate_where_the_url_asks_for_that(tmp_path: Path) -> None:
    with Server() as server:
        certificate, key = server.folder / "server.crt", server.folder / "server.key"
        made = unprivileged("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=state")
        made += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
        subprocess.run(made, check=True, capture_output=True, cwd=server.folder)
        trusted = tmp_path / "root.crt"
        trusted.write_bytes(certificate.read_bytes())
        for name, value in (("ssl_cert_file", certificate), ("ssl_key_file", key), ("ssl", "on")):
            server.execute(f"ALTER SYSTEM SET {name} = '{value}'")
        server.restart()
        url = server.create_database().reveal()
        at = Secret(f"{url}?sslmode=verify-full&sslrootcert={trusted}")
        with closing(open_database(at, owner=True)) as database, database.read() as connection:
            asked = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
            assert connection.exec_driver_sql(asked).scalar_one()
        elsewhere = Secret(at.reveal().replace("127.0.0.1", "localhost"))
        assert "does not match host name" in refusal(elsewhere)


def test_a_password_that_was_not_encoded_is_refused_without_being_shown(url: Secret) -> None:
    said = refusal(Secret(url.reveal().replace("postgres@", f"postgres:{SECRET}@")))
    assert "write %40 for @" in said
    assert "hunter2" not in said


def test_an_unknown_database_is_named(postgresql: Server) -> None:
    assert 'database "nowhere" does not exist' in refusal(postgresql.url("nowhere"))


def test_nobody_listening_is_said_with_the_place() -> None:
    port = steady_port()
    said = refusal(Secret(f"postgresql://postgres:hunter2@localhost:{port}/vivix"))
    assert said.startswith(f"postgresql://localhost:{port}/vivix: cannot open the state: ")
    assert "refused" in said
    assert "hunter2" not in said


def test_a_version_that_is_too_old_is_refused(postgresql: Server, url: Secret) -> None:
    # The server says its version to whoever has not put something else before its catalogue.
    postgresql.execute(
        "CREATE FUNCTION public.current_setting(name text) RETURNS text LANGUAGE sql AS "
        "$$ SELECT CASE name WHEN 'server_version_num' THEN '120022' WHEN 'server_version' THEN '12.22' "
        "ELSE pg_catalog.current_setting(name) END $$",
        name_of(url),
    )
    postgresql.execute(f"ALTER DATABASE {name_of(url)} SET search_path = public, pg_catalog")
    assert "PostgreSQL 12.22 is too old; use 13 or later" in refusal(url)


def test_an_encoding_that_cannot_hold_everything_is_refused(postgresql: Server) -> None:
    url = postgresql.create_database("ENCODING 'LATIN1' TEMPLATE template0")
    assert "has the encoding LATIN1; create one with ENCODING 'UTF8'" in refusal(url)


def test_a_user_who_may_not_create_tables_is_told_about_the_schema_command(
    postgresql: Server, url: Secret
) -> None:
    postgresql.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC", name_of(url))
    user = role(postgresql)
    said = refusal(as_user(postgresql, user, url))
    assert "permission denied for schema public" in said
    assert "`vivix-exporter schema`" in said
    open_database(url, owner=True).close()
    assert "permission denied for table meta" in refusal(as_user(postgresql, user, url))
    postgresql.execute(
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {user}", name_of(url)
    )
    with closing(open_database(as_user(postgresql, user, url), owner=True)) as database:
        execute(database, FIRST)


@pytest.mark.parametrize(
    ("grants", "options", "says"),
    [
        ("SELECT ON ALL TABLES IN SCHEMA public", "", "lacks the right to DELETE on admissions and"),
        ("SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public", "read-only", "are read-only here"),
    ],
)
def test_whoever_may_only_read_is_refused_before_anything_is_written(
    postgresql: Server, url: Secret, grants: str, options: str, says: str
) -> None:
    open_database(url, owner=True).close()
    user = role(postgresql)
    postgresql.execute(f"GRANT {grants} TO {user}", name_of(url))
    if options:
        postgresql.execute(f"ALTER ROLE {user} SET default_transaction_read_only = on")
    with (
        closing(open_database(as_user(postgresql, user, url), owner=False)) as database,
        pytest.raises(StateUnusableError, match=says),
    ):
        database.check_rights()


def test_an_empty_database_needs_somebody_who_may_create_tables(postgresql: Server, url: Secret) -> None:
    postgresql.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC", name_of(url))
    at = as_user(postgresql, role(postgresql), url)
    with (
        closing(open_database(at, owner=False, may_be_empty=True)) as database,
        pytest.raises(StateUnusableError, match="lacks the right to create tables; let another one run"),
    ):
        database.check_rights()
    with closing(open_database(url, owner=False, may_be_empty=True)) as database:
        database.check_rights()


def test_a_state_is_writable_again_only_once_every_table_is(
    postgresql: Server, url: Secret, database: Database
) -> None:
    user = role(postgresql)
    tables = "SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public"
    postgresql.execute(f"GRANT {tables} TO {user}", name_of(url))

    def prove(connection: Connection) -> None:
        Transaction(connection, Ledger((), 1, 1), traced=False).prove_writable(1)

    with closing(open_database(as_user(postgresql, user, url), owner=True)) as of_user:
        with of_user.begin() as connection:
            prove(connection)
        postgresql.execute(f"REVOKE UPDATE ON generations FROM {user}", name_of(url))
        assert "permission denied for table generations" in outage(of_user, prove)


def test_a_standby_can_be_read_and_not_owned() -> None:
    with Server() as server:
        url = server.create_database()
        with closing(open_database(url, owner=True)) as database:
            execute(database, FIRST)
        server.become_standby()
        said = refusal(url)
        assert "this server is a standby" in said
        assert "target_session_attrs=read-write" in said
        with closing(open_database(url, owner=False)) as reader:
            assert kept(reader) == "first"
            with pytest.raises(StoreError):
                execute(reader, "DELETE FROM meta")


def test_a_database_whose_transactions_are_read_only_can_be_read_and_not_owned(
    postgresql: Server, url: Secret
) -> None:
    open_database(url, owner=True).close()
    postgresql.execute(f"ALTER DATABASE {name_of(url)} SET default_transaction_read_only = on")
    assert "read-only here (default_transaction_read_only)" in refusal(url)
    open_database(url, owner=False).close()


OPENER = """
import sys
from exporter.config import Secret
from exporter.store import open_database
sys.stdin.readline()
open_database(Secret(sys.argv[1]), owner=True).close()
"""


@pytest.fixture(params=["directly", "through a pooler"])
def at(request: pytest.FixtureRequest, postgresql: Server, url: Secret) -> Iterator[Secret]:
    if request.param == "directly":
        yield url
    else:
        with PgBouncer(postgresql) as pooler:
            yield pooler.before(url)


def test_processes_that_open_an_empty_database_at_once_create_the_schema_once(
    postgresql: Server, url: Secret, at: Secret
) -> None:
    openers = [
        subprocess.Popen(
            [sys.executable, "-c", OPENER, at.reveal()],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(OPENERS)
    ]
    for opener in openers:
        assert opener.stdin is not None
        opener.stdin.write("now\n")
        opener.stdin.flush()
    said = [opener.communicate()[1] for opener in openers]
    assert [opener.returncode for opener in openers] == [0] * OPENERS, said
    assert postgresql.execute("SELECT key, value FROM meta", name_of(url)) == [
        ("schema_version", str(migrations.VERSION))
    ]


def test_whoever_opens_waits_while_another_changes_the_schema_however_long_that_takes(
    url: Secret, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = migrations.create
    short = 0.2

    def slowly(connection: Connection) -> None:
        connection.execute(select(func.pg_sleep(3 * short)))
        create(connection)

    monkeypatch.setattr(migrations, "create", slowly)
    monkeypatch.setattr(engine, "STATEMENT_SECONDS", short)
    monkeypatch.setattr(deadline, "ANSWER_SECONDS", short)
    with ThreadPoolExecutor() as threads:
        for opened in [threads.submit(open_database, url, owner=True) for _ in range(2)]:
            opened.result().close()


def test_a_busy_server_is_waited_for_at_the_start_and_for_less_long_once_accounts_may_be_lost(
    database: Database,
) -> None:
    with database.begin() as first, database.read() as later:
        waits = [one.connection.driver_connection.info.get_parameters() for one in (first, later)]  # type: ignore[union-attr]
    assert [one["connect_timeout"] for one in waits] == [
        str(engine.OPEN_SECONDS),
        str(engine.CONNECT_SECONDS),
    ]
    assert engine.CONNECT_SECONDS < LIFE < engine.OPEN_SECONDS


# Errors, and whose they are.


@pytest.mark.parametrize(
    ("statement", "values", "said"),
    [
        ("INSERT INTO meta VALUES ('schema_version', '1')", {}, "duplicate key"),
        ("INSERT INTO meta VALUES ('null', NULL)", {}, "null value"),
        ("INSERT INTO meta VALUES ('nul', :value)", {"value": "a\0b"}, "NUL"),
        ("INSERT INTO meta VALUES ('half', :value)", {"value": "\ud800"}, "surrogate"),
        ("INSERT INTO reservations VALUES ('a', :value, 1)", {"value": 1 << 64}, "out of range"),
        ("INSERT INTO reservations VALUES ('a', 1, :value)", {"value": 1 << 40}, "out of range"),
        ("INSERT INTO meta SELECT string_agg(md5(n::text), ''), '' FROM generate_series(1, 999) n", {},
         "index row requires"),
        ("SELECT 1 / 0", {}, "division by zero"),
        ("SELECT nothing", {}, "does not exist"),
        ("SELEC", {}, "syntax error"),
        ("SELECT (SELECT 1 UNION SELECT 2)", {}, "more than one row"),
    ],
)  # fmt: skip
def test_a_statement_that_is_refused_does_not_put_the_state_in_doubt(
    database: Database, statement: str, values: dict[str, object], said: str
) -> None:
    def work(connection: Connection) -> None:
        connection.execute(text(FIRST))
        connection.execute(text(statement), values)

    error = failure(database, work)
    assert isinstance(error, UnstorableError)
    assert said in str(error)
    assert kept(database) is None
    execute(database, FIRST)
    assert kept(database) == "first"


def test_a_right_that_was_taken_away_is_an_outage_until_it_is_granted_again(
    postgresql: Server, url: Secret
) -> None:
    open_database(url, owner=True).close()
    user = role(postgresql)
    rights = f"ALL ON ALL TABLES IN SCHEMA public {{}} {user}"
    postgresql.execute(f"GRANT {rights.format('TO')}", name_of(url))
    with closing(open_database(as_user(postgresql, user, url), owner=True)) as database:
        postgresql.execute(f"REVOKE {rights.format('FROM')}", name_of(url))
        assert "permission denied" in outage(database)
        postgresql.execute(f"GRANT {rights.format('TO')}", name_of(url))
        execute(database, FIRST)


def test_a_session_that_is_ended_is_an_outage_and_the_next_attempt_has_another(
    postgresql: Server, database: Database
) -> None:
    def work(connection: Connection) -> None:
        connection.execute(text(FIRST))
        postgresql.execute(f"SELECT pg_terminate_backend({connection.scalar(BACKEND)}, 60000)")
        connection.execute(text("DELETE FROM meta"))

    assert "terminating connection" in outage(database, work)
    assert kept(database) is None
    execute(database, FIRST)


def test_sessions_that_ended_while_they_were_idle_are_nobody_s_trouble() -> None:
    with Server() as server, closing(open_database(server.create_database(), owner=True)) as database:
        for number, immediate in enumerate((False, True)):
            with database.read(), database.read():
                pass
            server.restart(immediate=immediate)
            execute(database, f"INSERT INTO meta VALUES ('kept {number}', '')")
            with database.read() as one, database.read() as other:
                for connection in (one, other):
                    assert connection.scalar(text("SELECT count(*) FROM meta")) == 2 + number


def test_a_server_that_is_down_is_an_outage_until_it_is_up() -> None:
    with Server() as server, closing(open_database(server.create_database(), owner=True)) as database:
        for immediate in (False, True):
            server.stop(immediate=immediate)
            assert "refused" in outage(database)
            with pytest.raises(StoreError, match="refused"):
                kept(database)
            server.start()
            assert kept(database) is None
        execute(database, FIRST)


def test_a_server_that_stays_silent_is_an_outage_after_a_while_and_is_there_once_it_speaks(
    postgresql: Server, url: Secret
) -> None:
    with Relay(postgresql.port) as relay:
        at = postgresql.url(name_of(url), port=relay.port)
        with closing(open_database(at, owner=True)) as database:
            relay.cut()
            assert "did not answer within 5 s" in outage(database)
            assert "connection timeout expired" in outage(database)
            with pytest.raises(StoreError, match=r"timeout expired|did not answer"):
                kept(database)
            relay.mend()
            assert kept(database) is None
            execute(database, FIRST)
        relay.cut()
        assert "connection timeout expired" in refusal(at)


def test_a_transaction_whose_end_is_lost_on_the_way_is_not_ended_later(
    postgresql: Server, url: Secret, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Relay(postgresql.port) as relay:
        at = postgresql.url(name_of(url), port=relay.port)
        with closing(open_database(at, owner=True)) as database:
            backends = []

            def work(connection: Connection) -> None:
                connection.execute(text(FIRST))
                backends.append(connection.scalar(BACKEND))
                relay.cut()

            monkeypatch.setattr(deadline, "ANSWER_SECONDS", 0.5)
            assert "did not answer" in outage(database, work)
            until_gone(postgresql, backends[0])
            relay.mend()
            assert kept(database) is None


def test_a_transaction_cut_off_in_the_midst_of_many_rows_does_not_lock_them_for_long(
    postgresql: Server, url: Secret, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"key": f"{number}", "value": ""} for number in range(50_000)]
    backends: Queue[object] = Queue()

    def work(connection: Connection) -> None:
        backends.put(connection.scalar(BACKEND))
        connection.execute(upsert.insert(connection, schema.meta).on_conflict_do_nothing(), rows)

    monkeypatch.setattr(deadline, "ANSWER_SECONDS", 0.5)
    with Relay(postgresql.port) as relay, ThreadPoolExecutor() as threads:
        at = postgresql.url(name_of(url), port=relay.port)
        with closing(open_database(at, owner=True)) as database:
            failing = threads.submit(outage, database, work)
            pid = backends.get()
            sending = f"SELECT 1 FROM pg_stat_activity WHERE pid = {pid} AND query LIKE 'INSERT%'"
            while not postgresql.execute(sending):
                threading.Event().wait(0.01)
            relay.cut()
            until_gone(postgresql, pid)
            assert "did not answer" in failing.result()
            relay.mend()


def until_gone(server: Server, pid: object) -> None:
    """Return once a session has ended, as the server itself does with one whose client says nothing."""
    while server.execute(f"SELECT 1 FROM pg_stat_activity WHERE pid = {pid}"):
        threading.Event().wait(0.05)


def test_a_transaction_of_a_frozen_process_does_not_lock_its_rows_for_long(
    postgresql: Server, database: Database
) -> None:
    update = "UPDATE meta SET value = '{}' WHERE key = 'schema_version'"

    def freeze(connection: Connection) -> None:
        connection.execute(text(update.format("mine")))
        until_gone(postgresql, connection.scalar(BACKEND))
        execute(database, update.format("theirs"))

    assert "idle-in-transaction timeout" in outage(database, freeze)
    with database.read() as connection:
        assert connection.scalar(text("SELECT value FROM meta")) == "theirs"


def test_a_row_that_another_holds_is_an_outage_after_a_while(database: Database, url: Secret) -> None:
    with psycopg.connect(url.reveal()) as other:
        other.execute("UPDATE meta SET value = value")
        waiting = text("DELETE FROM meta")
        assert "statement timeout" in outage(database, lambda connection: connection.execute(waiting))


def test_a_server_that_is_no_longer_the_primary_is_left(database: Database) -> None:
    def demote(connection: Connection) -> None:
        backends.append(connection.scalar(BACKEND))
        connection.execute(text("SET LOCAL transaction_read_only = on"))
        connection.execute(text(FIRST))

    backends: list[object] = []
    assert "read-only transaction" in outage(database, demote)
    with database.begin() as connection:
        assert connection.scalar(BACKEND) not in backends


# What a session must not be counted upon for.


def test_a_reader_sees_one_moment_and_cannot_write(database: Database) -> None:
    with database.read() as connection:
        assert connection.scalar(KEPT) is None
        execute(database, FIRST)
        assert connection.scalar(KEPT) is None
    assert kept(database) == "first"
    with pytest.raises(StoreError, match="read-only transaction"), database.read() as connection:
        connection.execute(insert(schema.meta).values(key="more", value=""))


def test_states_that_share_one_connection_of_a_pooler_are_in_nobody_s_way(
    postgresql: Server, url: Secret
) -> None:
    with PgBouncer(postgresql, size=1) as pooler:
        at = pooler.before(url)
        with (
            closing(open_database(at, owner=True)) as one,
            closing(open_database(at, owner=True)) as other,
            ThreadPoolExecutor() as threads,
        ):

            def work(number: int) -> str | None:
                execute((one, other)[number % 2], f"INSERT INTO meta VALUES ('{number}', '')")
                return kept(one if number % 3 else other)

            assert set(threads.map(work, range(100))) == {None}
        with psycopg.connect(at.reveal(), autocommit=True) as client:
            # Nothing of what a transaction of ours sets is left for the next client.
            for setting in ("statement_timeout", "idle_in_transaction_session_timeout"):
                assert client.execute(f"SHOW {setting}".encode()).fetchone() == ("0",)
    assert postgresql.execute("SELECT count(*) FROM meta", name_of(url)) == [(101,)]


def test_a_pooler_whose_server_restarts_is_an_outage_that_ends() -> None:
    with Server() as server, PgBouncer(server) as pooler:
        at = pooler.before(server.create_database())
        with closing(open_database(at, owner=True)) as database:
            server.stop(immediate=True)
            outage(database)
            server.start()
            until_works(database)
        assert kept_by(at) == "first"


def until_works(database: Database) -> None:
    """Write once that works; a pooler finds out some time after its server does."""
    while True:
        try:
            execute(database, FIRST)
        except UnstorableError:
            raise
        except StoreError:
            threading.Event().wait(0.05)
        else:
            return


def kept_by(at: Secret) -> str | None:
    with closing(open_database(at, owner=False)) as reader:
        return kept(reader)
