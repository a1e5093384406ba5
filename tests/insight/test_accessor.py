"""``frame.im``: attributes as columns, times in a zone, names, and for which frames it is there."""

import json
import os
import subprocess
import sys
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
