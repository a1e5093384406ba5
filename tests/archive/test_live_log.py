"""The live log: what was said and then recalled or edited, and only where somebody asked for it."""

import json
import threading
from pathlib import Path

import pytest

import imkit
from imkit.archive import Archive
from tests.archive.conftest import Tea


def test_said_then_recalled(tea: Tea, archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    thread = tea.thread("Oolong")
    tea.bob.thread(thread.id).join()
    events = tea.bob.events(imkit.MessageReceived)
    written, write = threading.Semaphore(0), archive._storage.write

    def told(name: str, data: bytes) -> None:
        write(name, data)
        written.release()

    monkeypatch.setattr(archive._storage, "write", told)
    watch = archive.watch(tea.bob)
    sent = thread.send("<b>oops</b>")
    while events.next(timeout=10).message.id != sent.id:
        pass
    thread.edit(sent, "ouch")
    thread.recall(sent)
    assert written.acquire(timeout=10)
    assert written.acquire(timeout=10)
    watch.close()
    found = archive.live()
    assert found.event.tolist() == ["edited", "recalled"]
    assert found.text.tolist() == ["ouch", "ouch"]
    assert found.target_id.tolist() == [thread.id] * 2
    assert found.message_id.tolist() == [sent.id] * 2
    assert found.seconds_after.notna().tolist() == [False, True]
    by_sql = archive.sql("select event, operator from live where message_id = ?", [sent.id])
    assert by_sql.operator.tolist() == [tea.alice.user] * 2
    assert f"live log of {tea.bob.user}" in repr(watch)


def test_nothing_is_logged_unasked(tea: Tea, archive: Archive, tmp_path: Path) -> None:
    thread = tea.thread("Oolong")
    archive.sync(tea.alice, thread)
    thread.recall(thread.send("oops"))
    assert archive.live().empty
    assert not (tmp_path / "archive" / "live").exists()


def test_a_damaged_entry_costs_nothing_but_itself(archive: Archive, tmp_path: Path) -> None:
    folder = tmp_path / "archive" / "live" / "day=2026-11-24"
    folder.mkdir(parents=True)
    whole = {"event": "recalled", "at": 5, "operator": "ann", "message_id": "1", "later": "unknown"}
    entries = {"1.json": json.dumps(whole), "2.json": '{"event": "rec', "3.json": "[]", "4.json": '{"at": "tea"}'}
    for name, text in entries.items():
        (folder / name).write_text(text)
    assert archive.live().message_id.tolist() == ["1"]
