"""The files that a glob matches at present, and the folders in which that can change."""

import glob
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Found:
    """Absolute paths. `folders` are those in which a matching file may appear or change, or where a folder of
    the glob itself is missing; `denied` are those among them that may not be read."""

    files: frozenset[str]
    folders: frozenset[str]
    denied: frozenset[str]


def find(folder: Path, pattern: str) -> Found:
    """Match `pattern`, relative to `folder` where it is not absolute. `**` stands for any folders; hidden
    files and folders are matched only by patterns with a dot, as in a shell."""
    root = str(folder.absolute())
    names = glob.glob(pattern, root_dir=root, recursive=True)
    needed = dict(_folders(root, pattern))
    return Found(
        frozenset(os.path.join(root, name) for name in names),
        frozenset(needed),
        frozenset(path for path, access in needed.items() if not os.access(path, access)),
    )


def _folders(root: str, pattern: str) -> Iterator[tuple[str, int]]:
    """Folders to watch, each with the access that it needs (`os.access`)."""
    parts = Path(pattern).parts
    above = parts if parts[-1:] == ("**",) else parts[:-1]
    fixed = next((place for place, part in enumerate(above) if glob.has_magic(part)), len(above))
    base = os.path.join(root, *above[:fixed])
    if not os.path.isdir(base):
        while not os.path.isdir(base):
            base = os.path.dirname(base)
        yield base, os.X_OK
        return
    listed = os.X_OK | (os.R_OK if glob.has_magic(pattern) else 0)
    yield base, listed
    for end in range(fixed + 1, len(above) + 1):
        # The empty part at the end is a slash, so that only folders match.
        for name in glob.glob(os.path.join(*above[:end], ""), root_dir=root, recursive=True):
            yield os.path.join(root, name).rstrip("/"), listed
