"""TLS as the web configuration says, with certificates, key and CA read again at each handshake."""

import ipaddress
import ssl
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from exporter.config.file import read_file
from exporter.errors import ConfigError
from exporter.web.conditions import Condition
from exporter.web.lock.file import WebConfigFile
from exporter.web.lock.schema import CIPHERS, CURVES, TlsSection

_MAX_PEM = 4 << 20
_VERSIONS = {
    "TLS10": ssl.TLSVersion.TLSv1,
    "TLS11": ssl.TLSVersion.TLSv1_1,
    "TLS12": ssl.TLSVersion.TLSv1_2,
    "TLS13": ssl.TLSVersion.TLSv1_3,
}
_NAMES = ("DNS", "email", "IP Address", "URI")


def context_of(tls: TlsSection, folder: Path) -> ssl.SSLContext:
    """Return a context with what the section and its files say now; paths start from `folder`. Raises
    ConfigError."""
    if not tls.enabled:
        raise ConfigError("TLS cannot be turned off while the exporter runs")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _load_certificate(context, tls, folder)
    _verify_clients(context, tls, folder)
    try:
        _choose(context, tls)
    except (ssl.SSLError, ValueError) as error:
        raise ConfigError(f"tls_server_config: {error}") from None
    return context


def checked(path: Path | None) -> WebConfigFile | None:
    """Return a file that an exporter can start with, None where none is named. Raises ConfigError."""
    if path is None:
        return None
    file = WebConfigFile(path)
    config = file.check()
    if config.tls_server_config.enabled:
        try:
            context_of(config.tls_server_config, path.absolute().parent)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from None
    return file


def _load_certificate(context: ssl.SSLContext, tls: TlsSection, folder: Path) -> None:
    cert_text = "" if tls.cert_file else tls.cert
    key_text = "" if tls.key_file or tls.key is None else tls.key.reveal()
    try:
        with _named(cert_text) as inline_cert, _named(key_text) as inline_key:
            cert = inline_cert or _file(folder, tls.cert_file, "cert_file")
            key = inline_key or _file(folder, tls.key_file, "key_file")
            context.load_cert_chain(cert, key, password=_refuse_encrypted)
    except (OSError, ValueError) as error:
        raise ConfigError(f"tls_server_config: certificate and key cannot be used: {error}") from None


@contextmanager
def _named(text: str) -> Iterator[Path | None]:
    """Give the path of a file that holds `text`, since Python takes certificates from files only; None for no
    text. It is of this process's user, and gone at once."""
    if not text:
        yield None
        return
    with tempfile.NamedTemporaryFile(prefix="vivix-exporter-") as file:
        file.write(text.encode())
        file.flush()
        yield Path(file.name)


def _refuse_encrypted() -> str:
    # A password would be asked for at the terminal.
    raise ValueError("the key is encrypted; give one without a passphrase, readable by the exporter alone")


def _verify_clients(context: ssl.SSLContext, tls: TlsSection, folder: Path) -> None:
    if not tls.asks_for_certificates:
        return
    required = tls.client_auth_type == "RequireAndVerifyClientCert"
    context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
    authorities = tls.client_ca.encode()
    if tls.client_ca_file:
        authorities = _text(folder, tls.client_ca_file, "client_ca_file")
    if not authorities:
        context.load_default_certs(ssl.Purpose.CLIENT_AUTH)
        return
    try:
        context.load_verify_locations(cadata=authorities.decode())
    except (ssl.SSLError, ValueError) as error:
        raise ConfigError(f"tls_server_config: the client CA cannot be used: {error}") from None


def _choose(context: ssl.SSLContext, tls: TlsSection) -> None:
    ciphers = [CIPHERS[name] for name in tls.cipher_suites]
    older = [name for name in ciphers if name is not None]
    minimum = tls.min_version if older or not ciphers else "TLS13"
    with warnings.catch_warnings():
        # Whoever asks for TLS 1.0 knows that it is old.
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = _VERSIONS[minimum]
        context.maximum_version = _VERSIONS[tls.max_version]
    if older:
        context.set_ciphers(":".join(older))
    elif tls.min_version in ("TLS10", "TLS11"):
        context.set_ciphers("DEFAULT:@SECLEVEL=0")  # OpenSSL 3 has them at no other level
    for curve in tls.curve_preferences:
        context.set_ecdh_curve(CURVES[curve])
    if not tls.prefer_server_cipher_suites:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE


def _text(folder: Path, name: str, key: str) -> bytes:
    try:
        return read_file(folder / name, _MAX_PEM)
    except ValueError as error:
        raise ConfigError(f"tls_server_config.{key}: {folder / name}: {error}") from None


def _file(folder: Path, name: str, key: str) -> Path:
    """Return the path of a file that can be read whole."""
    _text(folder, name, key)
    return folder / name


class _Renewed(ssl.SSLContext):
    """A context whose connections each begin with another one, made for them."""

    make: Callable[[], ssl.SSLContext]

    def wrap_bio(self, *args: Any, **settings: Any) -> ssl.SSLObject:
        return self.make().wrap_bio(*args, **settings)


class Tls:
    """TLS of a server whose file, certificates and CA may change at any time. `context` is for the server."""

    def __init__(self, file: WebConfigFile, broken: Condition) -> None:
        """`broken` is noted at each handshake that fails for what the files hold."""
        self._file = file
        self._broken = broken
        self.context = _Renewed(ssl.PROTOCOL_TLS_SERVER)
        self.context.make = self._fresh

    def _fresh(self) -> ssl.SSLContext:
        try:
            return context_of(self._file.read().tls_server_config, self._file.path.absolute().parent)
        except ConfigError as error:
            self._broken.note(error=str(error))
            return ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # has no certificate, so the handshake fails

    def admits(self, connection: ssl.SSLObject) -> bool:
        """Return whether the certificate of a client carries a name that is allowed, where names are."""
        try:
            allowed = self._file.read().tls_server_config.client_allowed_sans
        except ConfigError:
            return False
        return allowed is None or not set(allowed).isdisjoint(_names(connection.getpeercert() or {}))


def _names(certificate: Any) -> Iterator[str]:
    for kind, value in certificate.get("subjectAltName", ()):
        if kind == "IP Address":
            yield str(ipaddress.ip_address(value))
        elif kind in _NAMES:
            yield value
