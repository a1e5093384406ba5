"""The history frame: the same columns and types for any messages, exact ids, and only values that files can hold."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import imkit
from imkit.history.columns import batch_of
from imkit.history.frames import COLUMNS, frame_of, frame_of_table
from imkit.history.summary import as_html
from imkit.messages import Body
from imkit.times import from_milliseconds, to_milliseconds

NOON = datetime(2026, 11, 23, 12, 0, 0, 123000, tzinfo=UTC)
REF = imkit.ThreadRef("184504500000001", "Oolong", "184504500000000", "1882603211714461700")
ATTACHED: dict[str, Any] = {
    "url": "http://h/org/app/chatfiles/uuid?share-secret=SECRET&em-redirect=true",
    "file_name": "茶.png",
    "file_size": 2**33,
    "secret": "SECRET",
}
BODIES: list[Body] = [
    imkit.Text("Dong Ding, please 🍵", ext={"mood": "好", "n": 2**53 + 1}),
    imkit.Image(**ATTACHED, width=640.0, height=480.0, animated=True),
    imkit.Audio(**ATTACHED, duration=3),
    imkit.Video(**ATTACHED, duration=60, thumbnail_url="http://h/t?share-secret=SECRET", thumbnail_secret="SECRET"),
    imkit.File(**ATTACHED),
    imkit.Location(25.03, 121.56, "Taipei", building_name="101"),
    imkit.Command("refresh"),
    imkit.Custom("order", {"kind": "oolong"}),
    imkit.Combine("Yesterday", summary="alice: tea", fallback="a bundle", url=ATTACHED["url"], secret="SECRET"),
    imkit.Unknown(b"\x00\x01", "a type of tomorrow"),
]


def message(number: int, body: Body, *, thread: imkit.ThreadRef | None = REF, **more: Any) -> imkit.Message:
    to = thread.thread_id if thread else "184504500000000"
    return imkit.Message(str(1882603211714461700 + number), "alice", to, NOON, body, thread, **more)


def one_of_each_type() -> list[imkit.Message]:
    return [message(number, body) for number, body in enumerate(BODIES)]


def opened_ext(frame: pd.DataFrame, *keys: str) -> pd.DataFrame:
    accessor: Any = frame.im
    opened: pd.DataFrame = accessor.ext(*keys)
    return opened


@pytest.mark.parametrize(
    "given_messages", [[], one_of_each_type()[:1], one_of_each_type(), [message(0, imkit.Text("x"), thread=None)]]
)
def test_the_schema_is_the_same_for_anything(given_messages: list[imkit.Message]) -> None:
    frame = frame_of(given_messages)
    assert list(frame.columns) == list(COLUMNS)
    for name, dtype in COLUMNS.items():
        assert frame[name].dtype == dtype, name
    for name in ("sender", "type", "thread_id", "thread_name", "group_id"):
        assert frame[name].cat.categories.dtype == frame["text"].dtype, name
    assert frame.index.equals(pd.RangeIndex(len(given_messages)))
    assert isinstance(frame.index, pd.RangeIndex)


def test_the_documented_table_is_the_schema() -> None:
    from imkit.history import frames

    rows = [line.split("|")[1:3] for line in str(frames.__doc__).splitlines() if line.startswith("| ")][1:]
    told = {name.strip(): dtype.strip() for names, dtype in rows for name in names.split(",")}
    assert list(told) == list(COLUMNS)
    assert {name: dtype.replace("string", "str") for name, dtype in told.items()} == {
        name: str(dtype).replace("string", "str") for name, dtype in COLUMNS.items()
    }


def test_categories_are_sorted_and_only_those_that_occur() -> None:
    senders = ["茶", "bob", "alice", "bob"]
    batches = [batch_of([imkit.Message("7", sender, "8", NOON, imkit.Text("x"))]) for sender in senders]
    frame = frame_of_table(pa.Table.from_batches(batches).slice(1))
    assert frame["sender"].tolist() == senders[1:]
    assert frame["sender"].cat.categories.tolist() == ["alice", "bob"]
    assert frame["thread_id"].cat.categories.empty
    many = frame_of([imkit.Message("7", f"user{number:05}", "8", NOON, imkit.Text("x")) for number in range(40_000)])
    assert many["sender"].tolist() == sorted(many["sender"])


def test_the_values_of_a_row() -> None:
    frame = frame_of(one_of_each_type())
    text = frame.iloc[0]
    assert text["message_id"] == "1882603211714461700"
    assert text["time"] == pd.Timestamp(NOON)
    assert (text["sender"], text["type"], text["text"]) == ("alice", "txt", "Dong Ding, please 🍵")
    assert (text["thread_id"], text["thread_name"]) == ("184504500000001", "Oolong")
    assert (text["group_id"], text["parent_message_id"]) == ("184504500000000", "1882603211714461700")
    assert text["ext"] == '{"mood":"好","n":9007199254740993}'
    assert text["edit_count"] == 0
    assert text[["url", "file_size", "lat", "payload", "edited_at"]].isna().all()
    assert frame["type"].tolist() == [body.type for body in BODIES]
    assert frame["text"].fillna("-").tolist() == [
        *("Dong Ding, please 🍵", "-", "-", "-", "-", "Taipei", "refresh", "order", "Yesterday", "-")
    ]
    assert list(frame.loc[1, ["file_name", "file_size", "width", "height"]]) == ["茶.png", 2**33, 640.0, 480.0]
    assert frame.loc[2:3, "duration"].tolist() == [3, 60]
    assert list(frame.loc[5, ["lat", "lng"]]) == [25.03, 121.56]
    payloads = {
        kind: json.loads(payload)
        for kind, payload in zip(frame["type"], frame["payload"], strict=True)
        if payload is not pd.NA
    }
    assert payloads == {
        "img": {"animated": True},
        "loc": {"building_name": "101"},
        "custom": {"params": {"kind": "oolong"}},
        "combine": {"summary": "alice: tea", "fallback": "a bundle", "level": 1},
        "unknown": {"reason": "a type of tomorrow", "data": "0001"},
    }


def test_a_plain_group_message_has_a_group_and_no_thread() -> None:
    row = frame_of([message(0, imkit.Text("x"), thread=None)]).iloc[0]
    assert row["group_id"] == "184504500000000"
    assert row[["thread_id", "thread_name", "parent_message_id"]].isna().all()


def test_edits_and_reactions() -> None:
    edited = message(0, imkit.Text("x"), edited_at=NOON, edit_count=2, reactions=[{"reaction": "👍", "count": 1}])
    row = frame_of([edited]).iloc[0]
    assert (row["edited_at"], row["edit_count"]) == (pd.Timestamp(NOON), 2)
    assert json.loads(row["reactions"]) == [{"reaction": "👍", "count": 1}]


def test_share_secrets_stay_out() -> None:
    frame = frame_of(one_of_each_type())
    assert "SECRET" not in frame.to_csv()
    assert frame.loc[1, "url"] == "http://h/org/app/chatfiles/uuid"


def test_attrs_are_plain_json() -> None:
    source = {"rows": 1, "complete": True, "since": None}
    frame = frame_of(one_of_each_type(), source)
    assert json.loads(json.dumps(frame.attrs)) == frame.attrs == {"imkit": source}
    assert frame.im.source == source
    assert frame_of([]).im.source == {}


def test_parquet_and_back(tmp_path: Path) -> None:
    frame = frame_of(one_of_each_type(), {"rows": len(BODIES)})
    for written in (frame, frame.iloc[:0]):
        written.to_parquet(tmp_path / "frame.parquet")
        back = pd.read_parquet(tmp_path / "frame.parquet")
        assert back.attrs == written.attrs
        assert back["message_id"].tolist() == written["message_id"].tolist()
        for name in COLUMNS:
            assert (
                back[name].astype("object").fillna("NA").tolist()
                == written[name].astype("object").fillna("NA").tolist()
            )
            assert str(back[name].dtype) == str(written[name].dtype), name
        assert opened_ext(back, "mood").equals(opened_ext(written.reset_index(drop=True), "mood"))


def test_ordinary_pandas_works() -> None:
    frame = frame_of(one_of_each_type() * 2)
    assert len(frame.drop_duplicates()) == len(BODIES)
    assert frame.groupby("type", observed=True).size().tolist() == [2] * len(BODIES)
    assert frame.set_index("time").resample("1h")["message_id"].count().tolist() == [20]


# ------------------------------------------------------------------- any input

HOSTILE = ["<script>alert(1)</script>", "\x00", "‮", "\x1b[2J", "=1+1", "half a \ud800", "\u2028", "😀" * 3, "' OR 1=1"]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_loses_no_row(text: str, tmp_path: Path) -> None:
    ref = imkit.ThreadRef("7", text, text, text)
    hostile = imkit.Message("5", text, "7", NOON, imkit.File(url=f"http://{text}?x=1", file_name=text), ref)
    frame = frame_of([hostile, message(0, imkit.Text(text))])
    assert len(frame) == 2
    frame.to_parquet(tmp_path / "frame.parquet")
    shown = str(as_html(frame))
    assert "<script>" not in shown
    if "\ud800" not in text:
        assert frame.loc[1, "text"] == text


json_values: Any = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
ext_objects = st.dictionaries(st.text(), json_values, max_size=3)
optional_text = st.none() | st.text()
bodies: Any = st.one_of(
    st.builds(imkit.Text, st.text(), ext=ext_objects),
    st.builds(
        imkit.Image,
        url=optional_text,
        file_name=optional_text,
        file_size=st.none() | st.integers(0, 2**62),
        width=st.none() | st.floats(0, 1e6),
        ext=ext_objects,
    ),
    st.builds(imkit.Audio, url=optional_text, duration=st.none() | st.integers(0, 2**31), ext=ext_objects),
    st.builds(imkit.Location, st.floats(-90, 90), st.floats(-180, 180), st.text(), ext=ext_objects),
    st.builds(imkit.Command, st.text(), ext=ext_objects),
    st.builds(imkit.Custom, st.text(), st.dictionaries(st.text(), st.text(), max_size=3), ext=ext_objects),
    st.builds(imkit.Combine, st.text(), summary=st.text(), url=optional_text),
    st.builds(imkit.Unknown, st.binary(max_size=20), st.text()),
)
refs = st.none() | st.builds(imkit.ThreadRef, st.text(), st.text(), st.text(), st.text())
moments = st.integers(0, 4_000_000_000_000).map(from_milliseconds)
messages = st.builds(
    imkit.Message,
    st.integers(1, 2**64 - 1).map(str),
    st.text(),
    st.text(),
    moments,
    bodies,
    refs,
    st.none() | moments,
    st.integers(0, 10),
)


@settings(max_examples=60)
@given(st.lists(messages, max_size=6))
def test_any_messages_make_a_frame(given_messages: list[imkit.Message]) -> None:
    frame = frame_of(given_messages)
    assert {name: frame[name].dtype == dtype for name, dtype in COLUMNS.items()} == dict.fromkeys(COLUMNS, True)
    assert frame["message_id"].tolist() == [one.id for one in given_messages]
    assert [to_milliseconds(time.to_pydatetime()) for time in frame["time"]] == [
        to_milliseconds(one.time) for one in given_messages
    ]
    rows: list[Any] = list(frame.itertuples())
    for row, one in zip(rows, given_messages, strict=True):
        assert (json.loads(row.ext) if isinstance(row.ext, str) else {}) == dict(one.ext)
        assert pd.isna(row.text) if one.text is None else row.text == one.text
    assert len(opened_ext(frame)) == len(given_messages)


def test_many_rows_are_quick_enough_to_wait_for() -> None:
    frame = frame_of(message(number, imkit.Text(f"message {number}")) for number in range(20_000))
    assert frame["message_id"].is_unique
    assert frame["time"].max() - frame["time"].min() < timedelta(seconds=1)


def test_translations_are_kept_in_the_payload() -> None:
    told = [{"code": "en", "text": "tea"}]
    row = frame_of([message(0, imkit.Text("茶"), translations=told)]).iloc[0]
    assert json.loads(row["payload"]) == {"translations": told}
