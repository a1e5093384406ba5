"""The list of conversations and the one-way delete against odd services: entries, cursors and arguments."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

import imkit
from tests.stand_ins import Answer, Asked, odd_session

PAYLOAD = {"from": "bob", "to": "42", "type": "groupchat", "ext": {}, "bodies": [{"type": "txt", "msg": "hi"}]}
LAST = {"id": "7", "timestamp": 1_795_390_333_491, "from": "bob", "to": "42@conference.easemob.com"}
ODD: list[Any] = [
    None,
    7,
    {},
    {"session_type": "groupchat", "session_to": "../42"},
    {"session_type": "chat", "session_to": "no spaces please"},
    {"session_type": "chat", "session_to": ".."},
    {"session_type": "chatroom", "session_to": "42"},
    {"session_type": ["chat"], "session_to": {"chat": 1}},
]
GOOD: list[Any] = [
    {
        "session_type": "groupchat",
        "session_to": "42",
        "unread_num": "3",
        "is_top": True,
        "update_top_status_time": 1_795_390_333_491,
        "meta": {**LAST, "payload": json.dumps(PAYLOAD)},
    },
    {"session_type": "chat", "session_to": "Bob", "unread_num": -5, "meta": {**LAST, "payload": "[" * 5000}},
    {"session_type": "groupChat", "session_to": "43", "unread_num": 1e999, "is_top": "yes", "meta": {}},
]


def test_odd_entries_are_left_out_and_odd_values_are_empty() -> None:
    def answer(asked: Asked) -> Answer:
        if "cursor" in asked.query:
            return Answer(200, {"data": {"channel_infos": GOOD[2:], "cursor": ""}})
        return Answer(200, {"data": {"channel_infos": [*ODD, *GOOD[:2]], "cursor": "next"}})

    with odd_session(answer) as (session, server):
        group, user, other = session.conversations()
        assert [asked.path for asked in server.asked] == [f"/org/app/sdk/user/{session.user}/user_channels/list"] * 2
        sent = {"limit": "50", "cursor": "next", "need_mark": "true", "needEmptySession": "false"}
        assert server.asked[1].query == sent
    assert (group.conversation, group.unread) == (session.group("42"), 3)
    assert group.pinned_at == datetime(2026, 11, 22, 23, 32, 13, 491000, UTC)
    assert group.last_message is not None
    assert (group.last_message.text, group.last_message.sender, group.last_message.id) == ("hi", "bob", "7")
    assert (user.conversation, user.unread, user.pinned_at) == ("bob", 0, None)
    assert user.last_message is not None
    assert user.last_message.chat == "user"
    assert (other.conversation, other.unread, other.last_message, other.pinned_at) == (
        session.group("43"),
        0,
        None,
        None,
    )


def test_what_cannot_be_forgotten_is_not_sent() -> None:
    with odd_session(lambda _: Answer(200, {"data": {"result": "ok"}})) as (session, server):
        group = session.group("42")
        elsewhere = imkit.Message("7", "bob", "43", datetime.now(UTC), imkit.Text("hi"))
        wrong: list[dict[str, Any]] = [
            {},
            {"messages": "7", "before": "2026-11-01"},
            {"messages": []},
            {"messages": "not an id"},
            {"messages": ["7", 7]},
            {"messages": 7},
            {"messages": elsewhere},
            {"messages": [str(number) for number in range(21)]},
            {"messages": "9" * 30},
            {"before": "tomorrow"},
            {"before": "1969-12-31"},
            {"before": 7},
        ]
        for arguments in wrong:
            with pytest.raises(imkit.InvalidMessage):
                group.forget(**arguments)
        assert server.asked == []
        group.forget(iter(["7", "8", "7"]))
        group.forget(before=datetime(2026, 11, 22, 23, 32, 13, 491001, UTC))
        path = f"/org/app/sdk/message/roaming/group/user/{session.user}"
        assert [asked.path for asked in server.asked] == [path, f"{path}/time"]
        assert server.asked[0].query["msgIdList"] == "7,8"
        # It is exclusive, so it is rounded up to a whole ms.
        assert server.asked[1].query["delTime"] == "1795390333492"
