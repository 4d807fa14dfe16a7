"""Connection strings of libpq: taken apart, and named without anything that is secret."""

import os
import re
from collections.abc import Mapping
from urllib.parse import quote

import psycopg
from psycopg.conninfo import conninfo_to_dict

_QUOTED = re.compile(r'".*"', re.DOTALL)
_SCHEMES = ("postgresql://", "postgres://")
_ENCODE = "in a URL, write %40 for @, %2F for / and %25 for % in a user's name or password"


def parameters(conninfo: str) -> Mapping[str, str]:
    """Return the parameters of a URL or of `key=value` pairs. Raises ValueError, whose text holds nothing of
    it."""
    if conninfo.startswith(_SCHEMES) and "@" in _place_of(conninfo.partition("://")[2]):
        # libpq would take a part of the password for the host or the database, which messages name.
        raise ValueError(f"there is more than one @; {_ENCODE}")
    try:
        return {key: str(value) for key, value in conninfo_to_dict(conninfo).items()}
    except psycopg.Error as error:
        # What libpq quotes is what it did not understand, which may be any part of a password.
        said = " ".join(_QUOTED.sub("…", str(error)).split())
        raise ValueError(f"{said}; {_ENCODE}") from None


def name_of(parts: Mapping[str, str]) -> str:
    """Return how messages name a database: where it is, and nothing else."""
    hosts = (parts.get("host") or parts.get("hostaddr") or os.environ.get("PGHOST", "")).split(",")
    ports = (parts.get("port") or os.environ.get("PGPORT", "")).split(",")
    name = parts.get("dbname") or os.environ.get("PGDATABASE", "")
    if len(ports) == 1:
        ports *= len(hosts)
    places = ",".join(_place(host, port) for host, port in zip(hosts, ports, strict=False))
    service = f"?service={parts['service']}" if "service" in parts else ""
    return f"postgresql://{places}/{name}{service}"


def _place_of(uri: str) -> str:
    """The host and the database, as libpq finds them in what follows the scheme."""
    authority, _, path = uri.partition("/")
    user, at, host = authority.partition("@")
    return f"{host if at else user}/{path}".partition("?")[0]


def _place(host: str, port: str) -> str:
    named = f"[{host}]" if ":" in host else quote(host)
    return f"{named}:{port}" if port else named
