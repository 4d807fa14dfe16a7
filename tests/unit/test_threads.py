"""Threads, and what they cost."""

import os
import platform
import re
import subprocess
import sys

import pytest

ALLOCATING = """
import ctypes, threading
from exporter.threads import share_one_arena

{first}
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
threads = [threading.Thread(target=libc.malloc, args=(1 << 12,)) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc.fdopen.restype = ctypes.c_void_p
out = ctypes.c_void_p(libc.fdopen(1, b"w"))
libc.malloc_info(0, out)
libc.fflush(out)
"""
"""`malloc_info` describes each arena as a heap."""


def arenas(first: str) -> int:
    """How many arenas a process has in which threads allocated, after it did something else first."""
    ran = subprocess.run(
        [sys.executable, "-c", ALLOCATING.format(first=first)],
        capture_output=True,
        text=True,
        check=True,
        env={name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")},
    )
    return len(re.findall("<heap nr=", ran.stdout))


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has no arenas")
def test_threads_allocate_from_one_arena_once_told_so() -> None:
    assert arenas("") > 1
    assert arenas("share_one_arena()") == 1
