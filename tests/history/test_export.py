"""A frame as a file: each format is read back with another reader, runs nothing, and is never half-written."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from imkit import Custom, File, InvalidMessage, Location, Message, Text
from imkit.history.export import SUFFIXES, write
from imkit.history.frames import COLUMNS, frame_of
from imkit.history.summary import described
from imkit.times import from_milliseconds

HOSTILE = ["=HYPERLINK(1)", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "＝1", "<script>alert(1)</script>", "a\r=b\n=c", '"']


@pytest.fixture
def frame() -> pd.DataFrame:
    bodies: list[Any] = [Text(text) for text in HOSTILE]
    bodies += [
        Location(-23.75, 120.75, "鹿谷"),
        Custom("vote", {"tea": "=1+1"}),
        File(url="http://x/y", file_name="=cmd.csv", file_size=3, ext={"n": {"deep": [1, None]}}),
    ]
    messages = [
        Message(str(1882603211714461703 + number), "alice", "42", from_milliseconds(1_795_390_333_491 + number), body)
        for number, body in enumerate(bodies)
    ]
    source = {"thread_ids": ["42"], "rows": len(messages), "complete": False, "reason": "stopped"}
    return frame_of(messages, source)


@pytest.mark.parametrize("rows", [0, None])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_each_format_is_written_whole(frame: pd.DataFrame, tmp_path: Path, suffix: str, rows: int | None) -> None:
    path = write(frame.iloc[:rows] if rows == 0 else frame, tmp_path / f"oolong{suffix.upper()}")
    assert [found.name for found in tmp_path.iterdir()] == [path.name]
    assert path.stat().st_size or (suffix, rows) == (".jsonl", 0)


def test_parquet_keeps_the_frame(frame: pd.DataFrame, tmp_path: Path) -> None:
    back = pd.read_parquet(write(frame, tmp_path / "f.parquet"))
    pd.testing.assert_frame_equal(back, frame, check_categorical=False)
    assert back.attrs["imkit"]["reason"] == "stopped"


def test_csv_holds_no_formula_and_whole_ids(frame: pd.DataFrame, tmp_path: Path) -> None:
    path = write(frame, tmp_path / "f.csv")
    assert path.read_bytes().startswith(b'\xef\xbb\xbf"message_id",')
    back = pd.read_csv(path, dtype="string", keep_default_na=False)
    assert list(back.columns) == list(COLUMNS)
    assert back.message_id[0] == "1882603211714461703"
    assert back.text[:7].str.startswith("'").all()
    assert back.text[9] == '"'
    assert back.file_name[12] == "'=cmd.csv"
    assert float(back.lat[10]) == -23.75  # a number is no formula
    assert pd.to_datetime(back.time, utc=True).dt.as_unit("ms").tolist() == frame.time.tolist()
    cells = back.to_numpy().ravel()
    assert [cell for cell in cells if cell[:1] in "=+@\t\r＝" and cell] == []


def test_column_names_are_no_formula(tmp_path: Path) -> None:
    path = write(pd.DataFrame({"=1+1": [1], "ok": [True]}), tmp_path / "f.csv")
    assert path.read_text(encoding="utf-8-sig").splitlines() == ['"\'=1+1","ok"', "1,True"]


def test_json_lines_hold_json_values(frame: pd.DataFrame, tmp_path: Path) -> None:
    lines = write(frame, tmp_path / "f.jsonl").read_text(encoding="utf-8").split("\n")
    rows = [json.loads(line) for line in lines if line]
    assert [row["text"] for row in rows[:10]] == HOSTILE
    assert rows[12]["ext"] == {"n": {"deep": [1, None]}}
    assert rows[11]["payload"] == {"params": {"tea": "=1+1"}}
    assert (rows[0]["file_size"], rows[12]["file_size"]) == (None, 3)
    assert rows[0]["time"] == "2026-11-22T23:32:13.491000+00:00"


def test_html_runs_nothing_and_has_a_title(frame: pd.DataFrame, tmp_path: Path) -> None:
    page = write(frame, tmp_path / "f.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "default-src 'none'" in page
    assert "13 messages of 42: not complete (stopped)" in page
    assert page.count("<tr>") == 14


def test_an_unknown_suffix_is_refused_and_a_failure_leaves_the_old_file(tmp_path: Path) -> None:
    with pytest.raises(InvalidMessage, match="names no format"):
        write(frame_of([]), tmp_path / "f.xlsx")
    before = tmp_path / "f.parquet"
    before.write_text("before")
    with pytest.raises(Exception, match=r"."):
        write(pd.DataFrame({"mixed": [object(), 1]}), before)
    assert before.read_text() == "before"
    assert [found.name for found in tmp_path.iterdir()] == ["f.parquet"]


def test_described() -> None:
    source = {"rows": 1, "thread_ids": ["1", "2"], "since": "2026-11-01", "until": "2026-12-01", "complete": True}
    assert described(source) == "1 message of 2 threads since 2026-11-01 until 2026-12-01: complete"
