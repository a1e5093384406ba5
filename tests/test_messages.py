"""Messages and events: frozen, and shown so that untrusted text stays text."""

from __future__ import annotations

import dataclasses
import inspect
from datetime import UTC, datetime, timedelta, timezone
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imkit import events, messages
from imkit.events import Event, MessageEdited, MessageRecalled, MessageReceived
from imkit.messages import (
    Audio,
    Body,
    Combine,
    Command,
    Custom,
    File,
    Image,
    Location,
    Message,
    Text,
    ThreadOverview,
    ThreadRef,
    Unknown,
    Video,
)
from imkit.times import from_milliseconds, to_milliseconds

HOSTILE = "</b><script>alert(1)</script>\x1b[2J\n\r\u202e\u2028\ud83c'\"&"
TEXTS = st.text(st.characters(), max_size=40) | st.just(HOSTILE)
CHECKED = settings(max_examples=200, derandomize=True, database=None)

BODIES: list[Body] = [
    Text(HOSTILE),
    Image(url=HOSTILE, file_name=HOSTILE, secret="the-secret"),
    Audio(url=HOSTILE, file_name=HOSTILE, secret="the-secret"),
    Video(url=HOSTILE, file_name=HOSTILE, secret="the-secret", thumbnail_secret="the-secret"),
    File(url=HOSTILE, file_name=HOSTILE, secret="the-secret"),
    Location(1, 2, HOSTILE, building_name=HOSTILE),
    Command(HOSTILE),
    Custom(HOSTILE, {HOSTILE: HOSTILE}),
    Combine(HOSTILE, summary=HOSTILE, secret="the-secret"),
    Unknown(b"\xff", HOSTILE),
]


def message(body: Body, **parts: Any) -> Message:
    thread = ThreadRef(HOSTILE, HOSTILE, HOSTILE, HOSTILE)
    return Message(**{"id": HOSTILE, "sender": HOSTILE, "to": HOSTILE, "time": from_milliseconds(0), "body": body,
                      "thread": thread, **parts})  # fmt: skip


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.type)
def test_a_hostile_message_is_shown_as_text(body: Body) -> None:
    hostile = message(body, edit_count=3, edited_at=from_milliseconds(1))
    for shown in (repr(hostile), repr(body), repr(hostile.thread), repr(MessageReceived(hostile))):
        shown.encode()
        assert shown.isprintable()
        assert "the-secret" not in shown
    page = hostile._repr_html_()
    page.encode()
    # The card of a message has no link and no script, and its picture (`tests/client/test_card_pictures.py`) is in it:
    # a browser loads nothing and runs nothing.
    assert set(Tags(page).tags) <= {"div", "b", "small", "br", "bdi", "code"}
    for hidden in ("\x1b", "\u202e", "the-secret"):
        assert hidden not in page


@CHECKED
@given(text=TEXTS, sender=TEXTS, name=TEXTS)
def test_any_message_is_shown_on_one_line_and_as_inert_html(text: str, sender: str, name: str) -> None:
    thread = ThreadRef("1", name, "2", "3")
    told = Message("7", sender, "1", from_milliseconds(0), Text(text), thread)
    shown = repr(told)
    shown.encode()
    assert "\n" not in shown
    assert "\x1b" not in shown
    assert Tags(told._repr_html_()).tags == [
        "div",
        "small",
        "b",
        "bdi",
        "br",
        "bdi",
        "br",
        "small",
        "bdi",
        "bdi",
        "bdi",
    ]


def test_a_repr_is_short_and_has_the_important_fields() -> None:
    told = Message("1882603211714461703", "alice", "42", from_milliseconds(0), Text("tea? " * 100), edit_count=2)
    assert repr(told).startswith(
        "<Message 1882603211714461703 txt from alice at 1970-01-01 00:00:00 UTC, edited 2x: 'tea?"
    )
    assert len(repr(told)) < 200


def test_a_card_shows_sender_place_time_and_content() -> None:
    ref = ThreadRef("7", "Oolong", "2", "3")
    cup = Image(url="https://far.invalid/cup.png", file_name="cup.png", file_size=836, width=240, height=120.0)
    card = Message(
        "77", "alice", "7", from_milliseconds(0), cup, ref, edit_count=2, reactions=[{"reaction": "👍", "count": 3}]
    )._repr_html_()
    for told in ("Image", "alice", "in Oolong", "1970-01-01 00:00:00 UTC", "77", "cup.png", "240 × 120", "836 bytes"):
        assert told in card
    assert "edited 2x" in card
    assert "👍 3" in card
    assert "far.invalid" not in card


