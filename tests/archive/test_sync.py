"""A sync against the sandbox: what it brings, what it costs, and what it survives."""

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
from imkit.archive.storage import _Folder
from imkit.errors import ArchiveError
from imkit.history import fetch
from imkit.portal import portal
from imkit.sandbox.process import Sandbox
from tests.archive.conftest import Tea

NOT = timedelta(0)


def same(archive: Archive, session: imkit.Session, rooms: list[Any]) -> None:
    """The archive gives what the service gives."""
    assert archive.verify().ok
    pd.testing.assert_frame_equal(archive.frame(), session.history(rooms), check_categorical=False)


def test_brings_everything_and_then_nothing(tea: Tea, archive: Archive) -> None:
    threads = [tea.thread("Oolong", *"abc"), tea.thread("Sencha"), tea.thread("Pu'er", "d")]
    report = archive.sync(tea.alice, tea.group)
    assert (report.rows_added, report.unchanged, report.reasons) == (7, 0, [])
    assert set(report.new) == {tea.group.id, *(thread.id for thread in threads)}
    same(archive, tea.alice, [tea.group, *threads])
    frame = archive.frame()
    assert frame.im.source["complete"]
    again = archive.sync(tea.alice, tea.group)
    assert (again.rows_added, again.rows_changed, again.rows_gone) == (0, 0, 0)
    assert (again.new, again.changed, again.unchanged) == ([], [], 4)
    assert "7 messages added" in repr(report)
    assert archive.threads().messages.tolist() == [3, 3, 0, 1]


def test_unchanged_threads_cost_a_request_for_each_twenty(tea: Tea, archive: Archive) -> None:
    threads = [tea.thread(f"Tea {number}", "hello") for number in range(45)]
    archive.sync(tea.alice, tea.group)
    assert archive.sync(tea.alice, threads, lookback=NOT).requests == 3
    whole = archive.sync(tea.alice, tea.group, lookback=NOT)
    assert whole.requests <= 2 + 3 + 1  # the list and its empty end, the newest messages, the group's own history
    assert whole.unchanged == 46


def test_new_messages_and_new_threads_on_old_messages(tea: Tea, archive: Archive) -> None:
    old = tea.group.send("an old message")
    quiet, busy = tea.thread("Quiet", "a"), tea.thread("Busy", "b")
    archive.sync(tea.alice, tea.alice)  # a session stands for all its groups
    busy.send("c")
    late = tea.group.create_thread("Late", old)
    late.send("d")
    report = archive.sync(tea.alice, tea.group, lookback=NOT)
    assert (report.new, report.changed, report.rows_added) == ([late.id], [busy.id], 2)
    same(archive, tea.alice, [tea.group, quiet, busy, late])


def test_edits_and_recalls_of_the_recent_past_show_and_nothing_is_deleted(tea: Tea, archive: Archive) -> None:
    thread = tea.thread("Oolong")
    first, second, third, _ = [thread.send(text) for text in "abcd"]
    archive.sync(tea.alice, thread)
    thread.edit(first, "A")
    thread.recall(second)
    untouched = archive.sync(tea.alice, thread, lookback=NOT)
    assert (untouched.unchanged, untouched.rows_changed, untouched.rows_gone) == (1, 0, 0)
    report = archive.sync(tea.alice, thread)
    assert (report.rows_added, report.rows_changed, report.rows_gone) == (0, 1, 1)
    same(archive, tea.alice, [thread])
    whole = archive.frame(gone=True)
    assert whole.text.tolist() == ["A", "b", "c", "d"]
    assert whole.gone_at.notna().tolist() == [False, True, False, False]
    versions = archive.sql("select text, superseded_at from versions")
    assert versions.text.tolist() == ["a"]
    settled = archive.sync(tea.alice, thread)
    assert (settled.rows_changed, settled.rows_gone) == (0, 0)
    thread.edit(first, "AA")
    archive.sync(tea.alice, thread)
    assert archive.sql("select text from versions order by superseded_at").text.tolist() == ["a", "A"]
    assert third.id in set(archive.frame().message_id)


def test_the_newest_message_recalled_shows_without_a_lookback(tea: Tea, archive: Archive) -> None:
    thread = tea.thread("Oolong", "a")
    newest = thread.send("b")
    archive.sync(tea.alice, thread)
    thread.recall(newest)
    assert archive.sync(tea.alice, thread, lookback=NOT).rows_gone == 1
    assert archive.frame().text.tolist() == ["a"]


def test_a_vanished_thread_is_kept_and_the_rest_goes_on(tea: Tea, archive: Archive) -> None:
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


def test_what_is_closed_to_the_user_is_kept_and_goes_on_when_it_opens(tea: Tea, archive: Archive) -> None:
    thread = tea.thread("Oolong", "a")
    theirs = tea.bob.group(tea.group.id)
    outside = archive.sync(tea.bob, theirs)
    assert (list(outside.forbidden), outside.rows_added) == ([thread.id], 1)  # only who is in a thread may read it
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


