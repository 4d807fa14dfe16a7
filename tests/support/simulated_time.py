"""Runs an exporter that lives in simulated time: CONFIG SPEED ORIGIN_US [LOG_LEVEL]. Prints its URL once it
listens."""

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
    path, speed, origin_us, *level = sys.argv[1:]
    logs.set_up(level[0] if level else "error", "logfmt")
    config = load_config(Path(path))
    listener = listen("127.0.0.1:0")
    clock = ScaledClock(float(speed), int(origin_us))
    app = App(config, Database(config.state_path, owner=True), clock, load=lambda: load_config(Path(path)))
    print(f"http://{bound_address(listener)}", flush=True)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, app.ask_to_reload)
    await app.run([listener], stop)


if __name__ == "__main__":
    asyncio.run(main())
