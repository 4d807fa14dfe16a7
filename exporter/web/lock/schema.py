"""The schema of the web configuration file.

Fields, defaults and refusals are those of the toolkit, since people carry one such file from exporter to
exporter. What it can and Python cannot is refused by name.
"""

import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from exporter.clock import MICROS
from exporter.config.fields import InlineSecret
from exporter.config.schema import Section

CIPHERS: Mapping[str, str | None] = {
    "TLS_AES_128_GCM_SHA256": None,
    "TLS_AES_256_GCM_SHA384": None,
    "TLS_CHACHA20_POLY1305_SHA256": None,
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
}
"""Go's names of its secure cipher suites, and OpenSSL's; none for those of TLS 1.3, which are always on."""
CURVES = {"CurveP256": "prime256v1", "CurveP384": "secp384r1", "CurveP521": "secp521r1", "X25519": "X25519"}
"""Go's names and OpenSSL's."""
VERSIONS = ("TLS10", "TLS11", "TLS12", "TLS13")

_HEADERS: Mapping[str, tuple[str, ...]] = {
    "Strict-Transport-Security": (),
    "X-Content-Type-Options": ("nosniff",),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-XSS-Protection": (),
    "Content-Security-Policy": (),
}
_UNVERIFIED = ("RequestClientCert", "RequireAnyClientCert", "RequireClientCert")
_MAX_ITEMS = 1_000
# Go's time.ParseDuration.
_UNITS = {"ns": 1e-3, "us": 1, "µs": 1, "ms": 1_000, "s": MICROS, "m": 60 * MICROS, "h": 3_600 * MICROS}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")


def _one_of(names: Mapping[str, object] | tuple[str, ...], what: str) -> AfterValidator:
    def check(value: str) -> str:
        if value not in names:
            raise ValueError(f"unknown {what}; known are {', '.join(names)}")
        return value

    return AfterValidator(check)


def _interval(value: object) -> object:
    if value == 0:
        return 0
    if not isinstance(value, str):
        raise ValueError("expected a duration such as 1s or 100ms")
    if value != "0" and not re.fullmatch(rf"(?:{_PART.pattern})+", value):
        raise ValueError("expected a duration such as 1s or 100ms")
    return round(sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(value)))


def _auth_type(value: str) -> str:
    if value in _UNVERIFIED:
        raise ValueError(
            f"{value} asks for certificates without verifying them, which this exporter cannot do; use "
            "RequireAndVerifyClientCert or VerifyClientCertIfGiven"
        )
    known = ("", "NoClientCert", "VerifyClientCertIfGiven", "RequireAndVerifyClientCert")
    if value not in known:
        raise ValueError(f"unknown client_auth_type; expected one of {', '.join(known[1:])}")
    return value


def _curves(value: list[str]) -> list[str]:
    if len(value) > 1:
        raise ValueError("this exporter can offer one curve or all of them; name one, or leave this out")
    return value


def _header(value: dict[str, str]) -> dict[str, str]:
    for name, text in value.items():
        if name not in _HEADERS:
            raise ValueError(f"HTTP header {name!r} cannot be configured; known are {', '.join(_HEADERS)}")
        allowed = _HEADERS[name]
        if allowed and text not in allowed:
            raise ValueError(f"invalid value for {name}; expected one of {', '.join(allowed)}")
        if not text.isprintable() or not text.isascii():
            raise ValueError(f"invalid value for {name}; expected printable ASCII")
    return value


Version = Annotated[str, _one_of(VERSIONS, "TLS version")]


class TlsSection(Section):
    """TLS is on once a certificate, key, CA or auth type is given."""

    cert_file: str = ""
    key_file: str = ""
    cert: str = ""
    key: InlineSecret = None
    client_ca_file: str = ""
    client_ca: str = ""
    client_auth_type: Annotated[str, AfterValidator(_auth_type)] = ""
    client_allowed_sans: Annotated[list[str], Field(max_length=_MAX_ITEMS)] | None = None
    min_version: Version = "TLS12"
    max_version: Version = "TLS13"
    cipher_suites: Annotated[
        list[Annotated[str, _one_of(CIPHERS, "cipher")]], Field(max_length=_MAX_ITEMS)
    ] = Field(default_factory=list)
    curve_preferences: Annotated[list[Annotated[str, _one_of(CURVES, "curve")]], AfterValidator(_curves)] = (
        Field(default_factory=list)
    )
    prefer_server_cipher_suites: bool = True

    @property
    def enabled(self) -> bool:
        """Whether TLS is to be spoken."""
        names = ("cert_file", "key_file", "cert", "key", "client_ca_file", "client_ca", "client_auth_type")
        return any(getattr(self, name) for name in names)

    @property
    def asks_for_certificates(self) -> bool:
        return self.client_auth_type not in ("", "NoClientCert")

    @model_validator(mode="after")
    def _complete(self) -> "TlsSection":
        if not self.enabled:
            return self
        if not (self.cert_file or self.cert):
            raise ValueError("missing one of cert or cert_file")
        if not (self.key_file or self.key):
            raise ValueError("missing one of key or key_file")
        if (self.client_ca_file or self.client_ca) and not self.asks_for_certificates:
            raise ValueError("client CAs are configured without a client_auth_type that verifies")
        if self.client_allowed_sans is not None and self.client_auth_type != "RequireAndVerifyClientCert":
            raise ValueError("client_allowed_sans needs client_auth_type: RequireAndVerifyClientCert")
        if VERSIONS.index(self.min_version) > VERSIONS.index(self.max_version):
            raise ValueError("min_version is above max_version")
        return self


class Http(Section):
    """`http2` is accepted and means where possible, which is nowhere at present."""

    http2: bool = True
    headers: Annotated[dict[str, str], AfterValidator(_header)] = Field(default_factory=dict)


class RateLimit(Section):
    """One request each `interval` (microseconds) on average, `burst` at once; 0 is no limit."""

    interval: Annotated[int, BeforeValidator(_interval)] = 0
    burst: int = 0


class WebConfig(Section):
    """The whole file."""

    tls_server_config: TlsSection = TlsSection()
    http_server_config: Http = Http()
    rate_limit: RateLimit = RateLimit()
    basic_auth_users: dict[str, str] = Field(default_factory=dict)
