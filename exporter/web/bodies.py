"""Bodies of requests, read up to a limit. Their deadline is the connection's (`exporter.web.limits`)."""

from starlette.requests import ClientDisconnect, Request


class UnreadableBodyError(Exception):
    """A body that is longer than allowed (`too_large`), or that did not arrive whole."""

    def __init__(self, *, too_large: bool) -> None:
        super().__init__("the body is too large" if too_large else "the body did not arrive whole")
        self.too_large = too_large


async def read_body(request: Request, limit: int) -> bytes:
    """Return the body, of at most `limit` bytes. One that announces more is refused before it is read. Raises
    UnreadableBodyError."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise UnreadableBodyError(too_large=True)
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                raise UnreadableBodyError(too_large=True)
    except ClientDisconnect:
        raise UnreadableBodyError(too_large=False) from None
    return bytes(body)
