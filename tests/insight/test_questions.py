"""Mentions, quotes, reactions and edits of a frame: the definitions, any input, and a real history."""

import json
from datetime import timedelta
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import imkit
from imkit.history.frames import frame_of
from imkit.messages import ThreadRef
from imkit.sandbox.process import Sandbox
from imkit.times import from_milliseconds
from tests.people import new_name

CHECKED = settings(max_examples=25, derandomize=True, database=None)
REF = ThreadRef("7", "Oolong", "2", "3")
DTYPES = {
    "mentions": {
        "message_id": "string",
        "time": "datetime64[ms, UTC]",
        "thread_id": "category",
        "sender": "category",
        "mentioned": "string",
    },
    "quotes": {
        "message_id": "string",
        "time": "datetime64[ms, UTC]",
        "thread_id": "category",
        "sender": "category",
        "quoted_id": "string",
        "quoted_sender": "string",
        "in_frame": "bool",
        "latency": "timedelta64[ms]",
    },
    "reactions": {
        "message_id": "string",
        "thread_id": "category",
        "sender": "category",
        "reaction": "string",
        "count": "int64",
        "users": "object",
    },
    "edits": {
        "message_id": "string",
        "thread_id": "category",
        "sender": "category",
        "edited_at": "datetime64[ms, UTC]",
        "edit_count": "Int64",
    },
}


def said(number: int, sender: str = "alice", *, in_thread: bool = True, ext: Any = None, **more: Any) -> imkit.Message:
    body = imkit.Text("tea", ext=ext or {})
    to = "7" if in_thread else "2"
    return imkit.Message(str(number), sender, to, from_milliseconds(number), body, REF if in_thread else None, **more)


def quoting(message_id: object, **more: object) -> dict[str, Any]:
    return {"msgQuote": {"msgID": message_id, **more}}


def rows(frame: pd.DataFrame, *columns: str) -> list[tuple[Any, ...]]:
    return list(frame[list(columns)].itertuples(index=False, name=None))


def test_mentions() -> None:
    frame = frame_of(
        [
            said(1, "alice", ext={"em_at_list": ["bob", "carol", "bob"]}),
            said(2, "bob", ext={"mood": "em_at_list"}),
            said(3, "bob", in_thread=False, ext={"em_at_list": "All"}),
            said(4, "dave", ext={"em_at_list": '["all", "bob"]'}),
            said(5, "eve", ext={"em_at_list": []}),
        ]
    )
    found = frame.im.mentions()
    assert rows(found, "message_id", "sender", "mentioned") == [
        ("1", "alice", "bob"),
        ("1", "alice", "carol"),
        ("3", "bob", "ALL"),
        ("4", "dave", "ALL"),
        ("4", "dave", "bob"),
    ]
    assert found["thread_id"].isna().tolist() == [False, False, True, False, False]
    assert found["sender"].cat.categories.tolist() == ["alice", "bob", "dave"]  # only those that occur
    assert found.index.equals(pd.RangeIndex(5))


def test_quotes() -> None:
    frame = frame_of(
        [
            said(1_000, "alice"),
            said(4_500, "bob", ext=quoting("1000", msgSender="alice")),
            said(5_000, "bob", ext=quoting("4500", msgSender="bob")),  # of oneself
            said(5_100, "bob", in_thread=False, ext=quoting("999")),  # of a message that is not here
            said(5_200, "bob", ext={"msgQuote": json.dumps({"msgID": 6_000, "msgSender": "Al"})}),  # of a later one
            said(5_300, "bob", ext={"msgQuote": {"msgPreview": "tea"}}),  # of none
            said(6_000, "alice"),
        ]
    )
    expected = [
        ("4500", "1000", "alice", True, timedelta(seconds=3.5)),
        ("5000", "4500", "bob", True, timedelta(seconds=0.5)),
        ("5100", "999", "", False, None),
        ("5200", "6000", "Al", True, timedelta(seconds=-0.8)),
    ]
    columns = ("message_id", "quoted_id", "quoted_sender", "in_frame", "latency")
    found = frame.im.quotes()
    assert [tuple(None if value is pd.NaT else value for value in row) for row in rows(found, *columns)] == expected
    # The rows may have any order and index, come in parts, and come twice; the time may be in another zone.
    twice = pd.concat([frame, frame.iloc[::-1]]).set_index("sender", drop=False)
    assert len(twice.im.quotes()) == 8
    assert twice.im.quotes()["latency"].tolist()[:2] == found["latency"].tolist()[:2]
    assert frame.im.local("Asia/Shanghai").im.quotes()["latency"].equals(found["latency"])
    assert frame.iloc[1:].im.quotes()["in_frame"].tolist() == [False, True, False, True]


def test_reactions() -> None:
    reactions = [
        {"reaction": "👍", "count": 3, "userList": ["alice", "bob"]},
        {"reaction": "茶", "count": "1", "userList": [None, "carol", 7], "state": True},
        {"count": 3},
        "👍",
    ]
    frame = frame_of([said(1, "alice", reactions=reactions), said(2), said(3, "bob", reactions=[{"reaction": "👍"}])])
    frame.loc[1, "reactions"] = "not JSON {"
    found = frame.im.reactions()
    assert rows(found, "message_id", "sender", "reaction", "count") == [
        ("1", "alice", "👍", 3),
        ("1", "alice", "茶", 1),
        ("3", "bob", "👍", 0),
    ]
    assert found["users"].tolist() == [["alice", "bob"], ["carol"], []]
    given_by = found.explode("users").groupby("users").size()
    assert given_by.to_dict() == {"alice": 1, "bob": 1, "carol": 1}


