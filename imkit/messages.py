"""What a message is: `Message`, the nine bodies and `ThreadRef`. Pure data, frozen.

Source: the content types of fact sheet section 4, the thread mark of section 5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from os import PathLike
from typing import Any, ClassVar, Literal

from imkit.cards import card, counted, known
from imkit.escape import for_terminal

# ------------------------------------------------------------------ the bodies


@dataclass(frozen=True, slots=True)
class Body:
    """What every body has: `ext`, the application's own attributes, a JSON object."""

    type: ClassVar[str] = ""
    ext: Mapping[str, Any] = field(default_factory=dict, kw_only=True)

    @property
    def summary_text(self) -> str | None:
        """What a table or a feed shows of it, or `None`."""
        return None


@dataclass(frozen=True, slots=True)
class Text(Body):
    """Plain text (文本).

    Example:
        >>> Text("hello", ext={"mood": "good"}).text
        'hello'
    """

    type: ClassVar[str] = "txt"
    text: str = ""

    @property
    def summary_text(self) -> str | None:
        """The text."""
        return self.text


@dataclass(frozen=True, slots=True)
class Attachment(Body):
    """What the four attachment bodies share: something to upload, or somewhere to find it.

    Args:
        file: a path or the bytes to upload when it is sent, or the address of what is on the web already; never set
            on a received message.
        url: where the file is; set on a received message, or to send what is on the web already.
        file_name: as the sender called it. Hostile input: `session.download` makes it a safe name.
        file_size: in bytes.
        secret: the share-secret that opens `url`; kept out of the repr.
    """

    file: str | PathLike[str] | bytes | None = field(default=None, repr=False)
    url: str | None = field(default=None, kw_only=True)
    file_name: str | None = field(default=None, kw_only=True)
    file_size: int | None = field(default=None, kw_only=True)
    secret: str | None = field(default=None, kw_only=True, repr=False)


@dataclass(frozen=True, slots=True)
class Image(Attachment):
    """A picture (图片): `width` and `height` in pixels; `animated` for a GIF."""

    type: ClassVar[str] = "img"
    width: float | None = field(default=None, kw_only=True)
    height: float | None = field(default=None, kw_only=True)
    animated: bool = field(default=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Audio(Attachment):
    """A recording (语音): `duration` in seconds."""

    type: ClassVar[str] = "audio"
    duration: int | None = field(default=None, kw_only=True)


@dataclass(frozen=True, slots=True)
class Video(Attachment):
    """A film (视频): `duration` in seconds, and a still picture of it at `thumbnail_url`."""

    type: ClassVar[str] = "video"
    duration: int | None = field(default=None, kw_only=True)
    thumbnail_url: str | None = field(default=None, kw_only=True)
    thumbnail_secret: str | None = field(default=None, kw_only=True, repr=False)


@dataclass(frozen=True, slots=True)
class File(Attachment):
    """Any other file (文件)."""

    type: ClassVar[str] = "file"


@dataclass(frozen=True, slots=True)
class Location(Body):
    """A place (位置): `lat` and `lng` in degrees."""

    type: ClassVar[str] = "loc"
    lat: float = 0.0
    lng: float = 0.0
    address: str = ""
    building_name: str = field(default="", kw_only=True)

    @property
    def summary_text(self) -> str | None:
        """The address."""
        return self.address or None


@dataclass(frozen=True, slots=True)
class Command(Body):
    """A command (透传): an `action` for programs; never shown, not kept in roaming history."""

    type: ClassVar[str] = "cmd"
    action: str = ""

    @property
    def summary_text(self) -> str | None:
        """The action."""
        return self.action


@dataclass(frozen=True, slots=True)
class Custom(Body):
    """An application's own kind (自定义): an `event` name and `params`, text to text."""

    type: ClassVar[str] = "custom"
    event: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)

    @property
    def summary_text(self) -> str | None:
        """The event's name."""
        return self.event


@dataclass(frozen=True, slots=True)
class Combine(Body):
    """Several messages forwarded as one (合并消息); `session.unpack` opens a received one.

    Args:
        title: the heading.
        messages: what to bundle, when sending; a received one holds them in the file at `url`.
        summary: the preview below the heading.
        fallback: what a client shows that knows no bundles.
        level: how deep bundles lie within each other here, from 1.
    """

    type: ClassVar[str] = "combine"
    title: str = ""
    messages: Sequence[Message] = field(default=(), repr=False)
    summary: str = field(default="", kw_only=True)
    fallback: str = field(default="", kw_only=True)
    level: int = field(default=1, kw_only=True)
    url: str | None = field(default=None, kw_only=True, repr=False)  # its query holds the secret
    file_name: str | None = field(default=None, kw_only=True)
    file_size: int | None = field(default=None, kw_only=True)
    secret: str | None = field(default=None, kw_only=True, repr=False)

    @property
    def summary_text(self) -> str | None:
        """The title."""
        return self.title


@dataclass(frozen=True, slots=True)
class Unknown(Body):
    """What this version of imkit cannot read: `reason` says why, `data` keeps the bytes as they came."""

    type: ClassVar[str] = "unknown"
    data: bytes = field(default=b"", repr=False)
    reason: str = ""

    @property
    def summary_text(self) -> str | None:
        """Nothing: nobody knows what it says."""
        return None


