"""The web configuration file over real connections: TLS, client certificates, users, headers, rate limit, and
what happens when it changes or breaks while the exporter runs."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import bcrypt
import httpx
import pytest
import yaml
from playwright.async_api import Response, expect

from exporter.app import App
from exporter.config import load_config
from exporter.store import open_database
from exporter.web.lock.tls import checked
from exporter.web.server import bound_address, listen
from exporter.web.serving import serving
from support.browser import chromium, visit
from support.certificates import Certificate, authority, signed_by
from support.prometheus import prometheus, query, tool
from support.running import write_config

PASSWORD = "dave123"
USERS = {"dave": bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()}
PAIR = {"cert_file": "server.pem", "key_file": "server.key"}
VERIFIED = {**PAIR, "client_auth_type": "RequireAndVerifyClientCert", "client_ca_file": "ca.pem"}
CLOSED = [
    "/",
    "/metrics",
    "/generations/x",
    "/api/v1/generations",
    "/static/page.css",
    "/api/v1/openapi.json",
]


@dataclass(frozen=True)
class Locked:
    """An exporter with a web configuration that may be rewritten. `address` is host and port."""

    folder: Path
    address: str
    webhook_address: str
    ca: Certificate

    def write(self, **sections: object) -> None:
        """Replace the web configuration."""
        (self.folder / "web.yml").write_text(yaml.safe_dump(sections))

    def trust(self, client: Certificate | None = None) -> ssl.SSLContext:
        """What a client needs: the authority, and a certificate of its own if it has one."""
        context = ssl.create_default_context(cafile=str(self.ca.cert))
        if client is not None:
            context.load_cert_chain(client.cert, client.key)
        return context

    async def get(self, path: str = "/-/ready", client: Certificate | None = None, **more: str) -> int:
        """The status of one request over TLS, on a connection of its own."""
        auth = (more["user"], more["password"]) if more else None
        async with httpx.AsyncClient(verify=self.trust(client), timeout=60) as http:
            return (await http.get(f"https://{self.address}{path}", auth=auth)).status_code

    async def plain(self, path: str, **settings: object) -> httpx.Response:
        """The answer to one request without TLS."""
        async with httpx.AsyncClient(timeout=60) as http:
            return await http.get(f"http://{self.address}{path}", **settings)  # type: ignore[arg-type]


@asynccontextmanager
async def locked(
    folder: Path, *, external_url: str = "", route_prefix: str | None = None, **sections: object
) -> AsyncIterator[Locked]:
    ca = authority(folder)
    signed_by(ca, folder, "server")
    (folder / "web.yml").write_text(yaml.safe_dump(sections))
    (folder / "webhook.secret").write_text("whsec_of_the_lock")
    account = {
        "name": "studio",
        "api_key": "vvx_live_none",
        "base_url": "http://127.0.0.1:9",
        "webhook_secret_file": "webhook.secret",
    }
    config = load_config(write_config(folder, [account]))
    where = serving(external_url, route_prefix, checked(folder / "web.yml"))
    app = App(config, open_database(config.state_at, owner=True), serving=where)
    listener, outside, stop = listen("127.0.0.1:0"), listen("127.0.0.1:0"), asyncio.Event()
    running = asyncio.create_task(app.run([listener], stop, [outside]))
    ready = asyncio.create_task(app.ready.wait())
    try:
        await asyncio.wait({running, ready}, return_when=asyncio.FIRST_COMPLETED)
        yield Locked(folder, bound_address(listener), bound_address(outside), ca)
    finally:
        stop.set()
        ready.cancel()
        await running


async def test_tls_is_spoken_and_plain_http_is_not(tmp_path: Path) -> None:
    async with locked(tmp_path, tls_server_config=PAIR) as at:
        assert await at.get() == 200
        with pytest.raises(httpx.TransportError):
            await at.plain("/-/ready")


async def test_a_certificate_is_asked_for_and_verified(tmp_path: Path) -> None:
    async with locked(tmp_path, tls_server_config=VERIFIED) as at:
        assert await at.get(client=signed_by(at.ca, tmp_path, "client")) == 200
        with pytest.raises(httpx.TransportError):
            await at.get()
        (tmp_path / "other").mkdir()
        stranger = signed_by(authority(tmp_path / "other"), tmp_path / "other", "client")
        with pytest.raises(httpx.TransportError):
            await at.get(client=stranger)


@pytest.mark.parametrize(
    "name", ["DNS:robot.example", "email:robot@example.org", "IP:10.0.0.7", "URI:spiffe://robot"]
)
async def test_only_names_that_are_allowed_get_in(tmp_path: Path, name: str) -> None:
    allowed = {**VERIFIED, "client_allowed_sans": [name.partition(":")[2]]}
    async with locked(tmp_path, tls_server_config=allowed) as at:
        assert await at.get(client=signed_by(at.ca, tmp_path, "robot", name)) == 200
        with pytest.raises(httpx.TransportError):
            await at.get(client=signed_by(at.ca, tmp_path, "other", "DNS:other.example"))


async def test_certificate_and_authority_are_changed_while_it_runs(tmp_path: Path) -> None:
    async with locked(tmp_path, tls_server_config=VERIFIED) as at:
        client = signed_by(at.ca, tmp_path, "client")
        assert await at.get(client=client) == 200
        (tmp_path / "new").mkdir()
        new = authority(tmp_path / "new")
        renewed = signed_by(new, tmp_path / "new", "server")
        (tmp_path / "server.pem").write_bytes(renewed.cert.read_bytes())
        (tmp_path / "server.key").write_bytes(renewed.key.read_bytes())
        with pytest.raises(httpx.TransportError):
            await at.get(client=client)  # which trusts the old authority
        (tmp_path / "ca.pem").write_bytes(new.cert.read_bytes())
        assert await at.get(client=signed_by(new, tmp_path / "new", "client")) == 200
        with pytest.raises(httpx.TransportError):
            await at.get(client=client)  # whom the new authority does not know


async def test_a_disk_that_is_full_does_not_end_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with locked(tmp_path, tls_server_config=PAIR) as at:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
        assert await at.get() == 200


async def test_certificates_are_asked_for_from_when_the_file_says_so(tmp_path: Path) -> None:
    async with locked(tmp_path, tls_server_config=PAIR) as at:
        assert await at.get() == 200
        at.write(tls_server_config=VERIFIED)
        with pytest.raises(httpx.TransportError):
            await at.get()
        assert await at.get(client=signed_by(at.ca, tmp_path, "client")) == 200
        at.write(tls_server_config=PAIR)
        assert await at.get() == 200


async def test_a_broken_file_fails_handshakes_until_it_is_mended(tmp_path: Path) -> None:
    async with locked(tmp_path, tls_server_config=PAIR) as at:
        (tmp_path / "web.yml").write_text("junk: 1\n")
        with pytest.raises(httpx.TransportError):
            await at.get()
        at.write(tls_server_config=PAIR)
        assert await at.get() == 200


async def test_a_broken_file_answers_500_until_it_is_mended(tmp_path: Path) -> None:
    async with locked(tmp_path, basic_auth_users=USERS) as at:
        (tmp_path / "web.yml").write_text("junk: 1\n")
        for path in ("/", "/metrics", "/-/ready"):
            answer = await at.plain(path)
            assert (answer.status_code, answer.text) == (500, "Internal Server Error\n")
        at.write(basic_auth_users=USERS)
        assert (await at.plain("/metrics", auth=("dave", PASSWORD))).status_code == 200


async def test_users_are_asked_for_but_where_a_request_says_who_it_is(tmp_path: Path) -> None:
    async with locked(tmp_path, basic_auth_users=USERS) as at, httpx.AsyncClient(timeout=60) as http:
        for path in CLOSED:
            answer = await at.plain(path)
            assert answer.status_code == 401, path
            assert answer.headers["WWW-Authenticate"] == "Basic"
        assert (await http.post(f"http://{at.address}/-/reload")).headers.get("WWW-Authenticate") == "Basic"
        for path in ("/", "/metrics", "/api/v1/generations"):
            assert (await at.plain(path, auth=("dave", PASSWORD))).status_code == 200
        for path in ("/-/healthy", "/-/ready"):
            assert (await at.plain(path)).status_code == 200
        registered = await http.post(f"http://{at.address}/api/v1/generations", json={"generations": []})
        assert registered.status_code == 403  # by registration itself, which is off
        delivered = await http.post(f"http://{at.webhook_address}/webhooks/studio", content=b"{}")
        assert delivered.headers.get("WWW-Authenticate") is None


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Basic"},
        {"Authorization": "Basic not-base64!"},
        {"Authorization": "Basic ZGF2ZQ=="},
        {"Authorization": "Bearer ZGF2ZTpkYXZlMTIz"},
        {"Authorization": "Basic " + "/" * 8},
    ],
)
async def test_nonsense_is_nobody(tmp_path: Path, headers: dict[str, str]) -> None:
    async with locked(tmp_path, basic_auth_users=USERS) as at:
        assert (await at.plain("/metrics", headers=headers)).status_code == 401


@pytest.mark.parametrize(
    ("user", "password"),
    [("dave", "dave124"), ("bad", PASSWORD), ("", ""), ("dave", "x" * 100)],
)
async def test_who_is_not_a_user_stays_out(tmp_path: Path, user: str, password: str) -> None:
    async with locked(tmp_path, basic_auth_users=USERS) as at:
        for _ in range(2):  # compared, and remembered
            assert (await at.plain("/metrics", auth=(user, password))).status_code == 401


async def test_guesses_do_not_make_a_right_password_be_compared_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[bytes] = []

    def compare(password: bytes, hashed: bytes) -> bool:
        compared.append(password)
        return password == PASSWORD.encode()

    monkeypatch.setattr("bcrypt.checkpw", compare)
    async with locked(tmp_path, basic_auth_users=USERS) as at:
        for password in (PASSWORD, *map(str, range(101)), PASSWORD):
            expected = 200 if password == PASSWORD else 401
            assert (await at.plain("/metrics", auth=("dave", password))).status_code == expected
    assert compared.count(PASSWORD.encode()) == 1


async def test_users_and_headers_are_changed_while_it_runs(tmp_path: Path) -> None:
    async with locked(tmp_path, basic_auth_users=USERS) as at:
        assert (await at.plain("/metrics", auth=("dave", PASSWORD))).status_code == 200
        changed = bcrypt.hashpw(b"another", bcrypt.gensalt(4)).decode()
        headers = {"Strict-Transport-Security": "max-age=60", "X-Frame-Options": "deny"}
        at.write(basic_auth_users={"dave": changed}, http_server_config={"headers": headers})
        refused = await at.plain("/metrics", auth=("dave", PASSWORD))
        assert refused.status_code == 401
        assert {name: refused.headers[name] for name in headers} == headers
        admitted = await at.plain("/metrics", auth=("dave", "another"))
        assert admitted.status_code == 200
        assert {name: admitted.headers[name] for name in headers} == headers


async def test_a_limit_answers_429_beyond_its_burst(tmp_path: Path) -> None:
    async with locked(tmp_path, rate_limit={"interval": "1h", "burst": 3}) as at:
        statuses = [(await at.plain("/-/ready")).status_code for _ in range(5)]
        assert statuses == [200, 200, 200, 429, 429]


async def test_webhooks_come_in_where_they_have_an_address_and_nothing_else_does(tmp_path: Path) -> None:
    async with locked(tmp_path) as at, httpx.AsyncClient(timeout=60) as http:
        assert (await http.post(f"http://{at.address}/webhooks/studio", content=b"{}")).status_code == 404
        delivered = await http.post(f"http://{at.webhook_address}/webhooks/studio", content=b"{}")
        assert delivered.status_code == 401  # it is not signed
        for path in ("/", "/metrics", "/-/healthy", "/-/ready", "/api/v1/generations"):
            assert (await http.get(f"http://{at.webhook_address}{path}")).status_code == 404


async def test_behind_a_proxy_routes_and_links_have_its_prefix(tmp_path: Path) -> None:
    async with locked(tmp_path, external_url="https://example.org/vivix/") as at:
        page = await at.plain("/vivix/")
        assert page.status_code == 200
        assert 'href="/vivix/static/page.css' in page.text
        assert 'href="/vivix/metrics"' in page.text
        assert 'action="/vivix/"' in page.text
        for path in ("/vivix/metrics", "/vivix/-/ready", "/vivix/api/v1/generations"):
            assert (await at.plain(path)).status_code == 200
        assert (await at.plain("/metrics")).status_code == 404
        assert (await at.plain("/")).headers["Location"] == "/vivix/"


async def test_behind_a_proxy_that_takes_the_prefix_off_only_links_have_it(tmp_path: Path) -> None:
    async with locked(tmp_path, external_url="https://example.org/vivix", route_prefix="/") as at:
        page = await at.plain("/")
        assert 'href="/vivix/static/page.css' in page.text
        assert (await at.plain("/metrics")).status_code == 200


async def test_with_a_prefix_the_same_requests_need_no_user(tmp_path: Path) -> None:
    async with locked(tmp_path, route_prefix="vivix", basic_auth_users=USERS) as at:
        assert (await at.plain("/vivix/-/ready")).status_code == 200
        assert (await at.plain("/vivix/metrics")).status_code == 401


async def test_a_real_prometheus_and_curl_get_in_with_certificate_and_password(tmp_path: Path) -> None:
    async with locked(tmp_path, tls_server_config=VERIFIED, basic_auth_users=USERS) as at:
        client = signed_by(at.ca, tmp_path, "prometheus")
        settings = {
            "scheme": "https",
            "basic_auth": {"username": "dave", "password": PASSWORD},
            "tls_config": {
                "ca_file": str(at.ca.cert), "cert_file": str(client.cert), "key_file": str(client.key),
            },
        }  # fmt: skip
        async with (
            prometheus(tmp_path, at.address, scrape=settings) as server,
            httpx.AsyncClient() as http,
            asyncio.timeout(60),
        ):
            while await query(http, server, "up") != {(at.address, "vivix"): 1}:
                await asyncio.sleep(0.2)
        curl = await asyncio.create_subprocess_exec(
            tool("curl"), "--silent", "--show-error", "--fail", "--cacert", str(at.ca.cert),
            "--cert", str(client.cert), "--key", str(client.key), "--user", f"dave:{PASSWORD}",
            f"https://{at.address}/metrics",
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        output, _ = await curl.communicate()
        assert curl.returncode == 0
        assert b"vivix_exporter_build_info" in output


def is_fetched(answer: Response) -> bool:
    """Whether a script asked for it."""
    return answer.request.resource_type == "fetch"


async def test_a_browser_gets_in_with_a_password_and_stays_up_to_date(tmp_path: Path) -> None:
    async with locked(tmp_path, tls_server_config=PAIR, basic_auth_users=USERS) as at:
        password = {"username": "dave", "password": PASSWORD}
        async with (
            chromium() as browser,
            visit(
                browser, f"https://{at.address}", http_credentials=password, ignore_https_errors=True
            ) as here,
        ):
            async with here.page.expect_response(
                lambda answer: answer.request.resource_type == "fetch"
            ) as again:
                await here.go("/")
                await expect(here.page.locator("h1")).to_have_text("What your generations are doing")
            assert (await again.value).status == 200
            here.assert_silent()
