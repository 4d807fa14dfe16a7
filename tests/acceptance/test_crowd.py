"""A whole exporter under a crowd of clients, with few file descriptors."""

import asyncio
import re
import resource
import sys
from contextlib import suppress
from pathlib import Path

import httpx

from exporter.simulator.http import create_app
from exporter.simulator.server import serve
from support.prometheus import free_port
from support.scrape import Scrape, parse
from support.traces import Scene

FILES = 256
"""That the exporter may have open; half of them are for clients."""
HALVES = (
    b"",
    b"GET /met",
    b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: te",
    b"POST /api/v1/generations HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc",
)


def few_files() -> None:
    """Before the command: a small limit that it can raise, but not far."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES // 2, FILES))


async def test_eleven_hundred_half_sent_requests_leave_metrics_the_log_and_memory_alone(
    tmp_path: Path,
) -> None:
    scene, port = Scene(tmp_path), free_port()
    log = tmp_path / "log"
    async with serve(create_app(scene.api)) as address, httpx.AsyncClient(timeout=60) as http:
        path = scene.configure(address.url)
        with log.open("w") as stderr:
            process = await asyncio.create_subprocess_exec(
                str(Path(sys.executable).with_name("vivix-exporter")),
                "run",
                *("--config.file", str(path), "--web.listen-address", f"127.0.0.1:{port}"),
                stderr=stderr,
                preexec_fn=few_files,
            )

        async def scrape() -> Scrape:
            return parse((await http.get(f"http://127.0.0.1:{port}/metrics")).raise_for_status().text)

        try:
            async with asyncio.timeout(60):
                while True:
                    with suppress(httpx.HTTPError):
                        calm = await scrape()
                        break
                    await asyncio.sleep(0.05)
            assert calm.sum("process_max_fds") == FILES
            crowd: list[asyncio.StreamWriter] = []
            crowded = calm
            for number in range(1_100):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                crowd.append(writer)
                with suppress(ConnectionError):
                    writer.write(HALVES[number % len(HALVES)])
                    await writer.drain()
                if number % 100 == 99:
                    crowded = await scrape()
                    assert crowded.sum("process_open_fds") < FILES
            grown = crowded.sum("process_resident_memory_bytes") - calm.sum("process_resident_memory_bytes")
            assert grown < 32 << 20
            for writer in crowd:
                writer.close()
            async with asyncio.timeout(60):
                while (await scrape()).sum("process_open_fds") > calm.sum("process_open_fds") + 2:
                    await asyncio.sleep(0.05)
        finally:
            process.terminate()
            await process.wait()
    assert process.returncode == 0
    lines = log.read_text().splitlines()
    assert sum("too many clients" in line for line in lines) == 1
    assert len(lines) < 20
    assert not re.search("Traceback|Invalid HTTP", log.read_text())
