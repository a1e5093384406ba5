"""A sync against the sandbox: which rows it brings, how many requests it makes, and which failures it survives."""

import asyncio
import errno
import itertools
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import imkit
from imkit.archive import Archive, batching
from imkit.archive.catalogue import load
from imkit.archive.storage import Storage, storage_at
from imkit.archive.sync import check_app
from imkit.errors import ArchiveError
from imkit.history import fetch
from imkit.portal import portal
from imkit.sandbox.process import Sandbox
from tests.archive.conftest import Tea

NO_LOOKBACK = timedelta(0)


def assert_same(archive: Archive, session: imkit.Session, conversations: list[Any]) -> None:
    """Assert that the archive gives the same frame as the service."""
    assert archive.verify().ok
    pd.testing.assert_frame_equal(archive.frame(), session.history(conversations), check_categorical=False)


def test_the_first_sync_brings_everything_and_the_second_nothing(tea: Tea, archive: Archive) -> None:
    threads = [tea.thread("Oolong", *"abc"), tea.thread("Sencha"), tea.thread("Pu'er", "d")]
    report = archive.sync(tea.alice, tea.group)
    assert (report.rows_added, report.unchanged, report.reasons) == (7, 0, [])
    assert set(report.new) == {tea.group.id, *(thread.id for thread in threads)}
    assert_same(archive, tea.alice, [tea.group, *threads])
    frame = archive.frame()
    assert frame.im.source["complete"]
    second = archive.sync(tea.alice, tea.group)
    assert (second.rows_added, second.rows_changed, second.rows_gone) == (0, 0, 0)
    assert (second.new, second.changed, second.unchanged) == ([], [], 4)
    assert "7 messages added" in repr(report)
    assert archive.threads().messages.tolist() == [3, 3, 0, 1]


def test_unchanged_threads_cost_a_request_for_each_twenty(tea: Tea, archive: Archive) -> None:
    threads = [tea.thread(f"Tea {number}", "hello") for number in range(45)]
    archive.sync(tea.alice, tea.group)
    assert archive.sync(tea.alice, threads, lookback=NO_LOOKBACK).requests == 3
    whole = archive.sync(tea.alice, tea.group, lookback=NO_LOOKBACK)
    assert whole.requests <= 2 + 3 + 1  # two pages of the list, the newest messages, the group's own history
    assert whole.unchanged == 46


def test_new_messages_and_new_threads_on_old_messages(tea: Tea, archive: Archive) -> None:
    old = tea.group.send("an old message")
    quiet, busy = tea.thread("Quiet", "a"), tea.thread("Busy", "b")
    archive.sync(tea.alice, tea.alice)  # a session means all its groups
    busy.send("c")
    late = tea.group.create_thread("Late", old)
    late.send("d")
    report = archive.sync(tea.alice, tea.group, lookback=NO_LOOKBACK)
    assert (report.new, report.changed, report.rows_added) == ([late.id], [busy.id], 2)
    assert_same(archive, tea.alice, [tea.group, quiet, busy, late])


def test_recent_edits_and_recalls_show_and_nothing_is_deleted(tea: Tea, archive: Archive) -> None:
    thread = tea.thread("Oolong")
    first, second, third, _ = [thread.send(text) for text in "abcd"]
    archive.sync(tea.alice, thread)
    thread.edit(first, "A")
    thread.recall(second)
    untouched = archive.sync(tea.alice, thread, lookback=NO_LOOKBACK)
    assert (untouched.unchanged, untouched.rows_changed, untouched.rows_gone) == (1, 0, 0)
    report = archive.sync(tea.alice, thread)
    assert (report.rows_added, report.rows_changed, report.rows_gone) == (0, 1, 1)
    assert_same(archive, tea.alice, [thread])
    whole = archive.frame(gone=True)
    assert whole.text.tolist() == ["A", "b", "c", "d"]
    assert whole.gone_at.notna().tolist() == [False, True, False, False]
    versions = archive.sql("select text, superseded_at from versions")
    assert versions.text.tolist() == ["a"]
    unchanged = archive.sync(tea.alice, thread)
    assert (unchanged.rows_changed, unchanged.rows_gone) == (0, 0)
    thread.edit(first, "AA")
    archive.sync(tea.alice, thread)
    assert archive.sql("select text from versions order by superseded_at").text.tolist() == ["a", "A"]
    assert third.id in set(archive.frame().message_id)


