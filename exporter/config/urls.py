"""URLs that a configuration may hold, checked so far that a call to them can at least be tried."""

import ipaddress
import os
import re
from pathlib import Path, PurePosixPath
from urllib.parse import SplitResult, urlsplit

import idna

from exporter.config.secret import Secret

API_PATH = "/api/v1"
"""What the exporter itself adds to a base URL."""

_EXAMPLE = "https://vivix-atelier.vercel.app"
_MAX_URL = 2_048
_MAX_HOST = 253
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.IGNORECASE)
_POSTGRESQL = re.compile(r"postgres(ql)?[:+]")
_SQLITE = re.compile(r"sqlite:///([^?#]+)")
_TRACE_ID = "{trace_id}"


def check_base_url(value: str) -> str:
    """Return the address of an API without slashes at its end. Raises ValueError."""
    url = _http_url(value)
    if url.username is not None or "?" in value or "#" in value:
        raise ValueError("expected a URL without user, query and fragment")
    base = value.rstrip("/")
    if base.endswith(API_PATH):
        raise ValueError(f"leave off {API_PATH} at the end: the exporter adds it")
    return base


def check_trace_url(value: str) -> str:
    """Return a link with a place for a trace id. Raises ValueError."""
    if _TRACE_ID not in value:
        raise ValueError(f"expected a URL that holds {_TRACE_ID}")
    if _http_url(value.replace(_TRACE_ID, "0" * 32)).username is not None:
        raise ValueError("expected a URL without user: it is shown on pages")
    return value


def check_state_url(value: str) -> str:
    """Return the URL of a state. Raises ValueError, whose text never holds the URL: it may hold a
    password."""
    if _POSTGRESQL.match(value):
        return _check_postgresql(value)
    match = _SQLITE.fullmatch(value)
    if match is None or not value.isprintable() or PurePosixPath(match[1]).name in ("", "..", "."):
        raise ValueError(
            "expected sqlite:///RELATIVE/FILE, sqlite:////ABSOLUTE/FILE, or postgresql://USER@HOST/DATABASE"
        )
    if match[1].endswith("/"):
        raise ValueError("expected the name of a file, not of a folder")
    return value


def check_state_place(url: str, folder: Path) -> str:
    """Return a checked URL of a state again. Raises ValueError where a slash is missing: the file would be
    below `folder`, in folders that are not there, and are at the root."""
    at = state_at(url, folder)
    if isinstance(at, Path) and not url.startswith("sqlite:////"):
        top, *below = PurePosixPath(url.removeprefix("sqlite:///")).parts
        # Not Path.exists, which raises where a name is too long; whoever opens the state says so.
        if below and not os.path.exists(folder / top) and os.path.exists(Path("/", top)):
            raise ValueError(
                f"{url} is {at}, where there is no folder {top}; an absolute path takes four slashes: "
                f"sqlite:////{url.removeprefix('sqlite:///')}"
            )
    return url


def state_at(url: str, folder: Path) -> Path | Secret:
    """Return where a checked URL of a state leads: a SQLite file, relative to `folder`, or what libpq
    understands, which may hold a password."""
    return Secret(url) if _POSTGRESQL.match(url) else folder / url.removeprefix("sqlite:///")


def _check_postgresql(value: str) -> str:
    if len(value) > _MAX_URL or not value.isprintable() or any(map(str.isspace, value)):
        raise ValueError("expected a PostgreSQL URL of one line without white space")
    if value.startswith("postgresql+"):
        raise ValueError("expected postgresql://, without the name of a driver")
    if not value.startswith(("postgresql://", "postgres://")):
        raise ValueError("expected postgresql://USER@HOST/DATABASE")
    return value


def _http_url(value: str) -> SplitResult:
    if len(value) > _MAX_URL:
        raise ValueError(f"expected a URL of at most {_MAX_URL} characters")
    if not value.isprintable() or any(character.isspace() for character in value):
        raise ValueError("expected a URL without white space and control characters")
    try:
        url = urlsplit(value)
    except ValueError:
        raise ValueError(f"expected a URL such as {_EXAMPLE} or http://[::1]:8080") from None
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ValueError(f"expected a URL such as {_EXAMPLE}")
    try:
        usable = url.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("expected a port from 1 to 65535")
    _check_host(url.hostname, bracketed="[" in url.netloc)
    return url


def _check_host(host: str, *, bracketed: bool) -> None:
    """Raise ValueError for what is neither an IP address nor a name that can be looked up."""
    if bracketed:
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            raise ValueError("expected an IPv6 address between the brackets, such as [::1]") from None
        if "%" in host:
            raise ValueError("an IPv6 address with a zone is not supported")
        return
    name = host.removesuffix(".")
    try:
        if not name.isascii():
            name = idna.encode(name.lower()).decode()
        name.encode("idna")
    except UnicodeError:
        raise ValueError("the host is not a name that can be looked up") from None
    labels = name.split(".")
    if labels[-1].isdecimal():
        try:
            ipaddress.IPv4Address(name)
        except ValueError:
            raise ValueError("the host is not an IPv4 address, such as 127.0.0.1") from None
    if len(name) > _MAX_HOST or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError(
            "the host is not a name that can be looked up: expected labels of 1 to 63 letters, digits and '-'"
        )
