"""``frame.im``: attributes as columns, times in a zone, names, and for which frames it is there."""

import copy
import json
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import imkit
from imkit.history.frames import frame_of
from imkit.history.summary import as_html, line_above
from imkit.users import User
from tests.html_page import HtmlPage

ROOT = Path(__file__).parents[2]
NOON = datetime(2026, 11, 23, 12, 0, 0, 123000, tzinfo=UTC)


def text(number: int, sender: str = "alice", *, ext: dict[str, Any] | None = None) -> imkit.Message:
    return imkit.Message(str(1882603211714461700 + number), sender, "42", NOON, imkit.Text("x", ext=ext or {}))


def opened_ext(frame: pd.DataFrame, *keys: str) -> pd.DataFrame:
    accessor: Any = frame.im
    opened: pd.DataFrame = accessor.ext(*keys)
    return opened


def exts(*values: dict[str, Any]) -> pd.DataFrame:
    return frame_of([text(number, ext=ext) for number, ext in enumerate(values)])


def test_ext_opens_into_typed_columns() -> None:
    frame = exts({"s": "a", "i": 2**62, "f": 0.5, "b": True, "l": [1], "m": 1, "n": 1}, {"m": "x", "n": 0.5}, {})
    opened = opened_ext(frame)
    assert {name: str(dtype) for name, dtype in opened.dtypes.items()} == {
        "s": "string",
        "i": "Int64",
        "f": "Float64",
        "b": "boolean",
        "l": "object",
        "m": "object",
        "n": "Float64",
    }
    assert opened["i"].tolist() == [2**62, pd.NA, pd.NA]
    assert opened["l"].tolist() == [[1], pd.NA, pd.NA]
    assert opened["m"].tolist() == [1, "x", pd.NA]
    assert opened.index.equals(frame.index)


def test_ext_of_some_keys_and_of_keys_that_do_not_occur() -> None:
    frame = exts({"a": 1, "b": 2}, {"a": 3})
    assert opened_ext(frame, "b", "z").columns.tolist() == ["b", "z"]
    assert opened_ext(frame, "z")["z"].isna().all()
    assert frame[frame.index > 0].im.ext("a")["a"].tolist() == [3]
    assert frame_of([]).im.ext().empty
    assert frame_of([]).im.ext("a").columns.tolist() == ["a"]


def test_ext_of_a_strangers_file_may_be_no_json_object() -> None:
    frame = exts({}, {}, {}, {}).assign(ext=["not JSON", "[" * 100_000, "[1]", '{"a":1}'])
    assert frame.im.ext("a")["a"].notna().tolist() == [False, False, False, True]


def test_ext_numbers_beyond_64_bits_stay_whole() -> None:
    assert exts({"n": 2**64 - 1}, {"n": 1}).im.ext("n")["n"].tolist() == [2**64 - 1, 1]


def test_local_keeps_the_moments() -> None:
    frame = frame_of([replace(text(0), edited_at=NOON)])
    local = frame.im.local("Asia/Shanghai")
    assert local["time"].dt.hour.tolist() == [20]
    assert local["edited_at"].dt.hour.tolist() == [20]
    assert (local["time"] == frame["time"]).all()
    assert frame["time"].dt.hour.tolist() == [12]


def test_im_is_for_history_frames() -> None:
    with pytest.raises(AttributeError, match="history frames"):
        _ = pd.DataFrame({"a": [1]}).im


def test_the_result_of_an_insight_has_only_its_source() -> None:
    source = {"rows": 1, "thread_ids": ["42"], "complete": True}
    frame = frame_of([text(0, ext={"em_at_list": ["bob", "carol"]})], source)
    found = frame.im.mentions()
    assert found.im.source == {**source, "insight": "mentions"}
    assert frame.im.source == source
    assert json.loads(json.dumps(found.attrs)) == found.attrs
    assert [name for name in dir(found.im) if not name.startswith("_")] == ["source"]
    assert found[["mentioned"]].im.source == found.im.source  # although it has no column of a history
    assert line_above(found) == "2 rows of mentions, made from 1 message of 42: complete"
    assert line_above(frame.im.edits()) == "0 rows of edits, made from 1 message of 42: complete"
    hostile = frame_of([text(0, ext={"em_at_list": ["<img>\x1b[2J"]})]).im.mentions()
    assert "<img>" not in (as_html(hostile) or "")


