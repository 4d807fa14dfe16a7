"""Which web configurations are good and which are not: the cases of exporter-toolkit's tests, in our words,
and more. Files are named relative to the configuration."""

import ssl
from pathlib import Path
from typing import NamedTuple

import bcrypt
import pytest

from exporter.errors import ConfigError
from exporter.web.lock.file import WebConfigFile
from exporter.web.lock.schema import CIPHERS, CURVES
from exporter.web.lock.tls import checked, context_of
from support.certificates import authority, locked_with, signed_by

PAIR = "cert_file: server.pem, key_file: server.key"
HASH = bcrypt.hashpw(b"dave123", bcrypt.gensalt(4)).decode()


class Bad(NamedTuple):
    """A file that is refused, and words of the reason."""

    text: str
    reason: str


def tls(fields: str) -> str:
    return f"tls_server_config: {{{fields}}}\n"


GOOD = {
    "empty": "",
    "a comment alone": "# nothing yet\n",
    "a document of nothing": "---\n# nothing yet\n",
    "null": "null\n",
    "a certificate and its key": tls(PAIR),
    "no client certificates": tls(f"{PAIR}, client_auth_type: NoClientCert"),
    "client certificates, verified": tls(
        f"{PAIR}, client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.pem"
    ),
    "client certificates, verified if given": tls(
        f"{PAIR}, client_auth_type: VerifyClientCertIfGiven, client_ca_file: ca.pem"
    ),
    "verified by the system's authorities": tls(f"{PAIR}, client_auth_type: RequireAndVerifyClientCert"),
    "allowed names": tls(
        f"{PAIR}, client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.pem, "
        "client_allowed_sans: [a.example, b@example.org]"
    ),
    "all ciphers": tls(f"{PAIR}, cipher_suites: [{', '.join(CIPHERS)}]"),
    "one cipher": tls(f"{PAIR}, cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]"),
    "ciphers of TLS 1.3 alone": tls(f"{PAIR}, cipher_suites: [TLS_AES_128_GCM_SHA256]"),
    "ciphers in the client's order": tls(f"{PAIR}, prefer_server_cipher_suites: false"),
    **{f"the curve {curve}": tls(f"{PAIR}, curve_preferences: [{curve}]") for curve in CURVES},
    "TLS 1.3 alone": tls(f"{PAIR}, min_version: TLS13"),
    "old versions": tls(f"{PAIR}, min_version: TLS10, max_version: TLS12"),
    "no HTTP/2": f"{tls(PAIR)}http_server_config: {{http2: false}}\n",
    "HTTP/2 where possible": "http_server_config: {http2: true}\n",
    "headers": (
        "http_server_config: {headers: {Strict-Transport-Security: max-age=60, X-Frame-Options: deny, "
        "X-Content-Type-Options: nosniff, X-XSS-Protection: '1', "
        "Content-Security-Policy: default-src 'self'}}\n"
    ),
    "users": f"basic_auth_users: {{dave: {HASH}}}\n",
    "a limit": "rate_limit: {interval: 1s, burst: 5}\n",
    "a limit in parts": "rate_limit: {interval: 1m1.5s, burst: 5}\n",
    "no limit": "rate_limit: {interval: 0, burst: 0}\n",
}