def test_the_newest_message_recalled_shows_without_a_lookback(tea: Tea, archive: Archive) -> None:
    thread = tea.thread("Oolong", "a")
    newest = thread.send("b")
    archive.sync(tea.alice, thread)
    thread.recall(newest)
    assert archive.sync(tea.alice, thread, lookback=NO_LOOKBACK).rows_gone == 1
    assert archive.frame().text.tolist() == ["a"]


def test_a_vanished_thread_is_kept_and_the_sync_goes_on(tea: Tea, archive: Archive) -> None:
    threads = [tea.thread(f"Tea {number}", "hello") for number in range(5)]
    archive.sync(tea.alice, tea.group)
    threads[2].destroy()
    threads[3].send("again")
    by_list = archive.sync(tea.alice, threads)
    assert (list(by_list.vanished), by_list.rows_added) == ([threads[2].id], 1)
    threads[1].destroy()
    by_group = archive.sync(tea.alice, tea.group)
    assert list(by_group.vanished) == [threads[1].id]
    assert "vanished, and kept" in repr(by_group)
    lost = archive.threads().query("status == 'vanished'")
    assert set(lost.target_id) == {threads[1].id, threads[2].id}
    assert lost.status_since.notna().all()
    assert archive.frame(thread=threads[1].id).text.tolist() == ["hello"]
    assert archive.sync(tea.alice, threads).vanished.keys() == {threads[1].id, threads[2].id}


def test_a_forbidden_thread_is_kept_and_synced_when_the_user_joins(tea: Tea, archive: Archive) -> None:
    thread = tea.thread("Oolong", "a")
    theirs = tea.bob.group(tea.group.id)
    outside = archive.sync(tea.bob, theirs)
    assert (list(outside.forbidden), outside.rows_added) == ([thread.id], 1)  # only members of a thread may read it
    tea.bob.thread(thread.id).join()
    assert archive.sync(tea.bob, theirs).rows_added == 1
    tea.group.remove(tea.bob.user)
    thread.send("b")
    report = archive.sync(tea.bob, theirs)
    assert report.forbidden.keys() == {tea.group.id, thread.id}
    assert archive.sync(tea.bob, [tea.bob.thread(thread.id)]).forbidden.keys() == {thread.id}
    assert archive.frame(thread=thread).text.tolist() == ["a"]
    tea.group.invite(tea.bob.user)
    tea.bob.thread(thread.id).join()
    assert archive.sync(tea.bob, theirs).rows_added == 1
    assert set(archive.threads().status) == {"ok"}


def test_since_bounds_the_first_sync_and_a_later_one_reads_the_rest(tea: Tea, archive: Archive) -> None:
    thread = tea.thread("Oolong", "a", "b")
    middle = thread.send("c")
    thread.send("d")
    archive.sync(tea.alice, thread, since=middle.time)
    assert archive.frame().text.tolist()[-2:] == ["c", "d"]
    bounded = len(archive.frame())
    assert not archive.frame().im.source["complete"]
    assert archive.frame(since=middle.time).im.source["complete"]
    assert archive.sync(tea.alice, thread, since=middle.time, lookback=NO_LOOKBACK).unchanged == 1
    archive.sync(tea.alice, thread, lookback=NO_LOOKBACK)
    assert bounded <= 4
    assert_same(archive, tea.alice, [thread])
    assert archive.frame().im.source["complete"]


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "ROWS_A_COMMIT", 20)
    monkeypatch.setattr(fetch, "ROWS_A_PART", 10)