def test_a_source_is_a_dict_that_reads_as_a_few_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    time.tzset()
    facts = {
        "app_key": "tea#shop",
        "thread_ids": ["42", "43", "7"],
        "since": None,
        "until": "2026-11-24T00:00:00.000+00:00",
        "types": ["txt"],
        "sender": None,
        "limit": None,
        "fetched_at": "2026-11-23T12:00:00.123+00:00",
        "complete": False,
        "reason": "stopped",
        "rows": 1200,
        "server_count": 1300,
        "note": "some are gone",
    }
    named = [imkit.ThreadRef("42", "Oolong", "7", "3"), imkit.ThreadRef("42", "Oolong 2", "7", "3"), None]
    frame = frame_of([replace(text(number), thread=each) for number, each in enumerate(named)], facts)
    frame["group_id"] = "7"
    source = frame.im.source
    try:
        assert repr(source).splitlines() == [
            "1,200 messages of 3 threads and groups, not complete (stopped)",
            "app: tea#shop",
            "threads: Oolong 2 (42), 43",
            "group: 7",
            "range: the whole history until 2026-11-24 08:00:00+08:00",
            "only: types txt",
            "fetched: 2026-11-23 20:00:00+08:00",
            "the service counts: 1,300",
            "note: some are gone",
            f"a dict with the keys {', '.join(facts)}",
        ]
        for told in repr(source).splitlines()[1:]:
            assert told in source._repr_html_()
        for copied in (
            source,
            copy.deepcopy(source),
            pickle.loads(pickle.dumps(source)),
            json.loads(json.dumps(source)),
        ):
            assert (copied, dict(copied), copied["complete"]) == (facts, facts, False)
            assert isinstance(copied, dict)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_source_of_a_strangers_file_is_shown_as_text() -> None:
    evil = "<script>\x1b[2J\n\u202e" + "x" * 1000
    facts = {**dict.fromkeys(["app_key", "since", "until", "types", "reason", "note", "insight", evil], evil)}
    for more in ({"thread_ids": [evil] * 9}, {"thread_ids": evil, "rows": evil}, {"thread_ids": {}, "fetched_at": 7}):
        frame = frame_of([text(0)], {**facts, **more})
        frame["thread_name"] = frame["thread_id"] = evil
        source = frame.im.source
        page = HtmlPage(source._repr_html_())
        assert set(page.tags) <= {"div", "b", "small", "br", "bdi"}
        assert len(repr(source)) < 5_000
        for hidden in ("\x1b", "\u202e", "x" * 400):
            assert hidden not in repr(source) + source._repr_html_()
    cells: dict[str, Any] = {"thread_id": ["42"], "group_id": {"7": 7}}
    for name, cell in cells.items():
        frame = frame_of([text(0)], {"rows": 1, "thread_ids": ["42"]})
        frame[name] = [cell]
        assert "1 message of 42" in repr(frame.im.source)
    empty = pd.DataFrame({"message_id": [], "time": [], "ext": []}).im.source
    assert (empty, repr(empty)) == ({}, "a frame that does not say where it comes from")
    assert "does not say" in empty._repr_html_()


@pytest.mark.parametrize("attrs", [{"imkit": []}, {"imkit": "mentions"}, {"imkit": None}])
def test_a_strangers_attrs_may_be_anything(attrs: dict[str, Any]) -> None:
    frame = frame_of([text(0)])
    frame.attrs.update(attrs)
    assert frame.im.source == {}
    assert frame.im.quotes().im.source == {"insight": "quotes"}


# ------------------------------------------------------------------------ names


class Directory:
    """Knows users as a session does, and notes for whom it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def users(self, ids: Iterable[str]) -> dict[str, User]:
        self.asked += ids
        return {user: User(user, {"alice": "爱丽丝", "bob": ""}.get(user)) for user in self.asked}


def test_names_of_senders_and_na_where_none_is_known() -> None:
    frame = frame_of(
        [text(number, sender) for number, sender in enumerate(["bob", "alice", "not an id!", "alice", "carol"])]
    )
    frame = frame.assign(sender=frame["sender"].where(frame["sender"] != "carol"))
    expected = [pd.NA, "爱丽丝", pd.NA, "爱丽丝", pd.NA]
    directory = Directory()
    for given in (frame, frame.assign(sender=frame["sender"].astype("object")), frame.iloc[::-1]):
        named = given.im.named(directory)
        assert named["sender_name"].tolist() == (expected[::-1] if given.index[0] else expected)
        assert list(named.columns) == [*frame.columns, "sender_name"]
        assert (str(named["sender_name"].dtype), named.index.equals(given.index)) == ("string", True)
    assert sorted(set(directory.asked)) == ["alice", "bob"]  # no other is a user id, so nobody can be asked
    names = {"alice": User("alice", "爱丽丝"), "bob": None, "not an id!": float("nan"), "carol": "C."}
    assert frame.im.named(names)["sender_name"].tolist() == expected
    assert frame.iloc[:0].im.named({})["sender_name"].dtype == frame["text"].dtype
    assert frame.im.named({"alice": "half \ud83c"})["sender_name"].tolist()[1] == "half \\ud83c"
    for wrong in (None, "alice", 7):
        with pytest.raises(imkit.InvalidMessage, match="does not know"):
            frame.im.named(wrong)
    with pytest.raises(imkit.InvalidMessage, match="named needs the columns sender"):
        frame[["message_id", "time", "ext"]].im.named({})


def test_a_name_that_is_no_time_zone_is_refused() -> None:
    for wrong in ("Mars", "", None, "../Asia/Shanghai", 7, ["UTC"]):
        with pytest.raises(imkit.InvalidMessage, match="is not a time zone") as error:
            frame_of([text(0)]).im.local(wrong)
        assert "Asia/Shanghai" in error.value.hint


# ----------------------------------------------------------------- registration


@pytest.mark.parametrize("imports", ["import imkit, pandas", "import pandas, imkit"])
def test_every_frame_has_im_after_the_import_of_imkit(imports: str, tmp_path: Path) -> None:
    frame_of([text(0, ext={"em_at_list": "all"})]).to_parquet(tmp_path / "frame.parquet")
    code = f"""
import sys
{imports}
assert pandas.__loader__ is pandas.__spec__.loader and "exec_module" not in vars(pandas.__loader__)
assert not [finder for finder in sys.meta_path if "imkit" in type(finder).__module__]
assert not hasattr(pandas.DataFrame({{"a": [1]}}), "im")
assert "imkit.insight.accessor" not in sys.modules
print(pandas.read_parquet("frame.parquet").im.mentions()["mentioned"].tolist())
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=tmp_path, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)}, timeout=60, check=False)  # fmt: skip
    assert (done.stdout, done.stderr) == ("['ALL']\n", "")