# --------------------------------------------------------------- the message


@dataclass(frozen=True, slots=True)
class ThreadRef:
    """Where a thread message belongs: its thread, the group, and the message the thread hangs on.

    Source: the downlink thread mark, fact sheet section 5.
    """

    thread_id: str
    name: str
    group_id: str
    parent_id: str


@dataclass(frozen=True, slots=True)
class ThreadOverview:
    """What a parent message in the group's history tells of the thread on it (fact sheet section 5, last line)."""

    thread_id: str
    name: str
    group_id: str
    message_count: int
    created: datetime
    updated: datetime
    last_message: Message | None


@dataclass(frozen=True, slots=True)
class Message:
    """One message, as the server gave it.

    Args:
        id: the server's id, 19 decimal digits: a string, because it is beyond what a float holds.
        sender: the user id of who sent it.
        to: the id of the thread or group (or user) it was sent to.
        time: the server's time, aware, UTC, milliseconds.
        body: one of the nine bodies, or `Unknown`.
        thread: its thread, or `None` for a plain group message.
        edited_at: when it was last edited, or `None`.
        edit_count: how often.
        reactions: who reacted how, as the service reports it: objects with `reaction`, `count` and `userList`.
        translations: of the text, as the service reports them.
        resource: the device it was sent from.
        chat: ``"group"`` (groups and threads), ``"user"`` or ``"room"``.
        overview: on a parent message read from the group's history, the thread on it.

    Example:
        >>> from datetime import UTC
        >>> Message("1882603211714461703", "alice", "42", datetime(2026, 11, 22, 9, tzinfo=UTC), Text("tea?"))
        <Message 1882603211714461703 txt from alice at 2026-11-22 09:00:00 UTC: 'tea?'>
    """

    id: str
    sender: str
    to: str
    time: datetime
    body: Body
    thread: ThreadRef | None = None
    edited_at: datetime | None = None
    edit_count: int = 0
    reactions: Sequence[Mapping[str, Any]] = ()
    translations: Sequence[Mapping[str, Any]] = ()
    resource: str = ""
    chat: Literal["group", "user", "room"] = "group"
    overview: ThreadOverview | None = None

    @property
    def type(self) -> str:
        """txt, img, audio, video, file, loc, cmd, custom, combine or unknown."""
        return self.body.type

    @property
    def text(self) -> str | None:
        """What it says in words: a text, a title, a custom event's name, a command's action, an address."""
        return self.body.summary_text

    @property
    def ext(self) -> Mapping[str, Any]:
        """The application's own attributes."""
        return self.body.ext

    def __repr__(self) -> str:
        text = self.text
        said = f": '{for_terminal(text, 60)}'" if text is not None else ""
        edited = f", edited {self.edit_count}x" if self.edit_count else ""
        return (
            f"<Message {for_terminal(self.id)} {self.type} from {for_terminal(self.sender, 64)} "
            f"at {self.time:%Y-%m-%d %H:%M:%S} UTC{edited}{said}>"
        )

    def _repr_html_(self) -> str:
        return message_card(self, f"edited {self.edit_count}x" if self.edit_count else "")


_KINDS = {"img": "Image", "audio": "Audio", "video": "Video", "file": "File", "loc": "Place", "cmd": "Command"}
_KINDS |= {"custom": "Custom", "combine": "Bundle", "unknown": "Unknown"}


def message_card(message: Message, state: str, *, struck: bool = False) -> str:
    """Return a message as a card. Nothing is fetched: of a picture it says what is known of it."""
    thread, on_it = message.thread, message.overview
    facts = known("in", thread.name or thread.thread_id) if thread else known(f"in {message.chat}", message.to)
    facts += [f"{message.time:%Y-%m-%d %H:%M:%S} UTC", *known("id", message.id)]
    facts += known("ext:", ", ".join(map(str, message.ext)))
    facts += [f"{one.get('reaction')} {one.get('count', '')}" for one in message.reactions[:20]]
    facts += known("carries thread", on_it.name) + counted(on_it.message_count, "message") if on_it else []
    what = _KINDS.get(message.type, "Message")
    return card(what, message.sender, facts, state=state, text=_said(message.body), struck=struck)


def _said(body: Body) -> str:
    """Return what a card shows of a body."""
    match body:
        case Image() if body.width and body.height:
            parts = [body.file_name, f"{body.width:g} × {body.height:g} pixels", *counted(body.file_size, "byte")]
        case Audio(duration=int(seconds)) | Video(duration=int(seconds)):
            parts = [body.file_name, *counted(seconds, "second"), *counted(body.file_size, "byte")]
        case Attachment():
            parts = [body.file_name, *counted(body.file_size, "byte")]
        case Location():
            parts = [body.address, body.building_name, f"{body.lat:.5f}, {body.lng:.5f}"]
        case Custom():
            parts = [body.event, *(f"{key}: {value}" for key, value in body.params.items())]
        case Combine():
            parts = [body.title, body.summary]
        case Unknown():
            parts = ["what this version of imkit cannot read", body.reason]
        case _:
            parts = [body.summary_text]
    return " · ".join(part for part in parts if part)
