"""Verifying an archive: damaged, missing and left-over files, and ranges that have not been read."""

from pathlib import Path

from imkit.archive import Archive
from imkit.archive.catalogue import CatalogueWriter, Commit, ConversationState
from imkit.archive.storage import storage_at
from tests.archive.conftest import HOUR, MIDNIGHT


def test_verify_says_what_is_wrong_and_where(filled: Archive) -> None:
    assert repr(filled.verify()).endswith("sound; 72 messages of 2 conversations in 3 files")
    first, second, third = map(Path, sorted(filled.files()))
    data = bytearray(first.read_bytes())
    data[len(data) // 2] ^= 1
    first.write_bytes(data)
    second.unlink()
    (third.parent / "stray.parquet").write_bytes(b"tea")
    found = filled.verify()
    assert not found.ok
    assert [problem.what for problem in found.problems] == [
        "its bytes are not those that were written",
        "the file is missing",
    ]
    assert [note.what for note in found.notes] == ["not part of the archive"]
    assert filled.compact() == 0  # a writer removes files that no commit names
    assert filled.verify().notes == []


def test_verify_notes_ranges_that_have_not_been_read(filled: Archive) -> None:
    storage = storage_at(filled.path)
    with storage.writing(0):
        writer = CatalogueWriter(storage)
        covered = ((0, MIDNIGHT), (MIDNIGHT + 2 * HOUR, MIDNIGHT + 72 * HOUR))
        writer.commit(Commit(conversations=(ConversationState("42", covered=covered, synced_at=1),)))
    found = filled.verify()
    assert found.ok
    assert "not read from 2026-11-23T00:00:00.000+00:00 to 2026-11-23T02:00:00.000+00:00" in repr(found)
    assert not filled.frame().im.source["complete"]
    assert filled.frame(since="2026-11-24T00:00Z").im.source["complete"]