def test_edits() -> None:
    at = from_milliseconds(9)
    frame = frame_of([said(1), said(2, "bob", edited_at=at, edit_count=2), said(3, edited_at=at, edit_count=1)])
    frame.loc[2, "edit_count"] = pd.NA  # in a stranger's file
    assert rows(frame.im.edits(), "message_id", "sender", "edited_at", "edit_count") == [("2", "bob", at, 2)]


@pytest.mark.parametrize("insight", DTYPES)
def test_the_columns_are_the_same_for_any_frame(insight: str, tmp_path: Any) -> None:
    full = [
        said(1, ext={"em_at_list": ["bob"], **quoting("1")}, reactions=[{"reaction": "👍", "count": 1}], edit_count=1)
    ]
    for frame in (frame_of([]), frame_of([said(1)]), frame_of(full)):
        found = getattr(frame.im, insight)()
        assert {name: str(dtype) for name, dtype in found.dtypes.items()} == DTYPES[insight]
        assert found.index.equals(pd.RangeIndex(len(found)))
        assert found.im.source == {"insight": insight}
        found.to_parquet(tmp_path / "found.parquet")
        back = pd.read_parquet(tmp_path / "found.parquet")
        assert (back.attrs, len(back)) == (found.attrs, len(found))
    with pytest.raises(imkit.InvalidMessage, match=f"{insight} needs the columns"):
        getattr(frame_of([])[["message_id", "time", "ext"]].im, insight)()


def test_frames_of_other_programs() -> None:
    frame = frame_of([said(1_000), said(4_500, ext={"em_at_list": ["bob"], **quoting("1000")}, edit_count=1)])
    assert frame.im.quotes()["latency"].tolist() == [timedelta(seconds=3.5)]
    others = {
        "another unit, as DuckDB writes it": frame.assign(time=frame["time"].dt.as_unit("us")),
        "Arrow's types": frame.convert_dtypes(dtype_backend="pyarrow"),
        "times of two zones": pd.concat([frame.iloc[:1].im.local("Asia/Shanghai"), frame.iloc[1:]]),
        "texts of few values": frame.astype({"ext": "category", "message_id": "category"}),
        "a count that is a text": frame.assign(edit_count=["0", "1"]),
    }
    for what, other in others.items():
        latency = other.im.quotes()["latency"]
        assert (str(latency.dtype), latency.tolist()) == ("timedelta64[ms]", [timedelta(seconds=3.5)]), what
        assert (len(other.im.mentions()), len(other.im.edits())) == (1, 1), what
    with pytest.raises(imkit.InvalidMessage, match="message_id does not hold texts"):
        frame.astype({"message_id": "int64"}).im.quotes()
    with pytest.raises(imkit.InvalidMessage, match="ext does not hold texts"):
        frame.assign(ext=pd.Series([{"em_at_list": ["bob"]}] * 2)).im.mentions()
    for insight in DTYPES:
        with pytest.raises(imkit.InvalidMessage, match="sender once, not twice"):
            getattr(pd.concat([frame, frame[["sender"]]], axis=1).im, insight)()


def test_rows_with_the_same_text_share_no_list() -> None:
    given_twice = [said(number, reactions=[{"reaction": "👍", "count": 1, "userList": ["bob"]}]) for number in (1, 2)]
    users = frame_of(given_twice).im.reactions()["users"]
    users[0].append("carol")
    assert users.tolist() == [["bob", "carol"], ["bob"]]


VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=4) | st.sampled_from(["ALL", "1", '["a"]', '{"msgID":"1"}']),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["msgID", "msgSender"]), inner),
    max_leaves=5,
)
EXTS = st.dictionaries(st.sampled_from(["em_at_list", "msgQuote", "mood"]), VALUES)


@CHECKED
@given(st.lists(EXTS, max_size=6))
def test_a_frame_says_the_same_as_its_messages(exts: list[dict[str, Any]]) -> None:
    messages = [said(number, ext=ext) for number, ext in enumerate(exts)]
    frame = frame_of(messages)
    mentions = [(message.id, user) for message in messages for user in message.mentions]
    assert rows(frame.im.mentions(), "message_id", "mentioned") == mentions
    quotes = [
        (message.id, quote.message_id, quote.sender) for message in messages if (quote := message.quote) is not None
    ]
    assert rows(frame.im.quotes(), "message_id", "quoted_id", "quoted_sender") == quotes


def test_a_real_history(sandbox: Sandbox) -> None:
    names = [new_name(name) for name in ("alice", "bob")]
    with imkit.login(names[0], app=sandbox.app) as alice, imkit.login(names[1], app=sandbox.app) as bob:
        alice.update_profile(nickname="爱丽丝")
        group = alice.create_group("tea", members=[bob.user])
        thread = group.create_thread("Oolong", group.send("Which oolong?"))
        asked = thread.send("Dong Ding?", mention=[bob.user, "carol"])
        bobs = bob.thread(thread.id).join()
        reply = bobs.send("two bags", reply_to=next(iter(bobs.messages())), mention=imkit.ALL)
        thread.edit(asked, "Dong Ding!")
        frame = alice.history([group, thread])
        mentioned = [(asked.id, bob.user), (asked.id, "carol"), (reply.id, "ALL")]
        assert rows(frame.im.mentions(), "message_id", "mentioned") == mentioned
        (quote,) = rows(frame.im.quotes(), "message_id", "quoted_id", "quoted_sender", "in_frame", "latency")
        assert quote == (reply.id, asked.id, alice.user, True, reply.time - asked.time)
        assert rows(frame.im.edits(), "message_id", "edit_count") == [(asked.id, 1)]
        assert frame.im.named(bob)["sender_name"].tolist() == ["爱丽丝", "爱丽丝", pd.NA]
