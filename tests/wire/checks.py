"""Checks that what was decoded can be shown, stored and compared."""

from __future__ import annotations

from typing import Any

from imkit.errors import IMError
from imkit.events import (
    ConversationChanged,
    Event,
    HistoryForgotten,
    MessageEdited,
    MessageRead,
    MessageRecalled,
    MessageReceived,
    ReactionChanged,
    ThreadChanged,
)
from imkit.messages import (
    Message,
)
from imkit.wire.downlink import Kicked, decode_edit_answer
from imkit.wire.keyvalues import json_text
from imkit.wire.protocol import Deliver, FirstUnread, LoginRefused, Output, SendAnswered
from imkit.wire.untrusted_json import is_id


def check_message(message: Message) -> None:
    """Do what imkit does with any received message: show it, and encode its parts as JSON and UTF-8."""
    assert isinstance(message, Message)
    for shown in (repr(message), message._repr_html_(), repr(message.body), repr(message.thread), str(message.text)):
        shown.encode()
    assert all(isinstance(part, str) for part in (message.id, message.sender, message.to, message.resource))
    json_text(message.ext).encode()
    json_text(list(message.reactions)).encode()
    json_text(getattr(message.body, "params", None)).encode()
    json_text([getattr(message.body, name, None) for name in ("lat", "lng", "width", "height", "duration")])
    for name in ("text", "url", "file_name", "action", "event", "address", "title", "summary", "secret"):
        part = getattr(message.body, name, None)
        assert part is None or isinstance(part, str)
        (part or "").encode()
    assert -(2**63) <= message.edit_count < 2**63
    assert -(2**63) <= (getattr(message.body, "file_size", None) or 0) < 2**63
    assert -(2**63) <= (getattr(message.body, "duration", None) or 0) < 2**63
    if message.overview is not None:
        assert -(2**63) <= message.overview.message_count < 2**63
        if message.overview.last_message is not None:
            check_message(message.overview.last_message)


def check_event(event: object) -> None:
    if isinstance(event, tuple):  # what a notice with several events gives
        for each in event:
            check_event(each)
        return
    assert isinstance(event, Event | Kicked | None)
    repr(event).encode()
    if isinstance(event, MessageReceived | MessageEdited):
        check_message(event.message)
    if isinstance(event, MessageRecalled):
        event.ext.encode()
    if isinstance(event, MessageRead):
        assert event.message_ids
        assert all(is_id(message) for message in event.message_ids)
        for part in (event.to, event.by, event.words):
            part.encode()
        assert all(-(2**63) <= count < 2**63 for count in event.counts.values())
    if isinstance(event, ReactionChanged):
        assert is_id(event.message_id)
        for part in (event.to, event.reaction, event.by):
            part.encode()
        assert -(2**63) <= event.count < 2**63
    if isinstance(event, ConversationChanged):
        for part in (event.conversation_id, event.by):
            part.encode()
        assert event.mark is None or 0 <= event.mark < 1000
    if isinstance(event, HistoryForgotten):
        event.to.encode()
        assert all(is_id(message) for message in event.message_ids)
    if isinstance(event, ThreadChanged):
        for part in (event.thread_id, event.name, event.group_id, event.operator, event.parent_id):
            part.encode()
        assert -(2**63) <= (event.message_count or 0) < 2**63
        if event.last_message is not None:
            check_message(event.last_message)


def check_outputs(outputs: list[Any]) -> None:
    for output in outputs:
        assert isinstance(output, Output)
        if isinstance(output, Deliver):
            assert output.events
            for event in output.events:
                check_event(event)
        elif isinstance(output, LoginRefused):
            assert isinstance(output.error, IMError)
            str(output.error).encode()
        elif isinstance(output, SendAnswered):
            output.reason.encode()
            check_edit_answer(output.metas)
        elif isinstance(output, FirstUnread):
            assert -(2**63) <= (output.token_ends or 0) < 2**63


def check_edit_answer(metas: Any) -> None:
    answer = decode_edit_answer(metas)
    answer.sender.encode()
    assert all(-(2**63) <= value < 2**63 for value in (answer.count, answer.edit_time, answer.send_time))