def test_since_bounds_the_first_sync_and_the_rest_can_be_had_later(tea: Tea, archive: Archive) -> None:
    thread = tea.thread("Oolong", "a", "b")
    middle = thread.send("c")
    thread.send("d")
    archive.sync(tea.alice, thread, since=middle.time)
    assert archive.frame().text.tolist()[-2:] == ["c", "d"]
    bounded = len(archive.frame())
    assert not archive.frame().im.source["complete"]
    assert archive.frame(since=middle.time).im.source["complete"]
    assert archive.sync(tea.alice, thread, since=middle.time, lookback=NOT).unchanged == 1
    archive.sync(tea.alice, thread, lookback=NOT)
    assert bounded <= 4
    same(archive, tea.alice, [thread])
    assert archive.frame().im.source["complete"]


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "ROWS_A_PIECE", 20)
    monkeypatch.setattr(fetch, "ROWS_A_PART", 10)


@pytest.mark.usefixtures("small_pieces")
def test_a_stopped_sync_goes_on_from_where_it_was(tea: Tea, archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = [tea.thread(f"Tea {number}", *map(str, range(15))) for number in range(6)]
    settled = batching.Intake.flush
    pieces = itertools.count(1)

    async def stop_after_two(self: batching.Intake) -> None:
        await settled(self)
        if next(pieces) == 2:
            work.cancel()

    async def stopped() -> None:
        nonlocal work
        work = asyncio.create_task(archive.sync.aio(tea.alice, tea.group, workers=1))
        with pytest.raises(asyncio.CancelledError):
            await work

    work: asyncio.Task[Any]
    with monkeypatch.context() as patch:
        patch.setattr(batching.Intake, "flush", stop_after_two)
        portal().call(stopped())
    kept = len(archive.frame())
    assert 20 <= kept < 96
    assert archive.verify().ok
    assert not archive.frame().im.source["complete"]
    report = archive.sync(tea.alice, tea.group)
    assert report.rows_added == 96 - kept
    same(archive, tea.alice, [tea.group, *threads])


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("room_for", [0, 1, 2, 3])
def test_a_full_disk_loses_nothing(tea: Tea, archive: Archive, monkeypatch: pytest.MonkeyPatch, room_for: int) -> None:
    thread = tea.thread("Oolong", *map(str, range(70)))
    written = itertools.count()
    write = _Folder.write

    def full(self: _Folder, name: str, data: bytes) -> None:
        if next(written) >= room_for:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, name, data)

    with monkeypatch.context() as patch:
        patch.setattr(_Folder, "write", full)
        with pytest.raises(ArchiveError, match="No space left") as caught:
            archive.sync(tea.alice, thread)
    assert "the next sync goes on" in caught.value.__notes__[0]
    assert archive.verify().ok
    archive.sync(tea.alice, thread)
    same(archive, tea.alice, [thread])
    assert archive.verify().notes == []


@pytest.mark.slow
@pytest.mark.usefixtures("small_pieces")
def test_storms_of_refusals_and_cut_connections_lose_nothing(archive: Archive, tmp_path: Path) -> None:
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
        same(archive, alice, [group, *threads])


def test_what_cannot_be_is_refused(tea: Tea, archive: Archive) -> None:
    for wrong in ({"workers": 0}, {"lookback": timedelta(-1)}, {"lookback": 2}, {"since": "tea"}, {"client": 3}):
        with pytest.raises(imkit.InvalidMessage):
            archive.sync(tea.alice, tea.group, **wrong)
    with pytest.raises(imkit.InvalidMessage, match="cannot be synced"):
        archive.sync(tea.alice, ["42"])
    with Sandbox() as other, imkit.login("alice", app=other.app) as stranger:
        with pytest.raises(imkit.InvalidMessage, match="another app"):
            archive.sync(tea.alice, stranger.group(tea.group.id))
    assert archive.frame().empty
    tea.alice.close()
    with pytest.raises(imkit.SessionClosed):
        archive.sync(tea.alice, tea.group)


def test_two_apps_do_not_mix(tea: Tea, archive: Archive) -> None:
    archive.sync(tea.alice, tea.group)
    app = imkit.App("tea#shop", rest_url="http://127.0.0.1:1", ws_url="ws://127.0.0.1:1")
    from imkit.archive.catalogue import load
    from imkit.archive.sync import check_app

    with pytest.raises(imkit.InvalidMessage, match=r"imkit#sandbox, not of tea#shop"):
        check_app(load(archive._storage), app.app_key, archive.path)


def test_progress_is_told(tea: Tea, archive: Archive) -> None:
    thread = tea.thread("Oolong", *"abc")
    told: list[int] = []
    archive.sync(tea.alice, thread, progress=lambda done, _: told.append(done))
    assert told[-1] == 3