def test_cards_of_a_bundle_and_of_a_parent_message() -> None:
    preview = "\n".join(f"alice: cup {number}" for number in range(12))
    bundle = message(Combine("What was said", summary=preview, url="https://far.invalid/x"))._repr_html_()
    assert "What was said\nalice: cup 0\n" in bundle
    assert "alice: cup 9\n…" in bundle
    assert "session.unpack(message)" in bundle
    assert "far.invalid" not in bundle
    on_it = ThreadOverview("7", "Oolong", "2", 8, from_milliseconds(0), from_milliseconds(0), None)
    assert "carries thread Oolong</bdi> · <bdi>8 messages" in message(Text("Which?"), overview=on_it)._repr_html_()


def test_cards_of_files_recordings_places_and_custom_messages() -> None:
    url = "https://far.invalid/x"
    order = message(File(url=url, file_name="order.txt", file_size=23_456))._repr_html_()
    assert "order.txt · 22.9 KB" in order
    assert "session.download(message, &quot;.&quot;)" in order
    assert "1 min 15 s" in message(Audio(url=url, duration=75))._repr_html_()
    assert "12 seconds · 2.0 MB" in message(Video(url=url, duration=12, file_size=2**21))._repr_html_()
    place = message(Location(30.22, 120.12, "Longjing Village", building_name="Tea house"))._repr_html_()
    assert "Longjing Village\nTea house\n30.22000, 120.12000" in place
    many = message(Custom("vote", {f"tea {number}": "x" * 500 for number in range(12)}))._repr_html_()
    assert "vote\ntea 0: xxx" in many
    assert ("tea 9: " in many, "tea 10: " in many, "x" * 201 in many) == (True, False, False)


def test_a_card_cuts_a_long_text_and_says_so() -> None:
    card = message(Text("tea " * 1000))._repr_html_()
    assert "2,000 characters more" in card
    assert len(card) < 4000


def test_cards_of_events_show_what_happened_to_a_message() -> None:
    told = Message("77", "alice", "7", from_milliseconds(0), Text("Ten kilos"))
    assert "received" in MessageReceived(told)._repr_html_()
    assert "edited 2x, last by bob" in MessageEdited(told, "bob", 2, told.time)._repr_html_()
    gone = MessageRecalled("77", "7", "bob", told.time, 1.26, told)._repr_html_()
    assert "recalled by bob after 1.3 s" in gone
    assert "s" in Tags(gone).tags
    unseen = MessageRecalled("77", "7", "<b>", told.time)._repr_html_()
    assert "recalled by &lt;b&gt;" in unseen
    assert "s" not in Tags(unseen).tags


def test_any_other_event_has_a_card_with_what_it_tells() -> None:
    at = from_milliseconds(0)
    change = events.ThreadChanged("create", "7", HOSTILE, "2", "alice", at=at)
    card = change._repr_html_()
    for told in ("ThreadChanged", "create", "thread_id 7", "operator alice", "at 1970-01-01 00:00:00 UTC"):
        assert told in card
    assert "last_message" not in card  # there is none
    assert set(Tags(card).tags) <= {"div", "b", "small", "br", "bdi"}
    assert "users bob, carol" in events.GroupChanged("directJoined", "2", "alice", ("bob", "carol"))._repr_html_()
    assert "Connected" in events.Connected()._repr_html_()


def test_a_reader_is_shown_on_one_line() -> None:
    reader = messages.Reader("bob", from_milliseconds(0), "gladly")
    assert repr(reader) == "<Reader bob at 1970-01-01 00:00:00 UTC: 'gladly'>"
    assert repr(messages.Reader(HOSTILE, from_milliseconds(0), HOSTILE)).isprintable()


def test_the_repr_of_a_recall_has_the_message_id() -> None:
    assert "'77'" in repr(MessageRecalled("77", "1", "bob", from_milliseconds(0)))


def test_the_text_of_each_body() -> None:
    texts = {body.type: body.summary_text for body in BODIES}
    assert {kind for kind, text in texts.items() if text is None} == {"img", "audio", "video", "file", "unknown"}
    assert message(Text("hi", ext={"a": 1})).ext == {"a": 1}
    assert message(Location(1, 2)).text is None


CLASSES = [
    kind
    for module in (messages, events)
    for _, kind in inspect.getmembers(module, inspect.isclass)
    if issubclass(kind, Body | Event | Message) and kind.__module__ == module.__name__
]


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_class_is_frozen_and_documented(kind: type) -> None:
    assert dataclasses.is_dataclass(kind)
    assert vars(kind)["__dataclass_params__"].frozen
    assert kind.__doc__


@CHECKED
@given(milliseconds=st.integers(-(2**63), 2**64))
def test_any_number_of_milliseconds_becomes_a_time(milliseconds: int) -> None:
    time = from_milliseconds(milliseconds)
    assert time.tzinfo is UTC
    assert to_milliseconds(time) == min(max(milliseconds, 0), 253_402_300_799_999)


def test_a_time_in_any_zone_is_the_same_moment() -> None:
    shanghai = timezone(timedelta(hours=8))
    assert to_milliseconds(datetime(1970, 1, 1, 8, 0, 0, 1999, shanghai)) == 1
