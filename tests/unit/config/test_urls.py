"""URLs: what can be called is accepted, what cannot is refused."""

import httpx
import pytest
import yarl
from hypothesis import example, given
from hypothesis import strategies as st

from exporter.config.urls import check_base_url, check_state_url, check_trace_url


@pytest.mark.parametrize(
    "url",
    [
        "https://vivix-atelier.vercel.app",
        "http://localhost:9894",
        "http://api",
        "http://my_service:80/path/to",
        "http://[::1]:8080",
        "http://127.0.0.1",
        "https://example.com.",
        "https://bücher.example",
        "https://xn--bcher-kva.example",
        f"https://{'a' * 63}.example",
        "https://example.com/api",
        "HTTPS://Example.COM",
    ],
)
def test_addresses_that_can_be_called_are_accepted(url: str) -> None:
    assert check_base_url(url) == url


def test_slashes_at_the_end_are_left_off() -> None:
    assert check_base_url("https://example.com/vivix//") == "https://example.com/vivix"


@pytest.mark.parametrize("url", ["https://x/api/v1", "https://x/api/v1/", "https://x/proxy/api/v1"])
def test_a_base_url_that_ends_in_the_path_of_the_api_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="leave off /api/v1"):
        check_base_url(url)


urls = st.text() | st.text().map("http://{}".format) | st.from_regex(r"https?://[a-zé.:\[\]@%\d-]{1,80}/?")


@given(urls | st.text().map("http://localhost/{}".format))
@example("http://a。b")
@example("http://BÜCHER.example")
def test_any_text_is_a_url_that_the_client_takes_or_refused(text: str) -> None:
    for check in (check_base_url, check_trace_url, check_state_url):
        try:
            accepted = check(text)
        except ValueError:
            continue
        if check is check_base_url:
            assert yarl.URL(str(httpx.URL(f"{accepted}/api/v1/credits"))).host


def test_the_state_is_never_repeated_because_it_may_hold_a_password() -> None:
    for url in (
        "postgresql+x://user:hunter2@host/db",
        "postgresql:user:hunter2@h",
        "sqlite://hunter2",
        "mysql://u:hunter2@h",
    ):
        with pytest.raises(ValueError, match=r"^expected ") as refused:
            check_state_url(url)
        assert "hunter2" not in str(refused.value)


def test_other_braces_of_a_trace_url_are_left_alone() -> None:
    url = 'https://grafana.example/explore?left={"q":"{trace_id}"}'
    assert check_trace_url(url) == url
