import hashlib
import hmac

import pytest

from exporter.simulator.webhooks import MOST_ENDPOINTS, Endpoint, Endpoints, headers, signature

HOOK = Endpoint("https://example.org/hook", "whsec")


def test_a_signature_is_the_hmac_of_the_raw_body() -> None:
    digest = hmac.new(b"whsec", b'{"a":1}', hashlib.sha256).hexdigest()
    assert signature("whsec", b'{"a":1}') == f"sha256={digest}"
    assert signature("whsec", b'{"a": 1}') != signature("whsec", b'{"a":1}')
    assert signature("other", b'{"a":1}') != signature("whsec", b'{"a":1}')


def test_an_attempt_has_the_documented_headers() -> None:
    assert headers("generation.completed", "one", "sha256=00") == {
        "Content-Type": "application/json",
        "User-Agent": "Vivix-Webhook/1.0",
        "X-Vivix-Signature": "sha256=00",
        "X-Vivix-Event": "generation.completed",
        "X-Vivix-Delivery-Id": "one",
    }
    assert "X-Vivix-Signature" not in headers("generation.completed", "one", None)


def test_an_account_has_the_endpoints_that_were_set_last() -> None:
    endpoints = Endpoints(["studio", "shop"])
    endpoints.set("studio", [HOOK] * MOST_ENDPOINTS)
    endpoints.set("studio", [HOOK])
    assert (endpoints.of("studio"), endpoints.of("shop")) == ((HOOK,), ())
    assert endpoints.urls() == {"studio": [HOOK.url], "shop": []}


def test_too_many_endpoints_or_an_unknown_account_are_refused() -> None:
    endpoints = Endpoints(["studio"])
    with pytest.raises(ValueError, match="more than 5"):
        endpoints.set("studio", [HOOK] * (MOST_ENDPOINTS + 1))
    with pytest.raises(ValueError, match="no account 'nobody': there are studio"):
        endpoints.set("nobody", [HOOK])
    assert endpoints.of("studio") == ()


@pytest.mark.parametrize(
    "url", ["", "example.org", "ftp://example.org/", "http://", "http://[::1", "http://example.org:port/"]
)
def test_what_is_no_http_url_is_no_endpoint(url: str) -> None:
    with pytest.raises(ValueError, match="is not the URL of a webhook"):
        Endpoint(url, "whsec")


def test_a_secret_is_needed_and_not_shown() -> None:
    with pytest.raises(ValueError, match="is empty"):
        Endpoint(HOOK.url, "")
    assert "whsec" not in repr(HOOK)
