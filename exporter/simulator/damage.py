"""Damaged bodies: pure functions from a right answer to one that a client must survive.

Damage never replaces a value by another plausible one, so a client that ignores invalid fields arrives at
the truth.
"""

import json
from random import Random

from exporter.simulator.answers import Body

UNDOCUMENTED_STATUS = "moderating"

OVERSIZED_BYTES = 1_300_000
"""More than 1 MiB."""

HTML = (
    b"<!DOCTYPE html><html><head><title>Error</title></head>"
    b"<body><h1>This Serverless Function has crashed.</h1></body></html>"
)

_INVALID_STATUSES: tuple[object, ...] = (None, 3, -1.5, True, ["completed"], {"name": "completed"}, "")


def _retyped(value: object, rng: Random) -> object:
    """Return `value` as another type."""
    if isinstance(value, str):
        return rng.choice([7, [value], {"value": value}, True])
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int | float):
        return rng.choice([f"about {value}", [value], {"value": value}, False])
    if isinstance(value, list):
        return rng.choice(["", 0, {"items": value}])
    return rng.choice(["", 0, [value]])


def wrong_types(body: Body, rng: Random, ended: bool = False) -> object:
    """Return `body` with fields retyped, null, missing or new; where `ended`, without a valid status."""
    if ended:
        return _without_status(body, rng)
    damaged = dict(body)
    for name in rng.sample(sorted(body), k=min(rng.randint(1, 3), len(body))):
        match rng.randrange(3):
            case 0:
                damaged[name] = None
            case 1:
                del damaged[name]
            case _:
                damaged[name] = _retyped(body[name], rng)
    if rng.random() < 0.5:
        damaged["x_new_field"] = {"nested": [1, None, "two"]}
    return damaged


def _without_status(body: Body, rng: Random) -> object:
    match rng.randrange(4):
        case 0:
            return [body]
        case 1:
            return {name: value for name, value in body.items() if name != "status"}
        case _:
            return {**body, "status": rng.choice(_INVALID_STATUSES)}


def undocumented_status(body: Body) -> Body:
    """Return `body` with a status that the documentation does not list."""
    return {**body, "status": UNDOCUMENTED_STATUS}


def oversized(body: Body) -> Body:
    """Return `body` padded to an excessive size."""
    return {**body, "padding": "x" * OVERSIZED_BYTES}


def broken_json(body: Body, rng: Random) -> bytes:
    """Return bytes that are not JSON, or JSON that parsers refuse; never the content of `body`."""
    text = json.dumps(body).encode()
    return rng.choice(
        [
            b"",
            HTML,
            text[: len(text) // 2],
            text + b"}",
            b"\xff\xfe" + text,
            b"[" * 100_000,
            b'{"elapsed_ms": ' + b"9" * 5_000 + b"}",
            b'{"elapsed_ms": NaN}',
        ]
    )