BAD = {
    "not a mapping": Bad("junk", "expected keys such as `basic_auth_users:`"),
    "unknown section": Bad("tls_config: {}\n", "did you mean 'tls_server_config'?"),
    "unknown key": Bad(tls(f"{PAIR}, cert_fiel: x"), "did you mean 'cert_file'?"),
    "no certificate file": Bad(
        tls("cert_file: '', key_file: server.key"), "missing one of cert or cert_file"
    ),
    "no certificate": Bad(tls("cert: '', key_file: server.key"), "missing one of cert or cert_file"),
    "no key file": Bad(tls("cert_file: server.pem, key_file: ''"), "missing one of key or key_file"),
    "no key": Bad(tls("cert_file: server.pem"), "missing one of key or key_file"),
    "an auth type alone": Bad(tls("client_auth_type: NoClientCert"), "missing one of cert or cert_file"),
    "certificate that is not there": Bad(tls("cert_file: no.pem, key_file: server.key"), "No such file"),
    "key that is not there": Bad(tls("cert_file: server.pem, key_file: no.key"), "No such file"),
    "key of another certificate": Bad(
        tls("cert_file: server.pem, key_file: ca.key"), "certificate and key cannot be used"
    ),
    "certificate that is none": Bad(
        tls("cert_file: web.yml, key_file: server.key"), "certificate and key cannot be used"
    ),
    "certificate and key the wrong way round": Bad(
        tls("cert_file: server.key, key_file: server.pem"), "certificate and key cannot be used"
    ),
    "a key with a passphrase": Bad(
        tls("cert_file: server.pem, key_file: locked.key"), "the key is encrypted"
    ),
    "CA without a policy": Bad(tls(f"{PAIR}, client_ca_file: ca.pem"), "without a client_auth_type"),
    "CA inline without a policy": Bad(tls(f"{PAIR}, client_ca: x"), "without a client_auth_type"),
    "CA that is not there": Bad(
        tls(f"{PAIR}, client_auth_type: RequireAndVerifyClientCert, client_ca_file: no.pem"), "No such file"
    ),
    "CA that holds no certificate": Bad(
        tls(f"{PAIR}, client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.key"),
        "cannot be used",
    ),
    "CA inline that is none": Bad(
        tls(f"{PAIR}, client_auth_type: RequireAndVerifyClientCert, client_ca: not PEM"), "cannot be used"
    ),
    "neither certificate nor key": Bad(
        tls("cert_file: '', key_file: '', client_auth_type: x"), "unknown client_auth_type"
    ),
    "a password instead of its hash, beside TLS": Bad(
        f"{tls(PAIR)}basic_auth_users: {{dave: dave123}}\n", "expected a bcrypt hash"
    ),
    "unknown policy": Bad(tls(f"{PAIR}, client_auth_type: Whoever"), "unknown client_auth_type"),
    "names without certificates": Bad(
        tls(f"{PAIR}, client_allowed_sans: [a.example]"), "client_allowed_sans needs client_auth_type"
    ),
    "names with certificates that may be left out": Bad(
        tls(f"{PAIR}, client_auth_type: VerifyClientCertIfGiven, client_allowed_sans: [a.example]"),
        "client_allowed_sans needs client_auth_type",
    ),
    "certificates without verification": Bad(
        tls(f"{PAIR}, client_auth_type: RequireAnyClientCert"), "without verifying them"
    ),
    "the same by its old name": Bad(
        tls(f"{PAIR}, client_auth_type: RequireClientCert"), "without verifying them"
    ),
    "certificates on request": Bad(
        tls(f"{PAIR}, client_auth_type: RequestClientCert"), "without verifying them"
    ),
    "invented cipher": Bad(tls(f"{PAIR}, cipher_suites: [TLS_MADE_UP]"), "unknown cipher"),
    "insecure cipher": Bad(tls(f"{PAIR}, cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]"), "unknown cipher"),
    "invented curve": Bad(tls(f"{PAIR}, curve_preferences: [CurveP257]"), "unknown curve"),
    "several curves": Bad(tls(f"{PAIR}, curve_preferences: [CurveP256, CurveP384]"), "one curve or all"),
    "wrong version": Bad(tls(f"{PAIR}, min_version: TLS111"), "unknown TLS version"),
    "versions the wrong way round": Bad(
        tls(f"{PAIR}, min_version: TLS13, max_version: TLS12"), "min_version is above max_version"
    ),
    "a header that cannot be set": Bad("http_server_config: {headers: {Server: x}}\n", "cannot be"),
    "wrong X-Content-Type-Options": Bad(
        "http_server_config: {headers: {X-Content-Type-Options: sniff}}\n", "invalid value for"
    ),
    "wrong X-Frame-Options": Bad(
        "http_server_config: {headers: {X-Frame-Options: maybe}}\n", "invalid value for"
    ),
    "a header in two lines": Bad(
        'http_server_config: {headers: {X-XSS-Protection: "1\\r\\nX: y"}}\n', "invalid value for"
    ),
    "a password instead of its hash": Bad("basic_auth_users: {dave: dave123}\n", "expected a bcrypt hash"),
    "an interval without a unit": Bad("rate_limit: {interval: 5}\n", "expected a duration"),
    "a list of users": Bad("basic_auth_users: [dave]\n", "expected a mapping"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("lock")
    locked_with(signed_by(authority(made), made, "server").key, made / "locked.key", "a passphrase")
    return made


def written(folder: Path, text: str) -> Path:
    path = folder / "web.yml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("text", GOOD.values(), ids=GOOD)
def test_a_good_file_is_taken(folder: Path, text: str) -> None:
    file = checked(written(folder, text))
    assert file is not None
    section = file.read().tls_server_config
    assert section.enabled == text.startswith("tls_server_config")
    if section.enabled:
        assert isinstance(context_of(section, folder), ssl.SSLContext)


@pytest.mark.parametrize("case", BAD.values(), ids=BAD)
def test_a_bad_file_is_refused_with_the_reason(folder: Path, case: Bad) -> None:
    path = written(folder, case.text)
    with pytest.raises(ConfigError, match=case.reason.replace("?", r"\?")) as refused:
        checked(path)
    assert str(refused.value).startswith(str(path))


def test_a_certificate_and_a_key_may_stand_in_the_file_itself(folder: Path) -> None:
    def indented(name: str) -> str:
        return "\n".join(f"    {line}" for line in (folder / name).read_text().splitlines())

    text = f"tls_server_config:\n  cert: |\n{indented('server.pem')}\n  key: |\n{indented('server.key')}\n"
    file = checked(written(folder, text))
    assert file is not None
    assert "PRIVATE KEY" not in repr(file.read())


def test_where_no_file_can_be_made_a_certificate_in_the_file_itself_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(folder / "nowhere"))
    with pytest.raises(ConfigError, match=r"certificate and key cannot be used: .*No such file"):
        checked(written(folder, tls("cert: x, key: y")))


def test_a_file_that_is_not_there_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        checked(folder / "somefile")


def test_no_file_is_no_lock() -> None:
    assert checked(None) is None


def test_what_a_file_says_changes_with_it_and_comes_back(folder: Path) -> None:
    file = WebConfigFile(written(folder, f"basic_auth_users: {{dave: {HASH}}}\n"))
    assert list(file.read().basic_auth_users) == ["dave"]
    written(folder, "junk: 1\n")
    for _ in range(2):
        with pytest.raises(ConfigError, match="unknown key"):
            file.read()
    written(folder, f"basic_auth_users: {{anna: {HASH}}}\n")
    assert list(file.read().basic_auth_users) == ["anna"]
