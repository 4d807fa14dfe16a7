"""The container image, really built from Debian's packages and really run, without a daemon or a registry."""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
BASE_PACKAGES = "ca-certificates,python3,python3-venv"
LEFT_OUT = "doc", "info", "locale", "man"
"""Of `/usr/share`, as in the slim images that the Dockerfile names."""
NOBODY = 65_534
"""The user of the image, as numbers and as containers know it."""
_CERTIFICATES = Path("/etc/ssl/certs")
_PIP_CONF = Path("/etc/pip.conf")


@dataclass(frozen=True)
class Image:
    """An unpacked image: its root file system, and how it says it wants to be run."""

    bundle: Path
    config: Mapping[str, object]

    @contextmanager
    def running(
        self, *arguments: str, mounts: Mapping[Path, str], writable: Mapping[Path, str], **environment: str
    ) -> Iterator["subprocess.Popen[bytes]"]:
        """Run it with a root that is read-only, no capability, and the host's network, until the context is
        left. `mounts` are folders that it may read, `writable` those that it may write, by their places in
        it."""
        spec = json.loads((self.bundle / "config.json").read_text())
        process = spec["process"]
        process |= {"terminal": False, "noNewPrivileges": True, "capabilities": {}}
        process["args"] = [process["args"][0], *arguments]
        process["env"] += [f"{name}={value}" for name, value in environment.items()]
        spec["root"]["readonly"] = True
        # A runtime that is not the host's service manager has no say in cgroups.
        spec["mounts"] = [one for one in spec["mounts"] if one["type"] != "cgroup"]
        for folders, option in ((mounts, "ro"), (writable, "rw")):
            spec["mounts"] += [
                {"destination": place, "type": "none", "source": str(folder), "options": ["bind", option]}
                for folder, place in folders.items()
            ]
        namespaces = spec["linux"]["namespaces"]
        spec["linux"]["namespaces"] = [one for one in namespaces if one["type"] not in ("network", "cgroup")]
        (self.bundle / "config.json").write_text(json.dumps(spec))
        name = f"vivix-{os.getpid()}"
        command = ["runc", "--root", str(self.bundle / "run"), "run", "--bundle", str(self.bundle), name]
        process_of_it = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            yield process_of_it
        finally:
            if process_of_it.poll() is None:
                process_of_it.terminate()
            process_of_it.communicate(timeout=60)


def build(folder: Path) -> Image:
    """Build the image upon a minimal Debian from this machine's package sources, and unpack it."""
    buildah = ["buildah", "--root", str(folder / "storage"), "--runroot", str(folder / "runroot")]
    environment = os.environ | {"BUILDAH_ISOLATION": "chroot", "STORAGE_DRIVER": "vfs"}

    def run(*command: str | Path) -> str:
        done = subprocess.run(
            [str(part) for part in command],
            env=environment,
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, f"{command}: {done.stdout[-2_000:]}{done.stderr[-2_000:]}"
        return done.stdout.strip()

    container = run(*buildah, "from", "scratch")
    run(
        "mmdebstrap",
        "--quiet",
        "--variant=minbase",
        # Nobody needs it after a loss of power.
        "--dpkgopt=force-unsafe-io",
        *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in LEFT_OUT),
        f"--include={BASE_PACKAGES}",
        _suite(),
        run(*buildah, "mount", container),
        *_sources(),
    )
    run(*buildah, "umount", container)
    run(*buildah, "commit", "--quiet", container, "localhost/base:test")
    # Where this machine has its packages from, and whom it trusts.
    secret = ["--secret", f"id=pip.conf,src={_PIP_CONF}"] if _PIP_CONF.exists() else []
    trust = ["--volume", f"{_CERTIFICATES}:{_CERTIFICATES}:ro"]
    run(
        *buildah, "bud", *secret, *trust, "--build-arg", "BASE=localhost/base:test",
        "--file", "deploy/Dockerfile", "--tag", "localhost/vivix-exporter:test", ".",
    )  # fmt: skip
    config = json.loads(run(*buildah, "inspect", "--type", "image", "localhost/vivix-exporter:test"))
    # Only to be unpacked.
    run(
        *buildah,
        "push",
        "--disable-compression",
        "localhost/vivix-exporter:test",
        f"oci:{folder / 'oci'}:test",
    )
    run("umoci", "unpack", "--image", f"{folder / 'oci'}:test", folder / "bundle")
    return Image(folder / "bundle", config["OCIv1"]["config"])


def _suite() -> str:
    release = dict(
        line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line
    )
    return release["VERSION_CODENAME"]


def _sources() -> Sequence[Path]:
    """This machine's package sources, which may be a mirror."""
    return [
        path
        for path in (
            Path("/etc/apt/sources.list.d/debian.sources"),
            Path("/etc/apt/sources.list.d/ubuntu.sources"),
            Path("/etc/apt/sources.list"),
        )
        if path.exists()
    ][:1]
