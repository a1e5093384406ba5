"""`Archive` as a user meets it: empty, with wrong arguments, without optional packages, shown in a notebook."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import imkit
from imkit.archive import Archive
from imkit.history.frames import COLUMNS
from tests.archive.conftest import fill


def test_an_empty_archive_gives_an_empty_frame(archive: Archive, tmp_path: Path) -> None:
    frame = archive.frame()
    assert frame.empty
    assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == {k: str(v) for k, v in COLUMNS.items()}
    assert frame.im.source["reason"] == "nothing has been synced"
    assert not frame.im.source["complete"]
    assert archive.sql("select count(*) as n from messages").n.tolist() == [0]
    assert archive.dask().compute().empty
    assert archive.threads().empty
    assert archive.live().empty
    assert archive.verify().ok
    assert "empty" in repr(archive)
    assert not (tmp_path / "archive").exists()


def test_wrong_arguments_are_refused(filled: Archive) -> None:
    for wrong in ({"columns": ["tea"]}, {"columns": "time"}, {"thread": 42}, {"thread": [42]}, {"since": "tea"}):
        with pytest.raises(imkit.InvalidMessage):
            filled.frame(**wrong)


@pytest.mark.parametrize("name", ["it's", "a[1]*?", "茶 🍵", "per%20cent"])
def test_a_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    archive = fill(tmp_path / name)
    assert len(archive.frame()) == 71
    assert archive.sql("select count(*) as n from messages").n.tolist() == [71]
    assert archive.sql("select count(*) as n from all_messages where day = '2026-11-24'").n.tolist() == [24]
    assert len(archive.dask().compute()) == 71
    assert archive.verify().ok


def test_other_readers_of_parquet_see_each_message_once(filled: Archive, tmp_path: Path) -> None:
    paths: Any = filled.files()  # pandas takes a list of files; its stubs do not know
    plain = pd.read_parquet(paths)
    assert len(plain) == 72
    assert plain.message_id.is_unique
    assert len(pd.read_parquet(tmp_path / "archive" / "messages", filters=[("day", "=", "2026-11-23")])) == 24


def test_names_from_the_service_are_escaped(tmp_path: Path) -> None:
    archive = fill(tmp_path / "<b>archive</b>")
    assert "<b>archive</b>" not in archive._repr_html_()
    assert "&lt;b&gt;archive&lt;/b&gt;" in archive._repr_html_()
    assert "72 messages of 2 conversations</bdi> · <bdi>2026-11-23 to 2026-11-25" in archive._repr_html_()
    assert "\x1b" not in repr(Archive(tmp_path / "\x1b[2J"))
    assert "72 messages of 2 conversations, 2026-11-23 to 2026-11-25" in repr(archive)
    assert "<script>" not in archive.verify()._repr_html_()
