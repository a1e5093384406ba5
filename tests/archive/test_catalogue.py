"""The catalogue: commits and checkpoints, errors for damaged files, and removal of files that a killed writer left."""

import hashlib
import json
from dataclasses import replace
from functools import partial
from operator import add
from pathlib import Path
from typing import Any

import pytest

from imkit.archive import catalogue
from imkit.archive.catalogue import CatalogueWriter, Commit, ConversationState, StoredFile, load
from imkit.archive.storage import storage_at
from imkit.errors import ArchiveError


def stored_file(number: int) -> StoredFile:
    return StoredFile(f"messages/day=2026-11-24/{number}.parquet", "messages", "2026-11-24", 1, 1, "0" * 64, 0, 0)


def test_commits_and_checkpoints_lead_to_the_same_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "CHECKPOINT_EVERY", 3)
    storage = storage_at(tmp_path)
    writer = CatalogueWriter(storage)
    for number in range(1, 12):
        removed = (stored_file(number - 2).name,) if number > 2 else ()
        conversation = ConversationState(str(number % 4), covered=((0, number),))
        writer.commit(Commit((stored_file(number),), removed, (conversation,), "org#app"))
        assert load(storage) == writer.state
        assert set(writer.state.files) == {stored_file(n).name for n in (number - 1, number) if n > 0}
    names = [name.rpartition("/")[2] for name in storage.names("catalogue")]
    assert [name for name in names if "checkpoint" in name] == [
        "000000000006.checkpoint.json",
        "000000000009.checkpoint.json",
    ]
    assert len([name for name in names if "commit" in name]) == 5
    assert load(storage).app_key == "org#app"


def test_a_damaged_checkpoint_is_replaced_by_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "CHECKPOINT_EVERY", 2)
    storage = storage_at(tmp_path)
    writer = CatalogueWriter(storage)
    for number in range(1, 6):
        writer.commit(Commit((stored_file(number),)))
    newest = tmp_path / "catalogue" / "000000000004.checkpoint.json"
    whole = newest.read_bytes()
    for damaged in (b"", whole[:-20], whole.replace(b'"rows": 1', b'"rows": 2', 1)):
        newest.write_bytes(damaged)
        assert load(storage) == writer.state


@pytest.mark.parametrize("damage", ["", "[]", "{}", '{"sha256": "", "content": {}}', "\x00"])
def test_a_damaged_commit_raises_an_error_that_names_it(tmp_path: Path, damage: str) -> None:
    storage = storage_at(tmp_path)
    CatalogueWriter(storage).commit(Commit((stored_file(1),)))
    (tmp_path / "catalogue" / "000000000001.commit.json").write_text(damage)
    with pytest.raises(ArchiveError, match=r"000000000001\.commit\.json.*is damaged"):
        load(storage)


def test_a_missing_commit_raises_an_error_that_names_it(tmp_path: Path) -> None:
    storage = storage_at(tmp_path)
    writer = CatalogueWriter(storage)
    for number in range(1, 4):
        writer.commit(Commit((stored_file(number),)))
    (tmp_path / "catalogue" / "000000000002.commit.json").unlink()
    with pytest.raises(ArchiveError, match="commit 2 is missing"):
        load(storage)


