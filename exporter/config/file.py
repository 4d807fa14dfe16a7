"""Files that people write for the exporter: read whole, or refused with the reason."""

import errno
import os
import stat
from pathlib import Path


def read_file(path: Path, limit: int) -> bytes:
    """Return the content of a regular file of at most `limit` bytes.

    Never waits for a writer, as reading a FIFO would. Raises ValueError, whose text gives the reason
    without the path.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            mode = os.fstat(descriptor).st_mode
            if stat.S_ISDIR(mode):
                raise ValueError(os.strerror(errno.EISDIR))
            if not stat.S_ISREG(mode):
                raise ValueError("not a regular file")
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                content = file.read(limit + 1)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise ValueError(error.strerror) from None
    if len(content) > limit:
        raise ValueError(f"larger than {_size(limit)}")
    return content


def _size(limit: int) -> str:
    return f"{limit >> 20} MiB" if limit >= 1 << 20 else f"{limit >> 10} KiB"
