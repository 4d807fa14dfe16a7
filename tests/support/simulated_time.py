"""Run an exporter in simulated time: CONFIG SPEED ORIGIN_US LISTEN LEVEL. Prints its URL once it listens."""

import asyncio
import signal
import sys
from pathlib import Path

from exporter import logs
from exporter.app import App
from exporter.clock import ScaledClock
from exporter.config import load_config
from exporter.errors import ExporterError
from exporter.store import open_database
from exporter.web.server import bound_address, listen


async def main() -> None:
    path, speed, origin_us, address, level = sys.argv[1:]
    logs.set_up(level, "logfmt")
    config = load_config(Path(path))
    listener = listen(address)
    app = App(
        config,
        open_database(config.state_at, owner=True),
        ScaledClock(float(speed), int(origin_us)),
        load=lambda: load_config(Path(path)),
        lifecycle=True,
    )
    print(f"http://{bound_address(listener)}", flush=True)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, app.ask_to_reload)
    await app.run([listener], stop)


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except ExporterError as error:
        sys.exit(f"vivix-exporter: {error}")