def test_an_archive_of_a_later_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = storage_at(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(catalogue, "FORMAT", 2)
        CatalogueWriter(storage).commit(Commit((stored_file(1),)))
    with pytest.raises(ArchiveError, match="later version"):
        load(storage)


def test_an_archive_that_only_a_later_version_may_write_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = storage_at(tmp_path)
    CatalogueWriter(storage).commit(Commit((stored_file(1),)))
    change_content(tmp_path / "catalogue" / "000000000001.commit.json", write_format=2)
    assert set(load(storage).files) == {stored_file(1).name}
    with pytest.raises(ArchiveError, match="can read it, not write it"):
        CatalogueWriter(storage)


def change_content(path: Path, **changes: Any) -> None:
    """Change the content of a catalogue file, with a right checksum."""
    content = {**json.loads(path.read_bytes())["content"], **changes}
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    path.write_text(json.dumps({"sha256": digest, "content": content}))


def test_keys_of_a_later_version_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "CHECKPOINT_EVERY", 2)
    storage = storage_at(tmp_path)
    CatalogueWriter(storage).commit(Commit((stored_file(1),), conversations=(ConversationState("42"),)))
    path = tmp_path / "catalogue" / "000000000001.commit.json"
    content = json.loads(path.read_bytes())["content"]
    for entry in (content["added"][0], content["conversations"][0]):
        entry["mood"] = {"extra": ["good"]}
    change_content(path, **content, weather="fine", extra=1)
    state = load(storage).conversations["42"]
    CatalogueWriter(storage).commit(Commit(conversations=(replace(state, name="tea"),)))
    written = json.loads((tmp_path / "catalogue" / "000000000002.checkpoint.json").read_bytes())["content"]
    assert (written["weather"], written["extra"]) == ("fine", 1)
    assert [entry["mood"] for entry in (*written["files"], *written["conversations"])] == [{"extra": ["good"]}] * 2
    path.unlink()
    (tmp_path / "catalogue" / "000000000002.commit.json").unlink()
    assert load(storage).conversations["42"].name == "tea"


def test_a_removed_file_stays_for_readers_and_is_deleted_later(tmp_path: Path) -> None:
    minute, now = 60_000, 1_795_390_333_491
    storage = storage_at(tmp_path)
    writer = CatalogueWriter(storage, lambda: now)
    name = stored_file(1).name
    storage.write(name, b"tea")
    writer.commit(Commit((stored_file(1),)))
    writer.commit(Commit(removed=(name,)))

    def read() -> bytes:
        with storage.open(name) as file:
            return bytes(file.read())

    assert storage.names("messages") == []
    assert (read(), catalogue.orphans(storage, load(storage))) == (b"tea", [])
    # The clock jumps by a year, and back: neither is taken for the time that has passed.
    for jump in (365 * 24 * 60 * minute, 0, 4 * minute):
        writer = CatalogueWriter(storage, partial(add, now, jump))
        writer.commit(Commit())
        assert read() == b"tea"
    CatalogueWriter(storage, lambda: now + 9 * minute).commit(Commit())
    with pytest.raises(FileNotFoundError):
        read()
    assert storage.names("replaced") == []


def test_a_file_can_be_removed_at_once(tmp_path: Path) -> None:
    storage = storage_at(tmp_path)
    writer = CatalogueWriter(storage)
    for number in (1, 2):
        storage.write(stored_file(number).name, b"tea")
        writer.commit(Commit((stored_file(number),)))
    writer.commit(Commit(removed=(stored_file(1).name,)))
    writer.commit(Commit(removed=(stored_file(2).name,), at_once=True))
    assert storage.names("messages") + storage.names("replaced") == []
    assert load(storage).retired == {}


def test_a_writer_removes_files_that_no_commit_names(tmp_path: Path) -> None:
    storage = storage_at(tmp_path)
    CatalogueWriter(storage).commit(Commit((stored_file(1),)))
    storage.write(stored_file(1).name, b"1")
    left_behind = ["messages/day=2026-11-24/x.parquet", "versions/day=2026-11-24/.x.part", "catalogue/.1.part"]
    kept = ["attachments/ab/abc", "live/day=2026-11-24/1.json"]
    for name in (*left_behind, *kept):
        storage.write(name, b"")
    assert catalogue.orphans(storage, load(storage)) == [left_behind[2], left_behind[0], left_behind[1]]
    CatalogueWriter(storage)
    assert [name for name in kept if not (tmp_path / name).exists()] == []
    assert [name for name in left_behind if (tmp_path / name).exists()] == []
    assert (tmp_path / stored_file(1).name).exists()
