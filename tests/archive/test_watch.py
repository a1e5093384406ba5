"""Writing the live log: bursts, a full disk, what is missed, and the end of the log."""

import errno
import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import imkit
from imkit.archive import Archive, watch
from imkit.archive.storage import Storage, storage_at
from imkit.events import Event, MessageEdited
from imkit.messages import Message, Text
from imkit.portal import portal
from tests.archive.conftest import Tea
from tests.waits import WAIT, eventually

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def edits(*numbers: int) -> list[Event]:
    return [
        MessageEdited(Message(str(number), "alice", "42", NOON, Text(f"{number}\n")), "alice", 1, NOON)
        for number in numbers
    ]


def tell(session: imkit.Session, *numbers: int) -> None:
    portal().run(lambda: session.account.events.add(edits(*numbers)))


class Disk:
    """The disk of an archive, which a test can fill: then each write fails as on a full disk."""

    def __init__(self, patch: pytest.MonkeyPatch, archive: Archive) -> None:
        self.is_full = self.loses_answers = False
        self.writes = 0
        self.before_write: Callable[[], object] = lambda: None
        kind = type(storage_at(archive.path))
        write = kind.write
        disk = self

        def maybe_write(storage: Storage, name: str, data: bytes) -> None:
            disk.before_write()
            disk.writes += 1
            if not disk.is_full:
                write(storage, name, data)
            if disk.is_full or disk.loses_answers:
                raise OSError(errno.ENOSPC, "No space left on device", name)

        patch.setattr(kind, "write", maybe_write)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch, archive: Archive) -> Disk:
    monkeypatch.setattr(watch, "RETRY_SECONDS", 0.01)
    return Disk(monkeypatch, archive)


def test_a_burst_becomes_one_file_and_is_complete(bob: imkit.Session, archive: Archive, disk: Disk) -> None:
    writing, go_on = threading.Event(), threading.Event()

    def block() -> None:
        writing.set()
        go_on.wait(WAIT)

    disk.before_write = block
    with archive.watch(bob) as log:
        tell(bob, 0)
        assert writing.wait(WAIT)
        for number in range(1, 200):
            tell(bob, number)
        go_on.set()
    assert disk.writes == 2
    assert log.count == 200
    assert sorted(map(int, archive.live().message_id)) == list(range(200))
    assert set(archive.live().text) == {f"{number}\n" for number in range(200)}


def test_a_full_disk_is_said_and_nothing_is_lost_when_there_is_space_again(
    bob: imkit.Session, archive: Archive, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    disk.is_full = True
    with archive.watch(bob) as log, caplog.at_level(logging.WARNING, logger="imkit.archive"):
        tell(bob, 1)
        assert eventually(lambda: log.failure is not None)
        assert "No space left" in repr(log)
        assert "Free some space on that disk. It tries again" in str(log.failure)
        tell(bob, 2)
        assert bob.connected
        disk.is_full = False
        assert eventually(lambda: log.count == 2)
        assert log.failure is None
    assert archive.live().message_id.tolist() == ["1", "2"]
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2, said  # once that it fails, and once that it works again
    assert "cannot be written" in said[0]


def test_a_disk_that_stays_full_is_an_error_at_the_end(bob: imkit.Session, archive: Archive, disk: Disk) -> None:
    disk.is_full = True
    log = archive.watch(bob)
    tell(bob, 1, 2)
    with pytest.raises(imkit.ArchiveError, match=r"2 events are lost: .*No space left"):
        log.close()

    def fail() -> None:
        with archive.watch(bob):
            tell(bob, 3)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):  # an error of the block is not hidden by that of the log
        fail()
    assert archive.live().empty
    assert not [path for path in Path(archive.path).rglob("*") if path.is_file()]


def test_a_write_that_fails_after_the_file_is_there_is_not_repeated(
    bob: imkit.Session, archive: Archive, disk: Disk
) -> None:
    disk.loses_answers = True
    with archive.watch(bob) as log:
        tell(bob, 1)
        assert eventually(lambda: log.count == 1)
        disk.loses_answers = False
        tell(bob, 2)
    assert archive.live().message_id.tolist() == ["1", "2"]


def test_missed_events_are_in_the_log_and_the_next_sync_looks_back_to_them(
    tea: Tea, archive: Archive, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "MAX_WAITING_BYTES", 600)  # two small events
    thread = tea.thread("Oolong")
    sent = thread.send("oops")
    archive.sync(tea.alice, thread)
    disk.is_full = True
    with archive.watch(tea.bob) as log:
        tell(tea.bob, 1)
        assert eventually(lambda: log.failure is not None)
        tell(tea.bob, 2, 3, 4)
        thread.recall(sent)
        disk.is_full = False
    row = archive.live().query("event == 'missed'").iloc[0]
    assert (row.missed, row.since <= row["at"]) == (2, True)
    assert archive.sql("select sum(missed) as n from live").n[0] == 2
    assert "missed 2 edits and recalls" in repr(archive.verify())
    assert archive.verify().ok
    report = archive.sync(tea.alice, thread, lookback=timedelta(0))
    assert report.rows_gone == 1
    assert "missed 2 edits and recalls" in repr(report)
    assert archive.sync(tea.alice, thread).missed_live == []


def test_the_end_of_the_session_writes_the_rest(tea: Tea, archive: Archive) -> None:
    log = archive.watch(tea.bob)
    tell(tea.bob, *range(100))
    tea.bob.close()
    log.close()
    log.close()
    assert len(archive.live()) == 100


def test_a_watch_of_a_closed_session_is_refused(tea: Tea, archive: Archive) -> None:
    tea.bob.close()
    with pytest.raises(imkit.SessionClosed):
        archive.watch(tea.bob)
