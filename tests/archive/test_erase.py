"""Erasing a person: no file of the archive holds a trace of them, also after a kill, and what others said stays."""

import json
from pathlib import Path
from typing import Any

import fsspec
import pytest

import imkit
from imkit.archive import Archive, parquet
from imkit.archive.storage import LOCK, Storage, storage_at
from tests.archive.conftest import Tea
from tests.archive.erasable import LEFT, fill, message, rows, traces
from tests.archive.killed import assert_sound


@pytest.fixture(autouse=True)
def plain_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parquet files are not compressed, so that a search in their bytes also finds dictionaries and statistics."""
    options, plain = parquet.write_options, {"compression": "none", "compression_level": None}
    monkeypatch.setattr(parquet, "write_options", lambda names: {**options(names), **plain})


@pytest.fixture(params=["folder", "object store"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "archive") if request.param == "folder" else f"memory://{tmp_path.name}/archive"


def test_no_trace_is_left_and_what_others_said_is(place: str) -> None:
    archive = fill(place)
    assert len(traces(place)) > 10
    report = archive.erase("MALLORY")
    assert traces(place) == []
    assert_sound(archive, tidy=True)
    assert dict(zip(archive.frame().message_id.str[-2:], archive.frame().text.fillna("-"), strict=True)) == LEFT
    assert (report.rows_removed, report.rows_changed, report.texts_left) == (7, 11, 0)
    assert (report.live_removed, report.live_changed, report.attachments) == (4, 2, 3)
    assert "mallory" not in (repr(report) + report._repr_html_()).lower()
    assert archive.erase("bob").rows_removed > 0  # an erase leaves an archive that can be written


def test_only_the_traces_are_taken_out_of_the_messages_of_others(place: str) -> None:
    archive = fill(place)
    archive.erase("mallory")
    frame = archive.frame().set_index(archive.frame().message_id.str[-2:])
    assert json.loads(frame.ext["02"]) == {"em_at_list": ["(erased)", "carol"]}
    assert json.loads(frame.ext["03"])["mood"] == "good"
    assert json.loads(frame.ext["08"]) == {"votes": {"(erased)": "(erased)", "carol": "oolong"}}
    assert json.loads(frame.reactions["06"]) == [{"reaction": "🍵", "count": 1, "userList": ["carol"]}]
    assert frame.url.notna().to_dict() == {number: number == "15" for number in LEFT}
    stored = archive.sql("select message_id, sha256, reason from attachments").set_index("message_id")
    assert stored.sha256.notna().tolist() == [False, False, True]
    assert set(stored.reason.dropna()) == {"(erased)"}
    assert archive.live().operator.tolist() == ["bob", "(erased)", "bob"]
    assert archive.live().target_id.dropna().tolist() == ["(erased)"]
    assert archive.sql("select text from versions").text.tolist() == ["before"]


def test_a_second_erase_finds_nothing_and_other_people_are_untouched(place: str) -> None:
    archive = fill(place)
    archive.erase("mallory")
    before = sorted(archive.files())
    report = archive.erase("mallory")
    assert (report.rows_removed, report.rows_changed, report.live_removed, report.files) == (0, 0, 0, 0)
    assert sorted(archive.files()) == before
    assert archive.erase("mal").rows_changed == 0  # part of an id is another id


def test_the_id_in_words_of_others_is_counted_and_replaced_on_demand(archive: Archive) -> None:
    said = ["ask Mallory, please", "mallorys", "问mallory的", '{"a": "mallory\\u0021"}']
    storage = storage_at(archive.path)
    _merge(storage, *(message(number, "bob", imkit.Text(text)) for number, text in enumerate(said)))
    report = archive.erase("mallory")
    assert report.texts_left == 3
    assert "3 texts of others" in repr(report)
    assert archive.frame().text.tolist() == said
    assert archive.erase("mallory", texts=True).texts_left == 0
    assert archive.frame().text.tolist() == [
        "ask (erased), please",
        "mallorys",
        "问(erased)的",
        '{"a": "(erased)\\u0021"}',
    ]


def test_no_spelling_of_json_hides_the_id(archive: Archive) -> None:
    spellings = ['{"uid":"mallory","is":"peppermint","uid":"x"}', '{"uid":"\\u006dallory","is":"peppermint"}']
    messages = [message(n, "bob", imkit.Text("tea", ext={"a": text})) for n, text in enumerate(spellings)]
    _merge(storage_at(archive.path), *messages)
    report = archive.erase("mallory")
    assert (traces(archive.path), report.rows_changed) == ([], 2)


def test_a_damaged_file_ends_an_erase_before_it_begins(archive: Archive) -> None:
    fill(archive.path)
    damaged = Path(archive.files()[-1])
    damaged.write_bytes(damaged.read_bytes()[:-20])
    with pytest.raises(imkit.ArchiveError, match="cannot be"):
        archive.erase("mallory")
    assert [problem.where.partition("/")[0] for problem in archive.verify().problems] == ["messages"]


def test_what_killed_writers_left_is_searched_too(archive: Archive) -> None:
    fill(archive.path)
    folders = ("unfinished", "live/day=2026-11-23", "messages/day=2026-11-23", "attachments/ab", "catalogue")
    for folder in folders:
        (Path(archive.path) / folder).mkdir(exist_ok=True)
        (Path(archive.path) / folder / ".x.json.12.part").write_bytes(b'{"user": "mallory", ')
    assert "unfinished/.x.json.12.part" in [note.where for note in archive.verify().notes]
    archive.erase("mallory")
    assert traces(archive.path) == []
    assert_sound(archive, tidy=True)


def _merge(storage: Storage, *messages: imkit.Message) -> None:
    from imkit.archive.catalogue import CatalogueWriter, ConversationState
    from imkit.archive.merge import CommitBatch, merge_batch

    with storage.writing(0):
        known = {"42": ConversationState("42", name="Oolong", covered=((0, 1),))}
        merge_batch(storage, CatalogueWriter(storage), CommitBatch([rows(list(messages))], conversations=known), 1)


class Killed(BaseException):
    pass


def _ids(archive: Archive) -> list[str]:
    return archive.frame(columns=["message_id"], gone=True).message_id.tolist()


@pytest.mark.timeout(180)  # 3 s alone, but beside much other work thirty times as long
def test_an_erase_that_ends_at_any_step_is_reported_and_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, base, place = fsspec.filesystem("memory"), f"/{tmp_path.name}/base", f"/{tmp_path.name}/archive"
    before = _ids(fill(f"memory:/{base}"))
    archive, all_traces = Archive(f"memory:/{place}"), len(traces(f"memory:/{base}"))
    steps, last = 0, 0

    def stops(method: Any) -> Any:
        def counted(storage: Storage, name: str, *more: Any) -> None:
            nonlocal steps
            steps += name != LOCK
            if steps == last:
                steps += 1
                raise Killed
            method(storage, name, *more)

        return counted

    kind = type(storage_at(archive.path))
    for name in ("write", "replace", "remove", "move"):
        monkeypatch.setattr(kind, name, stops(getattr(kind, name)))
    while True:
        last, steps = last + 1, 0
        if store.exists(place):
            store.rm(place, recursive=True)
        store.cp(base, place, recursive=True)
        try:
            archive.erase("mallory")
            break
        except Killed:
            pass
        begun = bool(storage_at(archive.path).names("unfinished"))
        assert archive.verify().ok is not begun
        left = len(traces(archive.path))
        assert begun or left in (0, all_traces)
        assert _ids(archive) in (before, [str(10**18 + int(each)) for each in LEFT])
        if last % 2 or not begun:
            archive.erase("mallory")
        else:
            archive.compact()
        assert traces(archive.path) == [], last
        assert_sound(archive, tidy=True)
        assert _ids(archive) == [str(10**18 + int(each)) for each in LEFT]
    assert last > 30


def test_what_a_person_left_in_a_real_thread_is_erased(tea: Tea, archive: Archive) -> None:
    alice, bob = tea.alice, tea.bob
    thread = tea.thread("Oolong", "peppermint, please")
    bob.thread(thread.id).join()
    first = next(iter(thread.messages()))
    with archive.watch(bob) as log:
        edited = bob.events(imkit.MessageEdited)
        thread.edit(first, "peppermint again")
        edited.next(timeout=10)
        seen = bob.thread(thread.id)
        seen.send(imkit.Text("yes", ext={"msgQuote": {"msgSender": alice.user, "msgPreview": "peppermint"}}))
        forwarded = thread.send(imkit.File(b"peppermint", file_name="peppermint.txt")).body
        assert isinstance(forwarded, imkit.messages.Attachment)
        seen.send(imkit.File(url=forwarded.url, secret=forwarded.secret, file_name="peppermint.txt", file_size=10))
    assert log.count == 1
    archive.sync(bob, tea.group, attachments=True)
    assert traces(archive.path, alice.user, "peppermint")
    report = archive.erase(alice.user)
    assert traces(archive.path, alice.user, "peppermint") == []
    assert (report.rows_removed, report.live_removed, report.attachments) == (3, 1, 1)
    assert archive.verify().ok
    assert archive.sync(bob, tea.group).rows_added == 3  # the service still has them, as the report says
    assert "brings back" in repr(report)


def test_a_sync_finishes_an_erase_that_was_stopped(tea: Tea, archive: Archive) -> None:
    thread = tea.thread("Oolong", "a")
    archive.sync(tea.alice, thread)

    def stop(done: int, total: int) -> None:
        assert (done, total) == (1, 1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        archive.erase(tea.alice.user, progress=stop)
    (problem,) = archive.verify().problems
    assert "was interrupted" in problem.what
    assert tea.alice.user in problem.do
    thread.destroy()  # so that the sync does not bring the message back
    archive.sync(tea.alice, thread)
    assert archive.verify().ok
    assert traces(archive.path, tea.alice.user) == []


def test_a_damaged_marker_is_reported_and_refused(filled: Archive) -> None:
    marker = Path(filled.path) / "unfinished" / "erase.json"
    marker.parent.mkdir()
    endless, no_answer = '{"user": ' + "[" * 100_000, '{"user": "user1", "texts": "no"}'
    for damaged in ('{"user": ""}', '{"user": "../x", "texts": true}', "[]", "{", endless, no_answer):
        marker.write_text(damaged)
        assert [problem.where for problem in filled.verify().problems] == ["unfinished/erase.json"]
        with pytest.raises(imkit.ArchiveError, match="damaged") as error:
            filled.compact()
        assert "Delete the file" in error.value.hint
    marker.write_text('{"user": "user1", "texts": false}')
    report = filled.erase("USER1")
    assert report.finished_earlier
    assert report.rows_removed == 24
    assert "finished an erase" in repr(report)
    assert not filled.erase("user1").finished_earlier


def test_an_erase_waits_for_other_writers_and_refuses_what_is_no_id(filled: Archive) -> None:
    with storage_at(filled.path).writing(0), pytest.raises(imkit.ArchiveLocked):
        Archive(filled.path, timeout=0).erase("user1")
    with pytest.raises(imkit.InvalidMessage, match="not a user id"):
        filled.erase("user 1")
    with pytest.raises(imkit.ArchiveError, match="there is no archive"):
        Archive(f"{filled.path}-typo").erase("user1")
    assert not Path(f"{filled.path}-typo").exists()
