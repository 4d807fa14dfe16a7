"""Runs an exporter that lives in simulated time: CONFIG SPEED ORIGIN_US. Prints its URL once it listens."""

import asyncio
import signal
import sys
from pathlib import Path

from exporter import logs
from exporter.app import App
from exporter.clock import ScaledClock
from exporter.config import load_config
from exporter.store import Database
from exporter.web.server import bound_address, listen


async def main() -> None:
    path, speed, origin_us = sys.argv[1:]
    logs.set_up("error", "logfmt")
    config = load_config(Path(path))
    listener = listen("127.0.0.1:0")
    app = App(config, Database(config.state_path, owner=True), ScaledClock(float(speed), int(origin_us)))
    print(f"http://{bound_address(listener)}", flush=True)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await app.run([listener], stop)


if __name__ == "__main__":
    asyncio.run(main())
