"""Servers in processes of their own that end with the test's process, however that ends."""

import os
import random
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

USER = "postgres"
"""Whom a server that refuses root runs as, where the tests are root's."""
_FIRST_PORT = 10_000


def unprivileged(*command: str) -> list[str]:
    """This command, run by somebody who is not root."""
    if os.geteuid() != 0:
        return list(command)
    return ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--init-groups", "--", *command]


def private_folder(name: str) -> Path:
    """A new folder that belongs to whom `unprivileged` commands run as."""
    # pytest's own folders let nobody else in.
    folder = Path(tempfile.mkdtemp(prefix=f"vivix-{name}-"))
    if os.geteuid() == 0:
        shutil.chown(folder, USER, USER)
    return folder


def steady_port() -> int:
    """A free port of loopback that stays free while its server is down: not one of those that the kernel
    gives to whoever connects somewhere, which may also connect such a port to itself."""
    low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.SystemRandom().randrange(_FIRST_PORT, low)
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port


class Lifeline:
    """Runs a shell script once this process has ended, or `cut` it."""

    def __init__(self, script: str, arguments: Sequence[str]) -> None:
        # A session of its own: what a terminal sends to the tests is not for it. The pipe ends with us.
        self._process = subprocess.Popen(
            ["sh", "-c", script, "sh", *arguments], stdin=subprocess.PIPE, start_new_session=True
        )

    def cut(self) -> None:
        """Run the script now, and wait until it is done."""
        self._process.communicate()
