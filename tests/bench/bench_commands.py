"""How long the commands take that only print how they are used: processor time of a process of its own."""

import resource
import subprocess
import sys
from pathlib import Path

from bench.table import Row, report

COMMAND = str(Path(sys.executable).with_name("vivix-exporter"))
TIMES = 7


def seconds(*arguments: str) -> float:
    """The median of the processor time of some runs."""
    took = []
    for _ in range(TIMES):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([COMMAND, *arguments], capture_output=True, timeout=60)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        took.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return sorted(took)[TIMES // 2]


def main() -> None:
    asked = (["--version"], ["--help"], ["run", "--help"], ["run", "--no-such-option"], ["no-such-command"])
    report("commands", [Row(" ".join(one), seconds(*one) * 1e3, "ms of CPU", 250) for one in asked])


if __name__ == "__main__":
    main()
