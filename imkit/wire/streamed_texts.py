"""Streamed texts (流式消息): puts the pieces together that the service sends, and tells each growth as an event.

All pieces of a text have the same message id. They are numbered without gaps from the number of the first one. At the
end the service sends the whole text once more, for those who lack pieces.

Source: docs/protocol.md#streamed-texts.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from imkit.events import MessageEdited, MessageReceived
from imkit.messages import Message, Streamed
from imkit.repeated_warnings import logger_of_untrusted
from imkit.wire.enums import StreamStatus

logger = logger_of_untrusted("imkit.wire")

MAX_OPEN = 100  # texts that are not complete yet; the oldest is given up then, as in the official SDK
MAX_CHARACTERS = 131_072  # of one text; the service allows 128 KB
MAX_WAITING = 1_000  # pieces of one text that wait for an earlier one
MAX_WAITING_BYTES = 2**20  # of these, with their attributes and names

_FIRST = (StreamStatus.STREAM_START, StreamStatus.STREAM_START_COMPLETED)
_LAST = (StreamStatus.STREAM_START_COMPLETED, StreamStatus.STREAM_COMPLETED)


@dataclass(frozen=True, slots=True)
class StreamPiece:
    """One piece of a streamed text, or the whole text at the end.

    Attributes:
        message: the message; the text of its body is the piece.
        number: the place of the piece.
        status: whether it is the first, a later, the last piece, or the whole text.
        at: when the service sent it.
        size_bytes: how many bytes it came in.
    """

    message: Message
    number: int
    status: int
    at: datetime
    size_bytes: int

    @property
    def body(self) -> Streamed:
        """The body of the message."""
        assert isinstance(self.message.body, Streamed)
        return self.message.body


def streamed_body(content: Any, stream: Any, ext: dict[str, Any]) -> Streamed:
    """Return the body of one piece, or of a streamed text in the history.

    Args:
        content: the parsed Content.
        stream: the parsed Stream.
        ext: the decoded attributes.
    """
    return Streamed(
        content.text,
        complete=status_of(stream) in (*_LAST, StreamStatus.STREAM_FULL) or bool(stream.streamError),
        kind=stream.streamType,
        finish_reason=stream.streamFinishReason if stream.HasField("streamFinishReason") else None,
        error=stream.streamError,
        ext=ext,
    )


def status_of(stream: Any) -> int:
    """Return the status of a piece; one that is absent or unknown is that of a piece in the middle."""
    return int(stream.streamStatus) if stream.HasField("streamStatus") else int(StreamStatus.STREAM_IN_PROGRESS)


@dataclass(slots=True)
class _Growing:
    """A text that is not complete yet."""

    text: str = ""
    next_number: int | None = None  # `None`: the first piece has not come
    sent_at: datetime | None = None  # the time of the message, from the first event; `None`: there was none yet
    waiting: dict[int, StreamPiece] = field(default_factory=dict)  # later pieces, by number
    waiting_characters: int = 0
    waiting_bytes: int = 0


class StreamedTexts:
    """The streamed texts of one login that are growing."""

    def __init__(self) -> None:
        self._growing: OrderedDict[str, _Growing] = OrderedDict()  # by message id, the one that grew last at the end

    def is_growing(self, message_id: int) -> bool:
        """Whether more pieces of a message are expected."""
        return str(message_id) in self._growing

    def give_up(self, message_id: str) -> None:
        """Expect no more pieces of a message: it was recalled."""
        self._growing.pop(message_id, None)

    def take(self, piece: StreamPiece) -> list[MessageReceived | MessageEdited]:
        """Return what a piece tells: the beginning of a text, its growth, or nothing while an earlier piece lacks."""
        message_id = piece.message.id
        growing = self._growing.setdefault(message_id, _Growing())
        self._growing.move_to_end(message_id)
        if len(self._growing) > MAX_OPEN:
            self._growing.popitem(last=False)
        if piece.status == StreamStatus.STREAM_FULL or piece.body.error:
            self.give_up(message_id)
            is_whole = len(piece.body.text) >= len(growing.text)  # else it is one more piece
            text = piece.body.text if is_whole else growing.text + piece.body.text
            return [_grown(growing, piece, text, complete=True)]
        if piece.status in _FIRST and growing.next_number is None:
            growing.next_number = piece.number
        self._keep(growing, piece)
        events: list[MessageReceived | MessageEdited] = []
        while growing.next_number is not None and (found := growing.waiting.pop(growing.next_number, None)):
            growing.next_number += 1
            growing.waiting_characters -= len(found.body.text)
            growing.waiting_bytes -= found.size_bytes
            is_last = found.status in _LAST
            text = (growing.text + found.body.text)[:MAX_CHARACTERS]
            events.append(_grown(growing, found, text, complete=is_last))
            if is_last:
                self.give_up(message_id)
                break
        return events

    def _keep(self, growing: _Growing, piece: StreamPiece) -> None:
        """Keep a piece until those before it have come; drop one that came before, and what is too much."""
        if piece.number in growing.waiting or piece.number < (growing.next_number or 0):
            return
        characters = growing.waiting_characters + len(piece.body.text)
        size_bytes = growing.waiting_bytes + piece.size_bytes
        is_too_long = len(growing.text) + characters > MAX_CHARACTERS or size_bytes > MAX_WAITING_BYTES
        if len(growing.waiting) >= MAX_WAITING or is_too_long:
            logger.warning("a streamed text is too long, or has too many pieces out of order: a piece is dropped")
            return
        growing.waiting[piece.number] = piece
        growing.waiting_characters, growing.waiting_bytes = characters, size_bytes


def _grown(growing: _Growing, piece: StreamPiece, text: str, *, complete: bool) -> MessageReceived | MessageEdited:
    growing.text = text
    body = replace(piece.body, text=text, complete=complete)
    if growing.sent_at is None:
        growing.sent_at = piece.message.time
        return MessageReceived(replace(piece.message, body=body))
    message = replace(piece.message, body=body, time=growing.sent_at)
    return MessageEdited(message, message.sender, message.edit_count, piece.at)
