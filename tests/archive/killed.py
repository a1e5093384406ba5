"""Kills a writer of an archive at every step that it takes on the disk, and checks what it leaves behind.

This runs in a process of its own, which forks before any thread is started:

    python -m tests.archive.killed merge
    python -m tests.archive.killed sync '{"rest_url": …, "base": …, "group": …}'
    python -m tests.archive.killed slow '{"rest_url": …, "folder": …}'

For n = 1, 2, 3 … a child process writes, and ends by SIGKILL just before it creates, renames or removes a file for the
n-th time. For every second n, the file written last is first cut in half, as after a power cut. A second child then
checks the archive and goes on with the work. The series ends with the first child that finishes. One line is printed
for each n.

`slow` is another series: three children sync from a service that seems to be slow, and end by SIGKILL after some pages.
One line is printed for each: how many messages the archive then has.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import duckdb  # noqa: F401  # imported here and not in each child
import pyarrow as pa
import pytest

import imkit
from imkit.archive import Archive, batching, catalogue, compact, parquet, sync
from imkit.archive.catalogue import CatalogueWriter, ConversationState
from imkit.archive.merge import CommitBatch, Reread, merge_batch
from imkit.archive.storage import storage_at
from imkit.client import roaming
from imkit.client.roaming import RoamingPage
from imkit.history import fetch
from imkit.history.columns import batch_of
from imkit.history.fetch import WORKERS
from imkit.history.frames import frame_of  # noqa: F401  # imported here and not in each child
from imkit.messages import Message, Text
from imkit.sandbox.process import SandboxAddress
from imkit.times import from_milliseconds
from imkit.whole_files import PART

# A folder in memory, if there is one: the test is about the order of the steps, and fsync on a disk is slow.
MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None
HOUR = 3_600_000
START = 1_795_392_000_000  # midnight
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND


def die_at(step: int, folder: Path) -> None:
    """Make this process end by SIGKILL before it changes the folder for the n-th time."""
    steps = itertools.count(1)

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event not in ("open", "os.rename", "os.remove", "os.mkdir"):
            return
        path = arguments[0]
        if not isinstance(path, str | os.PathLike) or not str(path).startswith(str(folder)):
            return
        if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & WRITES):
            return
        if next(steps) == step:
            if event == "os.rename" and step % 2 and str(path).endswith(PART):
                os.truncate(path, os.stat(path).st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def in_child(work: Callable[[], None]) -> int:
    """Run a function in a fork, and return its exit code, or minus the signal that ended it."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 1
    try:
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def kill_at_each_step(write: Callable[[Path], None], check: Callable[[Path, int], None], base: Path | None) -> None:
    """Run `write` and kill it at step 1, 2, 3 …, each time on a copy of `base`, and `check` what is left."""
    for step in itertools.count(1):
        with tempfile.TemporaryDirectory(dir=MEMORY) as home:
            folder = Path(home) / "archive"
            if base is not None:
                shutil.copytree(base, folder)

            def child(step: int = step, folder: Path = folder) -> None:
                die_at(step, folder)
                write(folder)

            ended = in_child(child)
            if ended not in (0, -signal.SIGKILL):
                sys.exit(f"step {step}: the writer failed ({ended})")
            if in_child(partial(check, folder, step)):
                sys.exit(f"step {step}: what the writer left behind is wrong")
            print(f"step {step}: {'killed' if ended else 'finished'}", flush=True)
            if ended == 0:
                return


# ------------------------------------------------------------- without a service


def message(number: int, text: str = "") -> Message:
    return Message(
        str(10**18 + number), "ann", "42", from_milliseconds(START + number * HOUR), Text(text or f"{number}")
    )


def table(*messages: Message) -> pa.Table:
    return parquet.archive_rows(batch_of(messages), "42", START)


def merge_all(folder: Path) -> None:
    """Write two days of messages in several merges (new, read again, edited, gone), then compact them."""
    storage = storage_at(folder)
    with storage.writing(0):
        writer = CatalogueWriter(storage)
        if not writer.state.number:
            first = [table(*map(message, range(20)))]
            merge_batch(storage, writer, CommitBatch(first, conversations=covered(19)), 1)
        if writer.state.number == 1:
            second = [table(*map(message, range(20, 40)))]
            maybe_changed = [table(*(message(n, "edited" if n == 15 else "") for n in range(10, 20) if n != 12))]
            reread = {"42": Reread(((START + 10 * HOUR, START + 19 * HOUR),), frozenset())}
            batch = CommitBatch(second, maybe_changed, reread, covered(39))
            merge_batch(storage, writer, batch, 2)
        if writer.state.number == 2:
            third = [table(*map(message, range(40, 48)))]
            merge_batch(storage, writer, CommitBatch(third, conversations=covered(47)), 3)
        compact.compact(storage, writer, at_least=2)


