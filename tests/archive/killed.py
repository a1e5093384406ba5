"""Kills a writer of an archive at every step it takes on the disk, and looks at what it leaves behind.

A process of its own, which forks before anything in it has a thread:

    python -m tests.archive.killed fold
    python -m tests.archive.killed sync '{"rest_url": …, "base": …, "group": …}'

For n = 1, 2, 3 … a child writes and ends by SIGKILL just before the n-th time that it creates, renames or removes a
file; half of the times, what was written last is cut in half first, as a power cut would. Another child then looks at
what there is, and goes on. The first child that finishes ends the series. One line for each n says how it went.
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
from pathlib import Path

import duckdb  # noqa: F401  # here, not in each child

import imkit
from imkit.archive import Archive, batching, catalogue, compact, merge, parquet, sync
from imkit.archive.catalogue import Conversation, Ledger
from imkit.archive.merge import Reread
from imkit.archive.storage import storage_at
from imkit.history.columns import batch_of
from imkit.history.frames import frame_of  # noqa: F401  # this too
from imkit.messages import Message, Text
from imkit.sandbox.process import SandboxAddress
from imkit.times import from_milliseconds
from imkit.whole_files import PART

# In memory, where that can be: what is tested is the order of steps, and a disk is slow to say that it is done.
MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None
HOUR = 3_600_000
START = 1_795_392_000_000  # midnight
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND


def die_at(step: int, folder: Path) -> None:
    """End this process by SIGKILL before it changes the folder for the n-th time."""
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
    """Run something in a fork, and return its exit code, or minus the signal that ended it."""
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


def series(write: Callable[[Path], None], look: Callable[[Path, int], None], base: Path | None) -> None:
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
            if in_child(lambda step=step, folder=folder: look(folder, step)):
                sys.exit(f"step {step}: what it left behind is not as it should be")
            print(f"step {step}: {'killed' if ended else 'finished'}", flush=True)
            if ended == 0:
                return


# ------------------------------------------------------------- without a service


def message(number: int, text: str = "") -> Message:
    return Message(
        str(10**18 + number), "ann", "42", from_milliseconds(START + number * HOUR), Text(text or f"{number}")
    )


def table(*messages: Message) -> object:
    return parquet.stored(batch_of(messages), "42", START)


def fold_all(folder: Path) -> None:
    """Two days of messages, in several folds: new, read again, edited, gone; then merged."""
    storage = storage_at(folder)
    with storage.writing(0):
        ledger = Ledger(storage)
        if not ledger.state.number:
            first = [table(*map(message, range(20)))]
            merge.fold(storage, ledger, first, [], {}, [covered(19)], 1)
        if ledger.state.number == 1:
            again = [table(*(message(n, "edited" if n == 15 else "") for n in range(10, 20) if n != 12))]
            reread = {"42": Reread(((START + 10 * HOUR, START + 19 * HOUR),), frozenset())}
            merge.fold(storage, ledger, [table(*map(message, range(20, 40)))], again, reread, [covered(39)], 2)
        if ledger.state.number == 2:
            merge.fold(storage, ledger, [table(*map(message, range(40, 48)))], [], {}, [covered(47)], 3)
        compact.compact(storage, ledger, at_least=2)


def covered(last: int) -> Conversation:
    return Conversation("42", covered=((0, START + last * HOUR),), newest_id=str(10**18 + last), synced_at=1)


def look_at_fold(folder: Path, step: int) -> None:
    archive = Archive(folder)
    if (folder / "catalogue").exists():
        sound(archive)
        known = archive.frame(gone=True)
        # What the catalogue says to be covered is there, all of it and once; nothing else is.
        state = catalogue.load(archive._storage)
        last = max((last for each in state.conversations.values() for _, last in each.covered), default=START - HOUR)
        assert list(known.message_id) == [str(10**18 + n) for n in range((last - START) // HOUR + 1)], step
    fold_all(folder)
    whole = archive.frame(gone=True)
    assert list(whole.message_id) == [str(10**18 + n) for n in range(48)]
    assert whole.text[15] == "edited"
    assert list(whole.index[whole.gone_at.notna()]) == [12]
    assert list(archive.sql("select text from versions").text) == ["15"]
    sound(archive, tidy=True)
    assert len(archive.files()) == 2


def sound(archive: Archive, tidy: bool = False) -> None:
    found = archive.verify()
    assert found.ok, found
    assert not tidy or not found.notes, found


# ----------------------------------------------------------------- with a service


def sync_all(folder: Path, told: dict[str, str]) -> None:
    app = SandboxAddress(told["app_key"], told["rest_url"], told["ws_url"], told["secret"]).app
    with imkit.login(told["user"], app=app) as session:
        Archive(folder, timeout=0).sync(session, session.group(told["group"]), lookback=timedelta(hours=1))


def look_at_sync(folder: Path, told: dict[str, str]) -> None:
    archive = Archive(folder)
    sound(archive)
    before = archive.frame(gone=True)
    sync_all(folder, told)
    sound(archive, tidy=True)
    whole = archive.frame(gone=True)
    assert set(before.message_id) <= set(whole.message_id)
    assert digest(archive) == told["digest"], "the rows are not those of a writer that was never killed"


def digest(archive: Archive) -> str:
    whole = archive.frame(gone=True)
    whole["gone_at"] = whole.gone_at.notna()
    versions = archive.sql("select message_id, text from versions order by all")
    return whole.to_json(date_format="iso") + versions.to_json()


def main() -> None:
    what = sys.argv[1]
    catalogue.CHECKPOINT_EVERY, sync._FILES_A_DAY, batching.ROWS_A_PIECE = 2, 2, 5
    if what == "fold":
        series(fold_all, look_at_fold, None)
    else:
        told = json.loads(sys.argv[2])
        series(lambda folder: sync_all(folder, told), lambda folder, _: look_at_sync(folder, told), Path(told["base"]))


if __name__ == "__main__":
    main()
