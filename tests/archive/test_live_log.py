"""The live log: edits and recalls that a session sees, logged only after `Archive.watch`."""

import json
from pathlib import Path

import imkit
from imkit.archive import Archive
from imkit.archive.live_log import MissedEvents, missed_events
from imkit.archive.storage import storage_at
from tests.archive.conftest import Tea
from tests.waits import eventually


def test_edits_and_recalls_are_logged_with_the_text(tea: Tea, archive: Archive) -> None:
    thread = tea.thread("Oolong")
    tea.bob.thread(thread.id).join()
    events = tea.bob.events(imkit.MessageReceived)
    watch = archive.watch(tea.bob)
    sent = thread.send("<b>oops</b>")
    received = ""
    while received != sent.id:  # bob may also get the parent message first
        event = events.next(timeout=10)
        assert isinstance(event, imkit.MessageReceived)
        received = event.message.id
    thread.edit(sent, "ouch")
    assert eventually(lambda: watch.count == 1)  # a recall takes back an edit that was not delivered yet
    thread.recall(sent)
    assert eventually(lambda: watch.count == 2)
    watch.close()
    frame = archive.live()
    assert frame.event.tolist() == ["edited", "recalled"]
    assert frame.text.tolist() == ["ouch", "ouch"]
    assert frame.target_id.tolist() == [thread.id] * 2
    assert frame.message_id.tolist() == [sent.id] * 2
    assert frame.seconds_after.notna().tolist() == [False, True]
    by_sql = archive.sql("select event, operator from live where message_id = ?", [sent.id])
    assert by_sql.operator.tolist() == [tea.alice.user] * 2
    assert f"live log of {tea.bob.user}" in repr(watch)


def test_nothing_is_logged_without_watch(tea: Tea, archive: Archive, tmp_path: Path) -> None:
    thread = tea.thread("Oolong")
    archive.sync(tea.alice, thread)
    thread.recall(thread.send("oops"))
    assert archive.live().empty
    assert not (tmp_path / "archive" / "live").exists()


def test_a_damaged_entry_is_left_out(archive: Archive, tmp_path: Path) -> None:
    folder = tmp_path / "archive" / "live" / "day=2026-11-24"
    folder.mkdir(parents=True)
    whole = {"event": "recalled", "at": 5, "operator": "ann", "message_id": "1", "later": "unknown"}
    entries = {"1.json": json.dumps(whole), "2.json": '{"event": "rec', "3.json": "[]", "4.json": '{"at": "tea"}'}
    for name, text in entries.items():
        (folder / name).write_text(text)
    (folder / "5.json").write_text("\n".join([json.dumps(whole), "{", json.dumps(whole | {"at": 2**70})]))
    assert archive.live().message_id.tolist() == ["1", "1"]


def test_missed_events_are_read_from_the_files_that_tell_them(archive: Archive, tmp_path: Path) -> None:
    folder = tmp_path / "archive" / "live" / "day=2026-11-24"
    folder.mkdir(parents=True)
    missed = {"event": "missed", "since": 5, "at": 9, "missed": 3}
    odd = [{"event": "recalled", "at": 6}, missed, {**missed, "missed": "x"}, {**missed, "since": 2**70}]
    (folder / "1-missed.json").write_text("\n".join(map(json.dumps, odd)))
    (folder / "2.json").write_text(json.dumps(missed))  # no writer names a file with such an entry so
    last = 253_402_300_799_999
    assert missed_events(storage_at(archive.path)) == [MissedEvents(5, 9, 3), MissedEvents(last, 9, 3)]
