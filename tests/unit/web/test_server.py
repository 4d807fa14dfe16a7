"""Addresses as people write them, and the error when one cannot be used."""

import errno
import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.errors import ConfigError, ListenError
from exporter.web.server import bound_address, listen, parse_address


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        (":9893", ("", 9893)),
        ("127.0.0.1:0", ("127.0.0.1", 0)),
        ("localhost:65535", ("localhost", 65_535)),
        ("[::1]:1", ("::1", 1)),
        ("[::]:80", ("::", 80)),
    ],
)
def test_an_address_is_a_host_and_a_port(address: str, parts: tuple[str, int]) -> None:
    assert parse_address(address) == parts


@pytest.mark.parametrize(
    "address",
    [
        "",
        ":",
        "9893",
        "localhost",
        "localhost:",
        ":x",
        ":-1",
        ":65536",
        ":" + "9" * 5_000,
        ":1.5",
        ": 1",
        ":٣",
        "[]:1",
        "[a]:1",
    ],
)
def test_a_malformed_address_is_refused_with_the_form_it_should_have(address: str) -> None:
    with pytest.raises(ConfigError, match=r"expected HOST:PORT or :PORT, such as :9893"):
        parse_address(address)


@pytest.mark.parametrize("address", ["::1:9893", "::1", "[::1:9893", "fe80::1]:80"])
def test_an_ipv6_address_without_brackets_is_refused_with_the_form_it_should_have(address: str) -> None:
    with pytest.raises(ConfigError, match=r"in brackets, such as \[::1\]:9893"):
        parse_address(address)


@given(st.text(alphabet=st.sampled_from("[]:.019azü \0-٣"), max_size=12))
def test_whatever_is_written_either_parses_or_is_a_configuration_error(address: str) -> None:
    try:
        _, port = parse_address(address)
    except ConfigError:
        return
    assert 0 <= port <= 65_535


def test_port_zero_takes_a_free_port() -> None:
    with listen("127.0.0.1:0") as listener:
        host, port = listener.getsockname()
        assert host == "127.0.0.1"
        assert port > 0
        assert bound_address(listener) == f"127.0.0.1:{port}"


def test_an_empty_host_is_every_interface_and_a_browser_finds_it_as_localhost() -> None:
    with listen(":0") as listener:
        port = listener.getsockname()[1]
        assert bound_address(listener) == f"localhost:{port}"
        with socket.create_connection(("127.0.0.1", port)):
            pass


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
def test_an_ipv6_address_is_shown_in_brackets() -> None:
    with listen("[::1]:0") as listener:
        assert bound_address(listener) == f"[::1]:{listener.getsockname()[1]}"


def test_a_taken_port_is_an_error_that_names_the_address() -> None:
    with listen("127.0.0.1:0") as listener:
        address = bound_address(listener)
        with pytest.raises(ListenError, match=f"cannot listen on {address}: "):
            listen(address)


def test_an_address_of_another_machine_is_an_error() -> None:
    with pytest.raises(ListenError, match=r"cannot listen on 192\.0\.2\.1:0: "):
        listen("192.0.2.1:0")


@pytest.mark.parametrize("host", ["ü..b", "ü" * 64, "a\0b"])
def test_a_host_that_no_machine_can_have_is_a_configuration_error(host: str) -> None:
    with pytest.raises(ConfigError, match="is not an address"):
        listen(f"{host}:0")


def test_every_interface_is_listened_on_also_where_there_is_no_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    bind = socket.socket.bind

    class WithoutIpv6(socket.socket):
        def bind(self, address: Any) -> None:
            if self.family == socket.AF_INET6:
                raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
            bind(self, address)

    monkeypatch.setattr("exporter.web.server.socket.socket", WithoutIpv6)
    with listen(":0") as listener:
        assert listener.getsockname()[0] == "0.0.0.0"
