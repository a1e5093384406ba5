"""The catalogue: commits, checkpoints; what is damaged is told, what is left behind goes."""

import json
from pathlib import Path

import pytest

from imkit.archive import catalogue
from imkit.archive.catalogue import Commit, Conversation, Ledger, StoredFile, load
from imkit.archive.storage import storage_at
from imkit.errors import ArchiveError


def stored(number: int) -> StoredFile:
    return StoredFile(f"messages/day=2026-11-24/{number}.parquet", "messages", "2026-11-24", 1, 1, "", 0, 0)


def test_commits_and_checkpoints_lead_to_the_same_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "CHECKPOINT_EVERY", 3)
    storage = storage_at(tmp_path)
    ledger = Ledger(storage)
    for number in range(1, 12):
        removed = (stored(number - 2).name,) if number > 2 else ()
        conversation = Conversation(str(number % 4), covered=((0, number),))
        ledger.commit(Commit((stored(number),), removed, (conversation,), "org#app"))
        assert load(storage) == ledger.state
        assert set(ledger.state.files) == {stored(n).name for n in (number - 1, number) if n > 0}
    names = [name.rpartition("/")[2] for name in storage.names("catalogue")]
    assert [name for name in names if "checkpoint" in name] == [
        "000000000006.checkpoint.json",
        "000000000009.checkpoint.json",
    ]
    assert len([name for name in names if "commit" in name]) == 5
    assert load(storage).app_key == "org#app"


def test_a_damaged_checkpoint_is_made_good_by_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "CHECKPOINT_EVERY", 2)
    storage = storage_at(tmp_path)
    ledger = Ledger(storage)
    for number in range(1, 6):
        ledger.commit(Commit((stored(number),)))
    newest = tmp_path / "catalogue" / "000000000004.checkpoint.json"
    whole = newest.read_bytes()
    for damaged in (b"", whole[:-20], whole.replace(b'"rows": 1', b'"rows": 2', 1)):
        newest.write_bytes(damaged)
        assert load(storage) == ledger.state


@pytest.mark.parametrize("damage", ["", "[]", "{}", '{"sha256": "", "content": {}}', "\x00"])
def test_a_damaged_commit_is_told(tmp_path: Path, damage: str) -> None:
    storage = storage_at(tmp_path)
    Ledger(storage).commit(Commit((stored(1),)))
    (tmp_path / "catalogue" / "000000000001.commit.json").write_text(damage)
    with pytest.raises(ArchiveError, match=r"000000000001\.commit\.json.*is damaged"):
        load(storage)


def test_a_missing_commit_is_told(tmp_path: Path) -> None:
    storage = storage_at(tmp_path)
    ledger = Ledger(storage)
    for number in range(1, 4):
        ledger.commit(Commit((stored(number),)))
    (tmp_path / "catalogue" / "000000000002.commit.json").unlink()
    with pytest.raises(ArchiveError, match="commit 2 is missing"):
        load(storage)


def test_a_later_version_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = storage_at(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(catalogue, "FORMAT", 2)
        Ledger(storage).commit(Commit((stored(1),)))
    with pytest.raises(ArchiveError, match="later version"):
        load(storage)


def test_what_a_later_version_has_added_to_a_thread_is_left_out() -> None:
    entry = {"id": "42", "covered": [[1, 2]], "mood": "good"}
    assert Conversation.read(json.loads(json.dumps(entry))) == Conversation("42", covered=((1, 2),))


def test_a_writer_removes_what_nobody_names(tmp_path: Path) -> None:
    storage = storage_at(tmp_path)
    Ledger(storage).commit(Commit((stored(1),)))
    storage.write(stored(1).name, b"1")
    left = ["messages/day=2026-11-24/x.parquet", "versions/day=2026-11-24/.x.part", "catalogue/.1.part"]
    kept = ["attachments/ab/abc", "live/day=2026-11-24/1.json"]
    for name in (*left, *kept):
        storage.write(name, b"")
    assert catalogue.orphans(storage, load(storage)) == [left[2], left[0], left[1]]
    Ledger(storage)
    assert [name for name in kept if not (tmp_path / name).exists()] == []
    assert [name for name in left if (tmp_path / name).exists()] == []
    assert (tmp_path / stored(1).name).exists()
