"""Files of ids are followed while others write them, in every way that files are written."""

import asyncio
import json
import os
import shutil
import sys
import threading
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from exporter.clock import MICROS, SystemClock
from exporter.domain.values import AccountName
from exporter.heartbeat import STALLED, Heartbeat
from exporter.sources.idfiles import LOGGED, IdFiles
from support.running import PATIENCE, until

SOON = 0.2
"""Seconds of settling, where a test waits for it."""
NEVER = 1e9
"""Seconds that no test lasts."""


@dataclass
class Following:
    """Files that are followed, and every content that they were seen to have."""

    files: IdFiles
    seen: list[set[str]] = field(default_factory=list)

    async def until(self, *ids: str) -> None:
        """Return once the files list exactly these."""
        await until(lambda: self.seen[-1] == set(ids), f"{ids} are listed")


def id_files(folder: Path, globs: Collection[str], settle: float = SOON, rescan: float = NEVER) -> IdFiles:
    clock = SystemClock()
    return IdFiles(
        AccountName("studio"), folder, list(globs), clock, Heartbeat(clock), settle=settle, rescan=rescan
    )


@asynccontextmanager
async def following(
    folder: Path, *globs: str, settle: float = SOON, rescan: float = NEVER
) -> AsyncIterator[Following]:
    files = id_files(folder, globs, settle, rescan)
    following = Following(files, [set(await files.read())])

    async def follow() -> None:
        async with aclosing(files.changes()) as changes:
            async for listed in changes:
                following.seen.append(set(listed))

    task = asyncio.create_task(follow())
    try:
        yield following
    finally:
        task.cancel()
        await asyncio.wait({task})
    assert task.cancelled()
    assert not [thread for thread in threading.enumerate() if thread.name == "folder watch"]


def replace(path: Path, text: str) -> None:
    """Atomically, as good writers do."""
    fresh = path.with_name("fresh.tmp")
    fresh.write_text(text)
    os.replace(fresh, path)


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


class SetClock(SystemClock):
    """Monotonic time that a test sets."""

    seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


def heartbeat_of(clock: SetClock, heartbeat: Heartbeat) -> list[str]:
    """The loops that would be stalled if none beat any more."""
    now = clock.seconds
    clock.seconds = now + 2 * STALLED
    try:
        return heartbeat.stalled()
    finally:
        clock.seconds = now


async def test_files_of_every_form_are_read(tmp_path: Path) -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    (tmp_path / "a.txt").write_text("a\n")
    (tmp_path / "b.json").write_text(json.dumps([{"id": "b", "traceparent": parent}, "a"]))
    (tmp_path / "sub" / "deep").mkdir(parents=True)
    (tmp_path / "sub" / "deep" / "c.yaml").write_text("- c\n")
    async with following(tmp_path, "*.txt", str(tmp_path / "*.json"), "**/*.yaml") as it:
        await it.until("a", "b", "c")
        await until(lambda: it.files.whole, "nothing is missing")
        assert (await it.files.read())["b"].traceparent == parent  # type: ignore[index]
    assert it.files.broken == 0


async def test_a_new_file_and_an_appended_line_are_noticed(tmp_path: Path) -> None:
    async with following(tmp_path, "*.txt") as it:
        (tmp_path / "a.txt").write_text("a\n")
        await it.until("a")
        append(tmp_path / "a.txt", "b\n")
        await it.until("a", "b")
        (tmp_path / "b.txt").write_text("c\n")
        await it.until("a", "b", "c")


async def test_half_a_line_is_never_taken_for_an_id(tmp_path: Path) -> None:
    async with following(tmp_path, "*.txt", settle=NEVER) as it:
        (tmp_path / "a.txt").write_text("a\nb")
        await it.until("a")
        append(tmp_path / "a.txt", "c\nd")
        await it.until("a", "bc")
        assert not it.files.whole
    assert all(ids <= {"a", "bc"} for ids in it.seen)


async def test_a_last_line_without_its_end_is_taken_once_the_file_rests(tmp_path: Path) -> None:
    async with following(tmp_path, "*.txt") as it:
        (tmp_path / "a.txt").write_text("a\nb")
        await it.until("a", "b")