def covered(last: int) -> dict[str, ConversationState]:
    """Return the state of the conversation when messages 0 to `last` have been read."""
    ranges = ((0, START + last * HOUR),)
    return {"42": ConversationState("42", covered=ranges, newest_id=str(10**18 + last), synced_at=1)}


def check_merge(folder: Path, step: int) -> None:
    archive = Archive(folder)
    if (folder / "catalogue").exists():
        assert_sound(archive)
        known = archive.frame(gone=True)
        # All messages in the covered range are stored once, and no others.
        state = catalogue.load(storage_at(folder))
        last = max((last for each in state.conversations.values() for _, last in each.covered), default=START - HOUR)
        assert list(known.message_id) == [str(10**18 + n) for n in range((last - START) // HOUR + 1)], step
    merge_all(folder)
    whole = archive.frame(gone=True)
    assert list(whole.message_id) == [str(10**18 + n) for n in range(48)]
    assert whole.text[15] == "edited"
    assert list(whole.index[whole.gone_at.notna()]) == [12]
    assert list(archive.sql("select text from versions").text) == ["15"]
    assert_sound(archive, tidy=True)
    assert len(archive.files()) == 2


def assert_sound(archive: Archive, tidy: bool = False) -> None:
    """Assert that nothing is wrong with an archive; `tidy`: and that nothing is missing or left over."""
    verification = archive.verify()
    assert verification.ok, verification
    assert not tidy or not verification.notes, verification


# ----------------------------------------------------------------- with a service


def sync_all(folder: Path, settings: dict[str, str], workers: int = WORKERS) -> None:
    app = SandboxAddress(settings["app_key"], settings["rest_url"], settings["ws_url"], settings["secret"]).app
    with imkit.login(settings["user"], app=app) as session:
        of = session.group(settings["group"]) if "group" in settings else session
        Archive(folder, timeout=0).sync(session, of, lookback=timedelta(hours=1), workers=workers)


def check_sync(folder: Path, settings: dict[str, str]) -> None:
    archive = Archive(folder)
    assert_sound(archive)
    before = archive.frame(gone=True)
    sync_all(folder, settings)
    assert_sound(archive, tidy=True)
    whole = archive.frame(gone=True)
    assert set(before.message_id) <= set(whole.message_id)
    assert digest(archive) == settings["digest"], "the rows are not those of a writer that was never killed"


def digest(archive: Archive) -> str:
    """Return the rows of an archive as text, without the times at which it was written."""
    whole = archive.frame(gone=True)
    whole["gone_at"] = whole.gone_at.notna()
    versions = archive.sql("select message_id, text from versions order by all")
    return whole.to_json(date_format="iso") + versions.to_json()


# ------------------------------------------------------------- with a slow service

PAGES_BEFORE_KILL = 12
SECONDS_A_PAGE = 3.0


def sync_slowly(folder: Path, settings: dict[str, str]) -> None:
    """Sync as if each page took some seconds, and end by SIGKILL when some pages have come."""
    pages = 0
    patch = pytest.MonkeyPatch()

    async def slow_page(*arguments: Any) -> RoamingPage:
        nonlocal pages
        page = await roaming.fetch_page(*arguments)
        pages += 1
        if pages == PAGES_BEFORE_KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        return page

    patch.setattr(fetch, "fetch_page", slow_page)
    patch.setattr(batching, "steady_seconds", lambda: pages * SECONDS_A_PAGE)
    sync_all(folder, settings, workers=1)  # so that no page comes while another one is being committed


def kill_slow_syncs(settings: dict[str, str]) -> None:
    """Kill three syncs, one after another, and print what each has left."""
    folder = Path(settings["folder"])
    for _ in range(3):
        if in_child(lambda: sync_slowly(folder, settings)) != -signal.SIGKILL:
            sys.exit("the writer was not killed")

        def look() -> None:
            archive = Archive(folder)
            assert_sound(archive)
            state = catalogue.load(storage_at(folder))
            days = {file.day for file in state.files.values()}
            assert len(state.files) <= state.number * len(days), "threads of one commit share the file of a day"
            print(len(archive.frame(gone=True)))

        if in_child(look):
            sys.exit("what the writer left behind is wrong")


def main() -> None:
    if sys.argv[1] == "slow":
        kill_slow_syncs(json.loads(sys.argv[2]))
        return
    catalogue.CHECKPOINT_EVERY, sync.FILES_A_DAY, batching.ROWS_A_COMMIT = 2, 2, 5
    if sys.argv[1] == "merge":
        kill_at_each_step(merge_all, check_merge, None)
    else:
        settings = json.loads(sys.argv[2])
        kill_at_each_step(
            lambda folder: sync_all(folder, settings),
            lambda folder, _: check_sync(folder, settings),
            Path(settings["base"]),
        )


if __name__ == "__main__":
    main()
