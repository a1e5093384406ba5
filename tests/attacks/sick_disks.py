"""Runs operations that use the disk while the disk is sick, in a process of its own, and prints what came of each.

    python -m tests.attacks.sick_disks '{"rest_url": …, "user": …}'

Each operation runs in a new folder: with the fault it must fail, and without the fault the same call must succeed. One
JSON line is printed for each pair of operation and fault.

| fault | how it is made |
|---|---|
| EFBIG | real: a limit of the size of files, so that a write fails in the middle |
| EMFILE | real: a limit of the number of open files |
| ENOTDIR | real: the folder is gone, and a file has its name |
| none | nothing fails |
| others | the audit hook that Python calls before it opens, renames or makes a file raises the error |
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import duckdb  # noqa: F401  # imported before files are limited
import pandas as pd
import pytest

import imkit
from imkit.archive import Archive
from imkit.history import export
from imkit.portal import portal
from imkit.sandbox.process import SandboxAddress

INJECTED = ("ENOSPC", "EDQUOT", "EROFS", "EACCES", "EIO", "ESTALE", "ENOTCONN")
# name → at which step on the disk it begins. A sync takes some fifty steps, an export takes two.
FAULTS = {
    "EROFS": 1,
    "EACCES": 2,
    "ENOTCONN": 3,
    "ENOSPC": 6,
    "ESTALE": 11,
    "EIO": 30,
    "EDQUOT": 45,
    "EFBIG": 1,
    "EMFILE": 1,
    "ENOTDIR": 1,
}
STEPS = ("open", "os.rename", "os.mkdir", "os.listdir", "os.scandir")


class _Injected:
    """The error that the audit hook raises, if any."""

    folder = ""
    number = 0
    steps_before = 0


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if not _Injected.folder or event not in STEPS or not isinstance(arguments[0], str | os.PathLike):
        return
    path = os.fspath(arguments[0])
    if f"{path}/".startswith(_Injected.folder):
        _Injected.steps_before -= 1
        if _Injected.steps_before < 0:
            raise OSError(_Injected.number, os.strerror(_Injected.number), path)


@contextlib.contextmanager
def fault(name: str, folder: Path) -> Iterator[None]:
    """Let everything that is done in a folder fail."""
    if name == "none":
        yield
    elif name in INJECTED:
        _Injected.number, _Injected.steps_before = getattr(errno, name), FAULTS[name] - 1
        _Injected.folder = f"{folder}/"
        try:
            yield
        finally:
            _Injected.folder = ""
    elif name == "ENOTDIR":
        away = folder.with_name("away")
        folder.rename(away)
        folder.touch()
        try:
            yield
        finally:
            folder.unlink()
            away.rename(folder)
    else:
        kind = resource.RLIMIT_FSIZE if name == "EFBIG" else resource.RLIMIT_NOFILE
        soft, hard = resource.getrlimit(kind)
        limit = 100 if name == "EFBIG" else max(map(int, os.listdir("/dev/fd"))) + 1
        held = []
        resource.setrlimit(kind, (limit, hard))
        try:
            while name == "EMFILE":  # take the numbers that are free below the limit
                try:
                    held.append(os.dup(0))
                except OSError:
                    break
            yield
        finally:
            for descriptor in held:
                os.close(descriptor)
            resource.setrlimit(kind, (soft, hard))


class Disk:
    """What the operations need: a session, a thread with messages and an attachment, and a folder."""

    def __init__(self, session: imkit.Session) -> None:
        self.session = session
        self.group = session.create_group("tea")
        self.thread = self.group.create_thread("Oolong", self.group.send("?"))
        for number in range(5):
            self.thread.send(f"message {number} " + "x" * 100)
        self.note = self.thread.send(imkit.File(os.urandom(5_000), file_name="leaves.bin"))
        self.frame = pd.concat([self.thread.history(progress=False)] * 20)

    def send(self, folder: Path) -> object:
        return self.thread.send(imkit.File(folder / "photo.bin"))

    def download(self, folder: Path) -> object:
        return self.session.download(self.note, folder).stat().st_size == 5_000 or sys.exit("half a download")

    def export(self, suffix: str, folder: Path) -> object:
        return export.write(self.frame, folder / f"history{suffix}")

    def sync(self, folder: Path) -> object:
        archive = Archive(folder / "archive")
        return archive.sync(self.session, self.group, lookback=timedelta(0), attachments=True)

    def sync_with_a_jumping_clock(self, folder: Path) -> object:
        years = itertools.cycle((10, -10, 0))
        with pytest.MonkeyPatch.context() as patch:
            real = time.time
            patch.setattr(time, "time", lambda: real() + next(years) * 365 * 86_400)
            return self.sync(folder)

    def compact(self, folder: Path) -> object:
        return Archive(folder / "archive").compact()

    def watch(self, folder: Path) -> object:
        with Archive(folder / "archive").watch(self.session) as log:
            edit = imkit.MessageEdited(self.note, "alice", 1, self.note.time)
            portal().run(lambda: self.session.account.events.add([edit]))
        return log.count

    def check(self, folder: Path) -> str:
        """Return what is wrong with a folder after a call has failed and then succeeded; "" if nothing is."""
        names = [path.name for path in folder.rglob("*")]
        if any(name.endswith(".part") for name in names):
            return f"temporary files are left: {names}"
        archive = Archive(folder / "archive")
        if not (folder / "archive" / "catalogue").exists():
            return "" if len(archive.live()) <= 1 else "an event was logged twice"
        verification, ids = archive.verify(), archive.frame().message_id
        if not verification.ok or verification.notes or not ids.is_unique:
            return repr(verification)
        return "" if set(self.thread.history(progress=False).message_id) <= set(ids) else "messages are missing"


def run(disk: Disk, name: str, operation: Callable[[Path], object], fault_name: str) -> dict[str, str]:
    """Run one operation with a fault and then without it, and return what came of both."""
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home) / "disk"
        folder.mkdir()
        (folder / "photo.bin").write_bytes(b"a photo")
        original = folder / f"history{name.removeprefix('export')}"
        original.write_bytes(b"the original")
        if name == "compact":
            for _ in range(2):
                disk.thread.send("one more")
                disk.sync(folder)
        before = {path.relative_to(folder) for path in folder.rglob("*")}
        told = {"operation": name, "fault": fault_name, "error": "", "text": "", "hint": "", "wrong": ""}
        try:
            with fault(fault_name, folder):
                operation(folder)
        except imkit.IMError as error:
            told |= {"error": type(error).__name__, "text": str(error), "hint": error.hint}
        except Exception as error:
            told |= {"error": f"not of imkit: {type(error).__name__}", "text": str(error)}
        left = {path.relative_to(folder) for path in folder.rglob("*")} - before
        halves = [str(path) for path in left if path.parts[0] != "archive" or path.name.endswith(".part")]
        if not told["error"]:  # the operation was over before the fault began
            return told | {"wrong": disk.check(folder)}
        if halves or original.read_bytes() != b"the original":
            told["wrong"] = f"left behind: {halves}, or the original is changed"
        try:
            operation(folder)
            told["wrong"] = told["wrong"] or disk.check(folder)
        except Exception as error:
            told["wrong"] = f"it does not work afterwards: {type(error).__name__}: {error}"
        return told


def main() -> None:
    sys.addaudithook(_hook)
    settings = json.loads(sys.argv[1])
    app = SandboxAddress(settings["app_key"], settings["rest_url"], settings["ws_url"], settings["secret"]).app
    with imkit.login(settings["user"], app=app) as session:
        disk = Disk(session)
        operations: dict[str, Callable[[Path], object]] = {
            "send": disk.send,
            "download": disk.download,
            **{f"export{suffix}": partial(disk.export, suffix) for suffix in export.SUFFIXES},
            "sync": disk.sync,
            "compact": disk.compact,
            "watch": disk.watch,
            "sync with a jumping clock": disk.sync_with_a_jumping_clock,
        }
        for name, operation in operations.items():
            # What takes a few steps needs no fault that comes later.
            few = name == "send" or name.startswith("export")
            for fault_name in (
                ["none"] if "clock" in name else [each for each in FAULTS if not few or FAULTS[each] <= 2]
            ):
                print(json.dumps(run(disk, name, operation, fault_name)), flush=True)


if __name__ == "__main__":
    main()
