"""The wire view: the last frames and REST calls, readable, without secrets. Off until it is asked for.

People come to imkit to learn and debug the protocol; this shows what was really said.
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
from imkit.wire import schema
from imkit.wire.enums import FrameCommand

if TYPE_CHECKING:
    import pandas as pd

MAX_ENTRIES = 2_000
_COMMANDS = {command.value: command.name for command in FrameCommand}
_MAX_TEXT = 20_000  # characters of one entry's JSON; a longer one is cut, and says so

Direction = Literal["up", "down"]


@dataclass(frozen=True, slots=True)
class WireEntry:
    """One frame or REST call.

    Attributes:
        at: when, in seconds since the epoch.
        direction: up or down.
        what: the command, or the request's line.
        decoded: JSON text, without secrets.
        size: in bytes.
    """

    at: float
    direction: Direction
    command: str
    decoded: str
    size: int


class WireLog:
    """The last things that were said, decoded and redacted as they are noted; nothing secret is kept.

    Args:
        kept: how many entries at the most.
    """

    def __init__(self, kept: int = MAX_ENTRIES) -> None:
        self._entries: deque[WireEntry] = deque(maxlen=kept)
        self.is_on = False
        self.total = 0  # how many entries there have been, those that are kept no more included

    def note_frame(self, direction: Direction, data: bytes) -> None:
        """Note a frame of the socket."""
        if self.is_on:
            command, decoded = decode_frame(data, direction)
            self._note(direction, command, decoded, len(data))

    def note_request(self, what: str, body: Mapping[str, Any] | None) -> None:
        """Note a REST request, such as ``"GET /thread/42"``, with its JSON body."""
        if self.is_on:
            self._note("up", what, dict(body or {}), len(json.dumps(body).encode()) if body else 0)

    def note_answer(self, what: str, status: int, content: bytes) -> None:
        """Note the answer to a REST request."""
        if self.is_on:
            try:
                decoded = json.loads(content)
            except (ValueError, RecursionError):
                decoded = {"no JSON": content[:200].decode(errors="replace")}
            self._note("down", f"{status} {what}", decoded, len(content))

    def _note(self, direction: Direction, what: str, decoded: Any, size: int) -> None:
        said = without_share_secrets(json.dumps(redacted(decoded), ensure_ascii=False, default=str))
        if len(said) > _MAX_TEXT:
            said = json.dumps({"cut": f"{len(said):,} characters", "begins": said[:1_000]}, ensure_ascii=False)
        self._entries.append(WireEntry(time.time(), direction, what, said, size))
        self.total += 1

    def entries_after(self, number: int) -> list[WireEntry]:
        """Return the kept entries behind the first `number` that there were."""
        new = min(self.total - number, len(self._entries))
        return list(self._entries)[-new:] if new > 0 else []

    def to_dataframe(self, count: int) -> pd.DataFrame:
        """Return the last `count` entries as a DataFrame, the oldest first."""
        import pandas as pd

        entries = list(self._entries)[-count:]
        return pd.DataFrame(
            {
                "time": pd.to_datetime([entry.at for entry in entries], unit="s", utc=True).as_unit("ms"),
                "direction": pd.Categorical([entry.direction for entry in entries], ["up", "down"]),
                "command": pd.array([entry.command for entry in entries], dtype="string"),
                "decoded": pd.array([entry.decoded for entry in entries], dtype="string"),
                "bytes": pd.array([entry.size for entry in entries], dtype="Int64"),
            }
        )


def decode_frame(data: bytes, direction: Direction) -> tuple[str, Any]:
    r"""Return a frame's command and its content as JSON, opened as far as it can be read.

    Example:
        >>> decode_frame(b"\x08\x00@\x01X\x00", "up")[0]
        'UNREAD'
    """
    try:
        frame = schema.MSync.FromString(data)
        decoded = _fields(frame)
        payload = _payload(frame, direction)
    except (DecodeError, UnicodeDecodeError, RecursionError):
        return "unreadable", {"hex": data[:200].hex()}
    decoded.pop("payload", None)
    if payload is not None:
        decoded["payload"] = payload
    return _COMMANDS.get(frame.command, "unknown"), decoded


def _payload(frame: Any, direction: Direction) -> Any:
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
        return _opened(value, message)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 2**53:
        return str(value)  # beyond what JSON's readers hold
    if isinstance(value, str) and value[:1] == "{":
        return _json_or(value, value)
    return value


def _opened(value: bytes, message: Any) -> Any:
    """Open the bytes in a Meta: what is in them depends on its namespace."""
    if message.DESCRIPTOR.name == "Meta":
        classes = {0: schema.StatisticsBody, 1: schema.MessageBody, 2: schema.MUCBody, 3: schema.RosterBody}
        if value == message.payload and message.ns in classes:
            try:
                return _fields(classes[message.ns].FromString(value))
            except (DecodeError, UnicodeDecodeError):
                return {"unreadable": value[:200].hex()}
        return _json_or(value, value[:200].hex())
    return value[:200].hex()


def _json_or(text: str | bytes, otherwise: Any) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return otherwise
