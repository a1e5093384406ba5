"""Streamed texts: pieces in any order, repeated, missing, and hostile ones."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from imkit.events import Event, MessageEdited, MessageReceived
from imkit.messages import Streamed
from imkit.wire import schema, streamed_texts
from imkit.wire.downlink import decode_roamed
from imkit.wire.enums import StreamStatus, SubType
from imkit.wire.protocol import ClientProtocol, Deliver
from tests.wire import service
from tests.wire.strategies import often

START, ONLY, MIDDLE, LAST, FULL = StreamStatus


def piece(number: int, text: str, status: int | None, message: int = 7, **stream: Any) -> bytes:
    """Return the Meta of a piece."""
    body = schema.MessageBody(type=2, contents=[schema.Content(type=0, text=text, subType=SubType.SUB_STREAM)])
    body.stream.MergeFrom(schema.message_class("MessageBody.Stream")(streamSeq=number, streamStatus=status, **stream))
    meta = schema.Meta(id=message, ns=1, timestamp=1000 + number, payload=body.SerializeToString())
    getattr(meta, "from").name, meta.to.name = "bot", "42"
    data: bytes = meta.SerializeToString()
    return data


class Heard:
    """What a client hears of pieces."""

    def __init__(self) -> None:
        self.protocol: ClientProtocol = service.logged_in()
        self.protocol.receive(service.notice(), now=1.0)
        self.key = 0
        self.events: list[Event] = []

    def take(self, *metas: bytes) -> list[tuple[str, str, bool]]:
        """Take a page; return for each event its class, the text so far, and whether it is complete."""
        self.key += 1
        outputs = self.protocol.receive(service.page(metas, self.key), now=1.0)
        events = [event for output in outputs if isinstance(output, Deliver) for event in output.events]
        self.events += events
        return [_told(event) for event in events]


def _told(event: Event) -> tuple[str, str, bool]:
    assert isinstance(event, MessageReceived | MessageEdited)
    assert isinstance(event.message.body, Streamed)
    assert (event.message.id, event.message.type) == ("7", "txt")
    return type(event).__name__, event.message.body.text, event.message.body.complete


def test_a_text_grows() -> None:
    heard = Heard()
    first = piece(0, "Tie", START, streamType="markdown")
    assert heard.take(first) == [("MessageReceived", "Tie", False)]
    assert heard.take(first, piece(2, "yin", MIDDLE)) == []
    assert heard.take(piece(1, " Guan", MIDDLE), piece(1, "again", MIDDLE)) == [
        ("MessageEdited", "Tie Guan", False),
        ("MessageEdited", "Tie Guanyin", False),
    ]
    assert heard.take(piece(3, ".", LAST, streamFinishReason=1)) == [("MessageEdited", "Tie Guanyin.", True)]
    assert heard.take(piece(4, "Tie Guanyin.", FULL), piece(5, "late", MIDDLE)) == []
    begun, *_, ended = heard.events
    assert isinstance(begun, MessageReceived)
    assert isinstance(ended, MessageEdited)
    assert isinstance(begun.message.body, Streamed)
    assert isinstance(ended.message.body, Streamed)
    assert (begun.message.body.kind, begun.message.body.finish_reason) == ("markdown", None)
    assert ended.message.body.finish_reason == 1
    assert (ended.operator, ended.count, ended.message.edited_at) == ("bot", 0, None)
    assert ended.at > ended.message.time == begun.message.time


def test_the_whole_text_comes_to_the_aid_of_a_client_without_pieces() -> None:
    heard = Heard()
    assert heard.take(piece(2, "yin", MIDDLE)) == []  # the first pieces were not heard
    assert heard.take(piece(3, "Tie Guanyin", FULL)) == [("MessageReceived", "Tie Guanyin", True)]
    assert Heard().take(piece(0, "oolong", ONLY)) == [("MessageReceived", "oolong", True)]
    # The service gives a text up.
    heard = Heard()
    heard.take(piece(0, "Tie", START))
    assert heard.take(piece(1, "", None, streamError=512)) == [("MessageEdited", "Tie", True)]
    assert isinstance(heard.events[-1], MessageEdited)
    assert isinstance(heard.events[-1].message.body, Streamed)
    assert heard.events[-1].message.body.error == 512
    assert heard.take(piece(2, "more", MIDDLE)) == []


def test_after_a_recall_nothing_grows() -> None:
    heard = Heard()
    heard.take(piece(0, "Tie", START))
    recall = schema.MessageBody(type=6, ackMessageId=7)
    heard.protocol.receive(
        service.page([schema.Meta(id=8, ns=1, payload=recall.SerializeToString()).SerializeToString()], 90), now=1.0
    )
    assert heard.take(piece(1, " Guanyin", LAST), piece(2, "Tie Guanyin", FULL)) == []


@often(60)
@given(st.lists(st.text(max_size=5), min_size=1, max_size=8), st.randoms(use_true_random=False), st.booleans())
def test_pieces_in_any_order_give_the_text(texts: list[str], random: Any, with_full: bool) -> None:
    count = len(texts)
    statuses = [ONLY] if count == 1 else [START, *[MIDDLE] * (count - 2), LAST]
    pieces = [piece(number, text, statuses[number]) for number, text in enumerate(texts)]
    pieces += [pieces[random.randrange(count)]]
    random.shuffle(pieces)
    if with_full:
        pieces.append(piece(count, "".join(texts), FULL))
    heard = Heard()
    told = [event for each in pieces for event in heard.take(each)]
    assert told[0][0] == "MessageReceived"
    assert {name for name, _, _ in told[1:]} <= {"MessageEdited"}
    assert told[-1][1:] == ("".join(texts), True)
    assert all(later.startswith(earlier) for (_, earlier, _), (_, later, _) in itertools.pairwise(told))
    assert [complete for _, _, complete in told].count(True) == 1


def test_strangers_cannot_fill_the_memory() -> None:
    texts = streamed_texts.StreamedTexts()
    heard = Heard()
    for number in range(2 * streamed_texts.MAX_WAITING):
        heard.take(piece(number + 5, "x", MIDDLE))
    assert len(heard.protocol._streamed._growing["7"].waiting) == streamed_texts.MAX_WAITING
    heard = Heard()
    for number in range(30):
        heard.take(piece(number + 5, "x", MIDDLE, streamType="x" * 60_000))
    assert len(heard.protocol._streamed._growing["7"].waiting) == streamed_texts.MAX_WAITING_BYTES // 60_000
    heard = Heard()
    for number in range(3):
        heard.take(piece(number, "x" * 60_000, START if number == 0 else MIDDLE))
    assert len(heard.protocol._streamed._growing["7"].text) == 120_000
    heard = Heard()
    for message in range(1, 3 * streamed_texts.MAX_OPEN):
        heard.protocol.receive(service.page([piece(0, "x", START, message=message)], message), now=1.0)
    assert len(heard.protocol._streamed._growing) == streamed_texts.MAX_OPEN
    assert not texts.is_growing(7)


def test_the_history_shows_the_text() -> None:
    for status, complete in ((FULL, True), (LAST, True), (MIDDLE, False), (None, False), (9, False)):
        message = decode_roamed(piece(3, "Tie Guanyin", status if status != 9 else None))
        assert message is not None
        assert isinstance(message.body, Streamed)
        assert (message.text, message.body.complete) == ("Tie Guanyin", complete)