@pytest.mark.parametrize("suffix", [".json", ".yaml"])
async def test_a_file_replaced_at_once_goes_from_one_content_to_the_other(
    tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"a{suffix}"
    replace(path, '["a", "b"]')
    async with following(tmp_path, f"*{suffix}") as it:
        await it.until("a", "b")
        replace(path, '["b", "c"]')
        await it.until("b", "c")
    assert all(ids in (set(), {"a", "b"}, {"a", "b", "c"}, {"b", "c"}) for ids in it.seen)


async def test_what_is_no_longer_listed_goes_only_once_the_file_rests(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("a\nb\n")
    async with following(tmp_path, "*.txt", settle=NEVER) as it:
        await it.until("a", "b")
        path.write_text("")
        path.write_text("c\n")
        await it.until("a", "b", "c")
        path.unlink()
        (tmp_path / "b.txt").write_text("d\n")
        await it.until("a", "b", "c", "d")


async def test_a_broken_file_keeps_its_last_good_content_and_is_told_of_once(tmp_path: Path) -> None:
    path, other = tmp_path / "a.json", tmp_path / "b.txt"
    path.write_text('["a"]')
    with capture_logs() as logs:
        async with following(tmp_path, "*.json", "*.txt") as it:
            await it.until("a")
            path.write_text('["a", "b')
            await until(lambda: it.files.broken == 1, "the file is broken")
            path.write_text('["a", "b", c')
            # Taken once it rests, as the broken one then does.
            other.write_text("d")
            await it.until("a", "d")
            assert it.files.broken == 1
            assert not it.files.whole
            path.write_text('["b"]')
            await it.until("b", "d")
            await until(lambda: it.files.broken == 0, "the file is fixed")
    assert all({"a"} <= ids or {"b"} <= ids for ids in it.seen[1:])
    assert [(log["log_level"], log["account"], log["file"], log.get("error")) for log in logs] == [
        ("warning", "studio", str(path), "line 1, column 7: not JSON: Unterminated string starting at"),
        ("info", "studio", str(path), None),
    ]


async def test_many_broken_files_are_reported_in_a_few_lines(tmp_path: Path) -> None:
    for number in range(LOGGED + 30):
        (tmp_path / f"{number:02}.json").write_text("[")
    files = id_files(tmp_path, ["*.json"], settle=0.0)
    with capture_logs() as logs:
        await files.read()
    assert len(logs) == LOGGED + 1
    assert logs[-1]["broken"] == LOGGED + 30


async def test_files_of_the_same_globs_continue_with_what_the_former_ones_knew(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a\n")
    (tmp_path / "b.json").write_text("[")
    studio, clock = AccountName("studio"), SystemClock()
    former = id_files(tmp_path, ["*"], settle=0.0)
    assert set(await former.read()) == {"a"}
    (tmp_path / "a.txt").unlink()
    with capture_logs() as logs:
        same = IdFiles(studio, tmp_path, ["*"], clock, Heartbeat(clock), settle=NEVER, former=former)
        assert set(await same.read()) == {"a"}  # it may come back
        assert not same.whole
        assert same.broken == 1
        other = IdFiles(studio, tmp_path, ["*.txt"], clock, Heartbeat(clock), former=former)
        assert await other.read() == {}
        assert other.whole
    assert logs == []


async def test_a_file_that_is_briefly_half_written_is_not_told_of(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with capture_logs() as logs:
        async with following(tmp_path, "*", settle=NEVER) as it:
            path.write_text('["a"')
            (tmp_path / "b.txt").write_text("b\n")
            await it.until("b")
            append(path, "]")
            await it.until("a", "b")
    assert logs == []


async def test_a_file_broken_from_the_start_lists_nothing_and_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a b\n")
    async with following(tmp_path, "*.txt") as it:
        await until(lambda: it.files.broken == 1, "the file is broken")
        assert it.seen[-1] == set()
        (tmp_path / "a.txt").unlink()
        await until(lambda: it.files.broken == 0 and it.files.whole, "it has gone")


async def test_a_file_that_vanishes_lists_nothing_any_more(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a\n")
    (tmp_path / "b.txt").write_text("b\n")
    async with following(tmp_path, "*.txt") as it:
        await it.until("a", "b")
        (tmp_path / "a.txt").unlink()
        await it.until("b")


@pytest.mark.parametrize("glob", ["ids/new/*.txt", "ids/*/*.txt", "**/*.txt", "ids/new/a.txt"])
async def test_a_folder_may_come_later_and_go_and_come_again(tmp_path: Path, glob: str) -> None:
    async with following(tmp_path, glob) as it:
        for id in ("a", "b"):
            (tmp_path / "ids" / "new").mkdir(parents=True)
            (tmp_path / "ids" / "new" / "a.txt").write_text(f"{id}\n")
            await it.until(id)
            shutil.rmtree(tmp_path / "ids")
            await it.until()


async def test_a_folder_that_is_exchanged_as_a_whole_is_noticed(tmp_path: Path) -> None:
    for name, id in (("ids", "a"), ("fresh", "b")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.txt").write_text(f"{id}\n")
    async with following(tmp_path, "ids/*.txt") as it:
        await it.until("a")
        (tmp_path / "ids").rename(tmp_path / "old")
        (tmp_path / "fresh").rename(tmp_path / "ids")
        await it.until("b")
        append(tmp_path / "ids" / "a.txt", "c\n")
        await it.until("b", "c")


async def test_a_mounted_configmap_that_swaps_its_link_is_noticed(tmp_path: Path) -> None:
    def swap(version: str, text: str) -> None:
        (tmp_path / f"..{version}").mkdir()
        (tmp_path / f"..{version}" / "a.txt").write_text(text)
        (tmp_path / "..data_tmp").symlink_to(f"..{version}")
        os.replace(tmp_path / "..data_tmp", tmp_path / "..data")

    swap("1", "a\n")
    (tmp_path / "a.txt").symlink_to("..data/a.txt")
    async with following(tmp_path, "**/*.txt") as it:
        await it.until("a")
        swap("2", "b\n")
        await it.until("b")


async def test_what_the_watch_does_not_hear_is_found_by_looking_again(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.list").write_text("a\n")
    (tmp_path / "ids").mkdir()
    (tmp_path / "ids" / "a.txt").symlink_to("../elsewhere/a.list")
    async with following(tmp_path, "ids/*", rescan=0.05) as it:
        await it.until("a")
        append(tmp_path / "elsewhere" / "a.list", "b\n")
        await it.until("a", "b")


async def test_without_globs_nothing_is_watched(tmp_path: Path) -> None:
    async with following(tmp_path, rescan=0.01) as it:
        await until(lambda: it.files.whole, "nothing is missing")
        assert it.seen == [set()]
        assert not [thread for thread in threading.enumerate() if thread.name == "folder watch"]


async def test_a_slow_taker_does_not_count_as_a_stalled_loop(tmp_path: Path) -> None:
    clock = SetClock()
    heartbeat = Heartbeat(clock)
    files = IdFiles(AccountName("studio"), tmp_path, ["*.txt"], SystemClock(), heartbeat, settle=SOON)
    await files.read()
    (tmp_path / "a.txt").write_text("a\n")
    async with aclosing(files.changes()) as changes:
        assert set(await anext(changes)) == {"a"}
        clock.seconds += 2 * STALLED
        assert heartbeat.stalled() == []
        await anext(changes)
        following = asyncio.ensure_future(anext(changes))
        await until(lambda: "files of studio" in heartbeat_of(clock, heartbeat), "it beats again")
        following.cancel()
        await asyncio.wait({following})
    assert heartbeat_of(clock, heartbeat) == []


async def test_where_folders_cannot_be_watched_they_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_folders: str, **_settings: object) -> None:
        raise OSError("inotify watch limit reached")

    monkeypatch.setattr("exporter.sources.watch.watch", refuse)
    with capture_logs() as logs:
        async with following(tmp_path, "*.txt", rescan=0.05) as it:
            (tmp_path / "a.txt").write_text("a\n")
            await it.until("a")
            append(tmp_path / "a.txt", "b\n")
            await it.until("a", "b")
    assert [(log["log_level"], log["error"]) for log in logs] == [("warning", "inotify watch limit reached")]


async def test_files_that_never_rest_are_taken_as_they_stand(tmp_path: Path) -> None:
    settled = asyncio.Event()

    async def rewrite(path: Path) -> None:
        turn = 0
        while not settled.is_set():
            turn += 1
            replace(path, f"every\nturn-{turn}\n")
            await asyncio.sleep(0.001)

    (tmp_path / "a.txt").write_text("first\n")
    async with following(tmp_path, "*.txt", settle=0.1) as it:
        await it.until("first")
        writing = asyncio.create_task(rewrite(tmp_path / "a.txt"))
        await until(lambda: "first" not in it.seen[-1] and "every" in it.seen[-1], "the first is gone")
        settled.set()
        await writing


@pytest.mark.parametrize(
    ("glob", "name", "broken"),
    [
        ("*", "a.txt~", 0),
        ("*", ".a.txt.swp", 0),
        ("*", ".a.txt", 0),
        ("*", "a.csv", 0),
        ("*.*", "a.csv", 0),
        ("*.csv", "a.csv", 1),
        ("a", "a", 1),
        (".a.txt", ".a.txt", 0),
    ],
)
async def test_only_what_is_meant_as_a_file_of_ids_can_be_broken(
    tmp_path: Path, glob: str, name: str, broken: int
) -> None:
    (tmp_path / name).write_text("a\n")
    (tmp_path / "folder.txt").mkdir()
    (tmp_path / "nowhere.txt").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    files = id_files(tmp_path, [glob], settle=0.0)
    await files.read()
    assert files.broken == broken


async def test_a_pipe_is_no_file_of_ids_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.txt")
    files = id_files(tmp_path, ["*.txt"], settle=0.0)
    async with asyncio.timeout(PATIENCE):
        assert await files.read() == {}
    assert files.broken == 1


COUNT_BROKEN = """
import asyncio, pathlib, sys
from exporter.clock import SystemClock
from exporter.heartbeat import Heartbeat
from exporter.sources.idfiles import IdFiles
clock = SystemClock()
folder, *globs = sys.argv[1:]
files = IdFiles("studio", pathlib.Path(folder), globs, clock, Heartbeat(clock), settle=0.0)
asyncio.run(files.read())
print(files.broken, file=sys.stderr)
"""


async def test_what_may_not_be_read_is_broken(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a\n")
    (tmp_path / "a.txt").chmod(0)
    (tmp_path / "ids").mkdir(0)
    # Root may read everything, but for a process that gave its capabilities up.
    powerless = ("setpriv", "--bounding-set=-all", "--inh-caps=-all") if os.geteuid() == 0 else ()
    counting = await asyncio.create_subprocess_exec(
        *powerless, sys.executable, "-c", COUNT_BROKEN, str(tmp_path), "*.txt", "ids/*.txt",
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, said = await counting.communicate()
    assert said.decode().split() == ["2"]


async def test_what_lay_there_before_the_start_need_not_settle(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a\nb")
    (tmp_path / "b.yaml").write_text("- c\n")
    written = max(path.stat().st_ctime for path in tmp_path.iterdir())
    await until(lambda: SystemClock().now_us() / MICROS > written + 2 * SOON, "they have lain there")
    files = id_files(tmp_path, ["*"])
    assert set(await files.read()) == {"a", "b", "c"}
    assert files.whole


@pytest.mark.parametrize("form", ["txt", "json", "yaml"])
async def test_a_hundred_thousand_ids_are_read_while_the_loop_goes_round(tmp_path: Path, form: str) -> None:
    ids = [f"{number:08d}-ee19-4f86-9fea-bd29471d69d5" for number in range(100_000)]
    writers: dict[str, Callable[[list[str]], str]] = {
        "txt": lambda some: "".join(f"{id}\n" for id in some),
        "json": json.dumps,
        "yaml": lambda some: "".join(f"- id: {id}\n" for id in some),
    }
    for part in range(10):
        (tmp_path / f"{part}.{form}").write_text(writers[form](ids[part::10]))
    files = id_files(tmp_path, ["*"], settle=0.0)
    reading = asyncio.create_task(files.read())
    turns = 0
    while not reading.done():
        turns += 1
        await asyncio.sleep(0)
    assert set(await reading) == set(ids)
    assert turns > 10
