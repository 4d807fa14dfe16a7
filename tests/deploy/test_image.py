"""The container image: built and run as its users do, on a root that nothing can write to."""

import asyncio
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from exporter.clock import SystemClock
from exporter.simulator.accounts import SimulatedAccount
from exporter.simulator.api import SimulatedApi
from exporter.simulator.http import create_app
from exporter.simulator.server import serve
from exporter.simulator.world import World
from support.image import NOBODY, Image, build
from support.lifeline import steady_port
from support.running import write_config

STUDIO = SimulatedAccount("studio", f"vvx_live_{'studio':0<32}", "ultimate")


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    with tempfile.TemporaryDirectory(prefix="vivix-image-") as folder:
        yield build(Path(folder))


# One test, since two could end up in two processes that would each build the image.
@pytest.mark.long(100)
async def test_the_image_says_how_it_runs_and_follows_on_a_read_only_root_as_nobody_until_it_is_stopped(
    image: Image,
) -> None:
    assert image.config["User"] == f"{NOBODY}:{NOBODY}"
    assert image.config["StopSignal"] == "SIGTERM"
    assert image.config["ExposedPorts"] == {"9893": {}} or image.config["ExposedPorts"] == {"9893/tcp": {}}
    assert image.config["Entrypoint"] == ["vivix-exporter"]
    assert image.config["Cmd"] == ["run"]
    api, port = SimulatedApi(World(1, [STUDIO]), SystemClock()), steady_port()
    with tempfile.TemporaryDirectory(prefix="vivix-run-") as folder:
        config, state = Path(folder, "config"), Path(folder, "state")
        config.mkdir()
        state.mkdir()
        os.chmod(folder, 0o755)
        os.chown(state, NOBODY, NOBODY)
        async with serve(create_app(api)) as address, httpx.AsyncClient() as http:
            account = {"name": "studio", "base_url": address.url, "api_key": STUDIO.key}
            path = write_config(
                config, [account], state={"url": "sqlite:////var/lib/vivix-exporter/state.db"}
            )
            path.rename(config / "config.yaml")
            with image.running(
                "run", "--web.listen-address", f"127.0.0.1:{port}",
                mounts={config: "/etc/vivix-exporter"},
                writable={state: "/var/lib/vivix-exporter"},
            ) as container:  # fmt: skip
                while True:
                    assert container.poll() is None, container.communicate()[0]
                    try:
                        answer = await http.get(f"http://127.0.0.1:{port}/-/ready")
                    except httpx.TransportError:
                        await asyncio.sleep(0.1)
                        continue
                    if answer.status_code == 200:
                        break
                page = (await http.get(f"http://127.0.0.1:{port}/metrics")).text
                assert "vivix_exporter_build_info" in page
                assert (state / "state.db").stat().st_uid == NOBODY
                container.send_signal(signal.SIGTERM)
                output, _ = await asyncio.to_thread(container.communicate, timeout=60)
    assert container.returncode == 0, output
    assert b"Traceback" not in output