@pytest.mark.usefixtures("small_batches")
def test_a_stopped_sync_goes_on_from_where_it_was(tea: Tea, archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = [tea.thread(f"Tea {number}", *map(str, range(15))) for number in range(6)]
    flush = batching.Batcher.flush
    flushes = itertools.count(1)
    syncs: list[asyncio.Task[Any]] = []

    async def stop_after_two(self: batching.Batcher) -> None:
        await flush(self)
        if next(flushes) == 2:
            syncs[0].cancel()

    async def stopped() -> None:
        syncs.append(asyncio.create_task(archive.sync.aio(tea.alice, tea.group, workers=1)))
        with pytest.raises(asyncio.CancelledError):
            await syncs[0]

    with monkeypatch.context() as patch:
        patch.setattr(batching.Batcher, "flush", stop_after_two)
        portal().call(stopped())
    kept = len(archive.frame())
    assert 20 <= kept < 96
    assert archive.verify().ok
    assert not archive.frame().im.source["complete"]
    report = archive.sync(tea.alice, tea.group)
    assert report.rows_added == 96 - kept
    assert_same(archive, tea.alice, [tea.group, *threads])


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("files_that_fit", [0, 1, 2, 3])
def test_a_full_disk_loses_nothing(
    tea: Tea, archive: Archive, monkeypatch: pytest.MonkeyPatch, files_that_fit: int
) -> None:
    thread = tea.thread("Oolong", *map(str, range(70)))
    written = itertools.count()
    storage = type(storage_at(archive.path))
    write = storage.write

    def full(self: Storage, name: str, data: bytes) -> None:
        if next(written) >= files_that_fit:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, name, data)

    with monkeypatch.context() as patch:
        patch.setattr(storage, "write", full)
        with pytest.raises(ArchiveError, match="No space left") as caught:
            archive.sync(tea.alice, thread)
    assert "the next sync goes on" in caught.value.__notes__[0]
    assert archive.verify().ok
    archive.sync(tea.alice, thread)
    assert_same(archive, tea.alice, [thread])
    assert archive.verify().notes == []


@pytest.mark.slow
@pytest.mark.usefixtures("small_batches")
def test_refusals_and_cut_connections_lose_nothing(archive: Archive, tmp_path: Path) -> None:
    path = tmp_path / "server.db"
    with Sandbox(path) as sandbox, imkit.login("alice", app=sandbox.app) as alice:
        group = alice.create_group("tea")
        threads = [group.create_thread(f"Tea {number}", group.send("?")) for number in range(3)]
        for thread, text in itertools.product(threads, range(55)):
            thread.send(str(text))
    fail = {"html-502": 0.05, "rest-cut": 0.05, "429": 0.02}
    with Sandbox(path, fail=fail) as sandbox, imkit.login("alice", app=sandbox.app) as alice:
        group, threads = alice.group(group.id), [alice.thread(thread.id) for thread in threads]
        report = archive.sync(alice, group, workers=16)
        assert report.reasons == []
        assert_same(archive, alice, [group, *threads])


def test_wrong_arguments_are_refused(tea: Tea, archive: Archive) -> None:
    for wrong in ({"workers": 0}, {"lookback": timedelta(-1)}, {"lookback": 2}, {"since": "tea"}, {"client": 3}):
        with pytest.raises(imkit.InvalidMessage):
            archive.sync(tea.alice, tea.group, **wrong)
    ids: Any = ["42"]
    with pytest.raises(imkit.InvalidMessage, match="cannot be synced"):
        archive.sync(tea.alice, ids)
    with Sandbox() as other, imkit.login("alice", app=other.app) as stranger:
        with pytest.raises(imkit.InvalidMessage, match="another app"):
            archive.sync(tea.alice, stranger.group(tea.group.id))
    assert archive.frame().empty
    tea.alice.close()
    with pytest.raises(imkit.SessionClosed):
        archive.sync(tea.alice, tea.group)


def test_an_archive_refuses_the_messages_of_another_app(tea: Tea, archive: Archive) -> None:
    archive.sync(tea.alice, tea.group)
    app = imkit.App("tea#shop", rest_url="http://127.0.0.1:1", ws_url="ws://127.0.0.1:1")
    with pytest.raises(imkit.InvalidMessage, match=r"imkit#sandbox, not of tea#shop"):
        check_app(load(storage_at(archive.path)), app.app_key, archive.path)


def test_progress_is_reported(tea: Tea, archive: Archive) -> None:
    thread = tea.thread("Oolong", *"abc")
    reported: list[int] = []
    archive.sync(tea.alice, thread, progress=lambda done, _: reported.append(done))
    assert reported[-1] == 3
