"""`WireLog` keeps the last frames and REST calls of a login, decoded and without secrets, for `Session.wire`.

It is off until a user asks for it. In this module a *frame* is a frame of the socket, never a DataFrame.

Source: docs/protocol.md#socket-transport, docs/protocol.md#rest-transport.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from google.protobuf.message import DecodeError, Message

from imkit.client.redaction import redacted, without_share_secrets
from imkit.errors import InvalidMessage
from imkit.wire import schema
from imkit.wire.enums import FrameCommand, NameSpace
from imkit.wire.untrusted_json import json_value, plain

if TYPE_CHECKING:
    import pandas as pd

MAX_ENTRIES = 2_000
_COMMANDS = {command.value: command.name for command in FrameCommand}
_MAX_CHARACTERS = 20_000  # of one entry's JSON; of a longer one only the beginning is kept
_KEPT_CHARACTERS = 1_000

Direction = Literal["up", "down"]


@dataclass(frozen=True, slots=True)
class WireEntry:
    """One frame, REST request or REST answer.

    Attributes:
        at: when, in seconds since the epoch.
        direction: up (to the service) or down.
        command: the frame's command, such as ``"SYNC"``; of REST ``"GET /thread/42"``, or ``"200 GET /thread/42"``.
        decoded: the content as JSON text, without secrets.
        size: in bytes.
    """

    at: float
    direction: Direction
    command: str
    decoded: str
    size: int


class WireLog:
    """The last frames and REST calls. They are decoded when they are noted, and no secret is stored.

    Args:
        kept: the largest number of entries to keep.

    Attributes:
        is_on: whether anything is noted.
        total: how many entries were ever noted, including those that are no longer kept.
    """

    def __init__(self, kept: int = MAX_ENTRIES) -> None:
        self._entries: deque[WireEntry] = deque(maxlen=kept)
        self.is_on = False
        self.total = 0

    def note_frame(self, direction: Direction, data: bytes) -> None:
        """Note a frame of the socket."""
        if self.is_on:
            command, decoded = decode_frame(data, direction)
            self._note(direction, command, decoded, len(data))

    def note_request(self, line: str, body: Mapping[str, Any] | None) -> None:
        """Note a REST request, such as ``"GET /thread/42"``, with its JSON body."""
        if self.is_on:
            self._note("up", line, dict(body or {}), len(json.dumps(body).encode()) if body else 0)

    def note_answer(self, line: str, status: int, content: bytes) -> None:
        """Note the answer to the REST request `line`."""
        if self.is_on:
            decoded = json_value(content)
            if decoded is None:
                decoded = {"not JSON": content[:200].decode(errors="replace")}
            self._note("down", f"{status} {line}", decoded, len(content))

    def _note(self, direction: Direction, command: str, content: Any, size: int) -> None:
        # `plain` first: what a stranger nested deeply, or half a character, must not cost the frame that holds it.
        decoded = without_share_secrets(json.dumps(redacted(plain(content)), ensure_ascii=False))
        if len(decoded) > _MAX_CHARACTERS:
            beginning = decoded[:_KEPT_CHARACTERS]
            decoded = json.dumps({"cut": f"{len(decoded):,} characters", "begins": beginning}, ensure_ascii=False)
        self._entries.append(WireEntry(time.time(), direction, command, decoded, size))
        self.total += 1

    def entries_after(self, number: int) -> list[WireEntry]:
        """Return the kept entries except for the first `number` that were ever noted."""
        new = min(self.total - number, len(self._entries))
        return list(self._entries)[-new:] if new > 0 else []

    def to_dataframe(self, count: int) -> pd.DataFrame:
        """Return the last `count` entries as a DataFrame, the oldest first."""
        import pandas as pd

        if not isinstance(count, int) or count < 1:
            raise InvalidMessage(f"the number of entries must be a whole number from 1, not {count!r:.40}")
        entries = list(self._entries)[-count:]
        frame = pd.DataFrame(
            {
                "time": pd.to_datetime([entry.at for entry in entries], unit="s", utc=True).as_unit("ms"),
                "direction": pd.Categorical([entry.direction for entry in entries], ["up", "down"]),
                "command": pd.array([entry.command for entry in entries], dtype="string"),
                "decoded": pd.array([entry.decoded for entry in entries], dtype="string"),
                "bytes": pd.array([entry.size for entry in entries], dtype="Int64"),
            }
        )
        frame.attrs["imkit"] = {}  # so that a notebook typesets nothing in it: `imkit.history.summary`
        return frame


def decode_frame(data: bytes, direction: Direction) -> tuple[str, Any]:
    r"""Return a frame's command, and its content as JSON values, decoded as far as possible.

    Example:
        >>> decode_frame(b"\x08\x00@\x01X\x00", "up")[0]
        'UNREAD'
    """
    try:
        frame = schema.MSync.FromString(data)
        decoded = _fields(frame)
        payload = _decode_payload(frame, direction)
    except (DecodeError, UnicodeDecodeError, RecursionError):
        return "unreadable", {"hex": data[:200].hex()}
    decoded.pop("payload", None)
    if payload is not None:
        decoded["payload"] = payload
    return _COMMANDS.get(frame.command, "unknown"), decoded


def _decode_payload(frame: Any, direction: Direction) -> Any:
    if not frame.payload:
        return None
    classes = {
        FrameCommand.SYNC: schema.CommSyncUL if direction == "up" else schema.CommSyncDL,
        FrameCommand.UNREAD: schema.CommUnreadDL,
        FrameCommand.NOTICE: schema.CommNotice,
        FrameCommand.PROVISION: schema.Provision,
        FrameCommand.LOGOUT: schema.Logout,
    }
    return _fields(classes[frame.command].FromString(frame.payload))


def _fields(message: Any) -> dict[str, Any]:
    found = {}
    for descriptor, value in message.ListFields():
        if descriptor.is_repeated:
            found[descriptor.name] = [_value(descriptor, item, message) for item in value]
        else:
            found[descriptor.name] = _value(descriptor, value, message)
    return found


def _value(descriptor: Any, value: Any, message: Any) -> Any:
    if isinstance(value, Message):
        return _fields(value)
    if descriptor.enum_type is not None:
        names = descriptor.enum_type.values_by_number
        return names[value].name if value in names else value
    if isinstance(value, bytes):
        return _decode_bytes(value, message)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 2**53:
        return str(value)  # many JSON parsers round such a number
    if isinstance(value, str) and value[:1] == "{":
        return _json_or_default(value, value)
    return value


def _decode_bytes(value: bytes, message: Any) -> Any:
    """Decode a field of bytes. Those of a Meta hold a message whose class depends on the Meta's namespace."""
    if message.DESCRIPTOR.name == "Meta":
        classes = {
            NameSpace.STATISTIC: schema.StatisticsBody,
            NameSpace.CHAT: schema.MessageBody,
            NameSpace.MUC: schema.MUCBody,
            NameSpace.ROSTER: schema.RosterBody,
        }
        if value == message.payload and message.ns in classes:
            try:
                return _fields(classes[message.ns].FromString(value))
            except (DecodeError, UnicodeDecodeError):
                return {"unreadable": value[:200].hex()}
        return _json_or_default(value, value[:200].hex())
    return value[:200].hex()


def _json_or_default(text: str | bytes, default: Any) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return default
