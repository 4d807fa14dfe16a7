"""Certificates for tests, made by OpenSSL's own command."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from support.prometheus import tool

LOCAL = "DNS:localhost,IP:127.0.0.1"


def _openssl(*arguments: str) -> None:
    subprocess.run([tool("openssl"), *arguments], check=True, capture_output=True)


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key, as files."""

    cert: Path
    key: Path


def authority(folder: Path, name: str = "ca") -> Certificate:
    """A new authority that signs certificates."""
    made = Certificate(folder / f"{name}.pem", folder / f"{name}.key")
    _openssl(
        "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
        "-subj", f"/CN={name}", "-keyout", str(made.key), "-out", str(made.cert),
        "-addext", "keyUsage=critical,keyCertSign,cRLSign",
    )  # fmt: skip
    return made


def signed_by(
    ca: Certificate, folder: Path, name: str, sans: str = "DNS:localhost,IP:127.0.0.1"
) -> Certificate:
    """A certificate of an authority, for a server or a client with these names."""
    made, request = Certificate(folder / f"{name}.pem", folder / f"{name}.key"), folder / f"{name}.csr"
    extensions = folder / f"{name}.ext"
    extensions.write_text(f"subjectAltName={sans}\n")
    _openssl(
        "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
        "-keyout", str(made.key), "-out", str(request),
    )  # fmt: skip
    _openssl(
        "x509", "-req", "-in", str(request), "-CA", str(ca.cert), "-CAkey", str(ca.key), "-CAcreateserial",
        "-days", "2", "-extfile", str(extensions), "-out", str(made.cert),
    )  # fmt: skip
    return made


def locked_with(key: Path, locked: Path, passphrase: str) -> None:
    """Store a key once more, encrypted."""
    _openssl("pkcs8", "-topk8", "-in", str(key), "-out", str(locked), "-passout", f"pass:{passphrase}")
