"""SQL on an archive: the documented views, no way to write, and errors for damaged files."""

import hashlib
from pathlib import Path

import pytest

import imkit
from imkit.archive import Archive
from imkit.errors import ArchiveError
from tests.archive.conftest import HOSTILE, fill


def test_the_documented_views_exist(filled: Archive) -> None:
    for view in ("messages", "all_messages", "versions", "threads", "attachments", "live"):
        assert view in (Archive.sql.__doc__ or "")
        assert not filled.sql(f"describe {view}").empty
    counted = filled.sql("select sender, day, count(*) as n from messages group by all order by all")
    frame = filled.frame()
    expected = frame.groupby([frame.sender.astype(str), frame.time.dt.date]).size()
    assert counted.n.tolist() == expected.tolist()
    assert filled.sql("select count(*) as n from all_messages where gone_at is not null").n.tolist() == [1]
    assert filled.sql("select name from threads where kind = ?", ["thread"]).name.tolist() == [HOSTILE]
    assert filled.sql("select count(*) as n from messages where text = $said", {"said": "text 3"}).n.tolist() == [1]
    assert filled.sql("select max(time) as last from messages")["last"][0] == frame.time.max()


def test_sql_cannot_write(filled: Archive, tmp_path: Path) -> None:
    before = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in tmp_path.rglob("*") if path.is_file()}
    for wrong in (
        f"copy messages to '{tmp_path / 'out.csv'}'",
        "create table tea as select 1",
        "drop view messages",
        "select 1; select 2",
        "attach 'tea.db'",
        "selekt 1",
        "select tea from messages",
        "",
    ):
        with pytest.raises(imkit.InvalidMessage):
            filled.sql(wrong)
    frame = filled.frame()  # noqa: F841  # a name that DuckDB would look for in Python
    with pytest.raises(imkit.InvalidMessage, match="DESCRIBE messages"):
        filled.sql("select * from frame")
    after = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in tmp_path.rglob("*") if path.is_file()}
    assert before == after


def test_a_missing_or_damaged_file_is_an_archive_error(filled: Archive) -> None:
    first = Path(sorted(filled.files())[0])
    first.write_bytes(b"tea")
    with pytest.raises(ArchiveError, match=first.name):
        filled.sql("select * from messages")
    first.unlink()
    with pytest.raises(ArchiveError, match=first.name):
        filled.sql("select * from messages")


def test_a_folder_above_the_archive_is_not_a_column(tmp_path: Path) -> None:
    archive = fill(tmp_path / "sender=eve" / "day=1" / "archive", 4)
    frame = archive.sql("select * from messages where day = '2026-11-23'")
    assert set(frame.sender) == {"user0", "user1", "user2"}
