"""Messages: `Message`, the nine bodies and `ThreadRef`. Frozen dataclasses that do no I/O.

Source: docs/protocol.md#content-types, docs/protocol.md#thread-marks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from os import PathLike
from typing import Any, ClassVar, Literal

from imkit.cards import Picture, card, counted, known, size
from imkit.escape import for_terminal
from imkit.misuse import PublicObject
from imkit.quotes import Quote, mentions_of, quote_of

# ------------------------------------------------------------------ the bodies


@dataclass(frozen=True, slots=True)
class Body(PublicObject):
    """The base class of all bodies.

    Args:
        ext: the application's own attributes (扩展字段), a JSON object that travels with the message.
    """

    type: ClassVar[str] = ""
    ext: Mapping[str, Any] = field(default_factory=dict, kw_only=True)

    @property
    def summary_text(self) -> str | None:
        """The text that a table or a feed shows for this body, or `None` if it has none."""
        return None


@dataclass(frozen=True, slots=True)
class Text(Body):
    """A plain text (文本).

    Args:
        text: the text.
        ext: the application's own attributes (扩展字段), a JSON object.

    Example:
        >>> thread.send(imkit.Text("hello", ext={"mood": "good"})).ext
        {'mood': 'good'}
    """

    type: ClassVar[str] = "txt"
    text: str = ""

    @property
    def summary_text(self) -> str | None:
        """The text."""
        return self.text


@dataclass(frozen=True, slots=True)
class Streamed(Text):
    """A text that an app server sends piece by piece (流式消息), such as the answer of a language model.

    `MessageReceived` brings its beginning, and a `MessageEdited` tells each growth. The history shows what has come.
    A client cannot send one: sending it on sends its text as it is then.

    Args:
        text: what has come so far.
        complete: whether this is the whole text, or the service has given it up (`error`).
        kind: the app's own word for the kind of text, such as ``"markdown"``.
        finish_reason: the app's own number for why the text ended, or `None`.
        error: 0; or why the service gave the text up: 512, the next piece took too long; 513, the whole text did.
        ext: the application's own attributes (扩展字段), a JSON object.

    Source: docs/protocol.md#streamed-texts.
    """

    complete: bool = field(default=True, kw_only=True)
    kind: str = field(default="", kw_only=True)
    finish_reason: int | None = field(default=None, kw_only=True)
    error: int = field(default=0, kw_only=True)


@dataclass(frozen=True, slots=True)
class Attachment(Body):
    """The base class of the four bodies that carry a file: `Image`, `Audio`, `Video`, `File`.

    Args:
        file: to send a file: its path, its bytes, or its URL if it is on the web already. `None` in a received message.
        url: where the file is: set in a received message, or to send a file that is on the web already.
        file_name: the name that the sender gave. It is untrusted input; `Session.download` makes a safe name of it.
        file_size: in bytes.
        secret: the share-secret that opens `url`; the repr does not show it.
        ext: the application's own attributes (扩展字段), a JSON object.
    """

    file: str | PathLike[str] | bytes | None = field(default=None, repr=False)
    url: str | None = field(default=None, kw_only=True)
    file_name: str | None = field(default=None, kw_only=True)
    file_size: int | None = field(default=None, kw_only=True)
    secret: str | None = field(default=None, kw_only=True, repr=False)


@dataclass(frozen=True, slots=True)
class Image(Attachment):
    """A picture (图片).

    Args:
        file: to send a picture: its path, its bytes, or its URL if it is on the web already.
        url: where the picture is, in a received message.
        file_name: the name that the sender gave; untrusted input.
        file_size: in bytes.
        secret: the share-secret that opens `url`.
        width: in pixels; imkit reads it from the file when it sends the picture.
        height: in pixels, likewise.
        animated: whether it is a moving GIF.
        ext: the application's own attributes (扩展字段), a JSON object.

    Example:
        ```python
        thread.send(imkit.Image("cup.png"))
        ```
    """

    type: ClassVar[str] = "img"
    width: float | None = field(default=None, kw_only=True)
    height: float | None = field(default=None, kw_only=True)
    animated: bool = field(default=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Audio(Attachment):
    """A voice recording (语音).

    Args:
        file: to send a recording: its path, its bytes, or its URL if it is on the web already.
        url: where the recording is, in a received message.
        file_name: the name that the sender gave; untrusted input.
        file_size: in bytes.
        secret: the share-secret that opens `url`.
        duration: in seconds.
        ext: the application's own attributes (扩展字段), a JSON object.

    Example:
        ```python
        thread.send(imkit.Audio("hello.mp3", duration=3))
        ```
    """

    type: ClassVar[str] = "audio"
    duration: int | None = field(default=None, kw_only=True)


@dataclass(frozen=True, slots=True)
class Video(Attachment):
    """A video (视频).

    Args:
        file: to send a video: its path, its bytes, or its URL if it is on the web already.
        url: where the video is, in a received message.
        file_name: the name that the sender gave; untrusted input.
        file_size: in bytes.
        secret: the share-secret that opens `url`.
        duration: in seconds.
        thumbnail_url: where a still picture of the video is.
        thumbnail_secret: the share-secret that opens `thumbnail_url`.
        ext: the application's own attributes (扩展字段), a JSON object.

    Example:
        ```python
        thread.send(imkit.Video("kettle.mp4", duration=12))
        ```
    """

    type: ClassVar[str] = "video"
    duration: int | None = field(default=None, kw_only=True)
    thumbnail_url: str | None = field(default=None, kw_only=True)
    thumbnail_secret: str | None = field(default=None, kw_only=True, repr=False)


@dataclass(frozen=True, slots=True)
class File(Attachment):
    """A file of any other kind (文件).

    Args:
        file: to send a file: its path, its bytes, or its URL if it is on the web already.
        url: where the file is, in a received message.
        file_name: the name that the sender gave; untrusted input.
        file_size: in bytes.
        secret: the share-secret that opens `url`.
        ext: the application's own attributes (扩展字段), a JSON object.

    Example:
        >>> thread.send(imkit.File(b"two bags", file_name="order.txt")).body.file_size
        8
    """

    type: ClassVar[str] = "file"


@dataclass(frozen=True, slots=True)
class Location(Body):
    """A place (位置).

    Args:
        lat: the latitude, in degrees.
        lng: the longitude, in degrees.
        address: the address, as text.
        building_name: the name of the building.
        ext: the application's own attributes (扩展字段), a JSON object.

    Example:
        >>> thread.send(imkit.Location(30.22, 120.12, "Longjing Village, Hangzhou")).text
        'Longjing Village, Hangzhou'
    """

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
    """A command for programs (透传): clients do not show it, and the roaming history does not keep it.

    Args:
        action: what the receiving program should do. Actions that begin with ``em_`` or ``easemob::`` are reserved:
            official clients may keep them from the application, so imkit logs a warning.
        ext: the application's own attributes (扩展字段), a JSON object.

    Example:
        >>> thread.send(imkit.Command("refresh")).type
        'cmd'
    """

    type: ClassVar[str] = "cmd"
    action: str = ""

    @property
    def summary_text(self) -> str | None:
        """The action."""
        return self.action


@dataclass(frozen=True, slots=True)
class Custom(Body):
    """A message type of the application's own (自定义).

    Args:
        event: the name of the type.
        params: the parameters, text to text.
        ext: the application's own attributes (扩展字段), a JSON object.

    Example:
        >>> thread.send(imkit.Custom("vote", {"tea": "Dong Ding"})).body.params
        {'tea': 'Dong Ding'}
    """

    type: ClassVar[str] = "custom"
    event: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)

    @property
    def summary_text(self) -> str | None:
        """The event's name."""
        return self.event


@dataclass(frozen=True, slots=True)
class Combine(Body):
    """A bundle: several messages that are forwarded as one (合并消息). `Session.unpack` opens a received one.

    Args:
        title: the heading.
        messages: the messages to bundle, when you send it. Those of a received bundle are in the file at `url`.
        summary: the preview below the heading.
        fallback: the text that a client shows if it does not support bundles.
        level: how deep bundles are nested in this one, from 1.
        url: where the bundle's file is, in a received message.
        file_name: the name of the bundle's file.
        file_size: the size of the bundle's file, in bytes.
        secret: the share-secret that opens `url`.
        ext: the application's own attributes (扩展字段), a JSON object.

    Example:
        >>> thread.send(imkit.Combine("What was said", [sent])).text
        'What was said'

    Source: docs/protocol.md#bundle-files.
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
    """A received body that this version of imkit cannot read.

    Args:
        data: the bytes as they arrived.
        reason: why imkit cannot read them.
        ext: the application's own attributes (扩展字段), a JSON object.
    """

    type: ClassVar[str] = "unknown"
    data: bytes = field(default=b"", repr=False)
    reason: str = ""

    @property
    def summary_text(self) -> str | None:
        """`None`: the content is unknown."""
        return None


# --------------------------------------------------------------- the message


@dataclass(frozen=True, slots=True)
class ThreadRef:
    """The thread that a message belongs to.

    Args:
        thread_id: the thread's id.
        name: the thread's name.
        group_id: the id of the thread's group.
        parent_id: the id of the group message that the thread hangs on (父消息).

    Source: docs/protocol.md#thread-marks.
    """

    thread_id: str
    name: str
    group_id: str
    parent_id: str


@dataclass(frozen=True, slots=True)
class ThreadOverview:
    """The thread that hangs on a parent message, as the group's history tells of it.

    Args:
        thread_id: the thread's id.
        name: the thread's name.
        group_id: the id of the thread's group.
        message_count: how many messages the thread has.
        created: when the thread was created, an aware datetime in UTC.
        updated: when the thread last changed, an aware datetime in UTC.
        last_message: the newest message, or `None`.

    Source: docs/protocol.md#thread-overview.
    """

    thread_id: str
    name: str
    group_id: str
    message_count: int
    created: datetime
    updated: datetime
    last_message: Message | None


@dataclass(frozen=True, slots=True)
class Reaction:
    """A reaction (表情回复) to a message, and the users who gave it.

    Args:
        reaction: an emoji, or another text of up to 128 characters.
        count: the number of users.
        users: their user ids, the earliest first.
        mine: whether this session's user is one of them.

    Source: docs/protocol.md#reactions.
    """

    reaction: str
    count: int
    users: tuple[str, ...]
    mine: bool


@dataclass(frozen=True, slots=True)
class Reader:
    """A user who has acknowledged a message (已读回执).

    Args:
        user: the user id.
        at: when, an aware datetime in UTC.
        words: the text that came with the receipt.

    Source: docs/protocol.md#read-receipts.
    """

    user: str
    at: datetime
    words: str

    def __repr__(self) -> str:
        words = f": '{for_terminal(self.words, 60)}'" if self.words else ""
        return f"<Reader {for_terminal(self.user, 64)} at {self.at:%Y-%m-%d %H:%M:%S} UTC{words}>"


@dataclass(frozen=True, slots=True)
class Message(PublicObject):
    """One message, as the server gave it.

    Args:
        id: the server's id, 19 decimal digits. It is a string, because a float cannot hold 19 digits.
        sender: the user id of the sender.
        to: the id of the thread, the group or the user that it was sent to.
        time: the server's time, an aware datetime in UTC, in whole milliseconds.
        body: one of the nine bodies, or `Unknown`.
        thread: the thread that it belongs to, or `None` for a message in the group itself.
        edited_at: when it was last edited, an aware datetime in UTC, or `None`.
        edit_count: how often it was edited.
        reactions: the reactions (表情回复), as the service tells them: objects with `reaction`, `count` and `userList`.
        translations: translations of the text, as the service reports them.
        resource: the device that it was sent from.
        env: the sender's word for the app's callbacks (`webhookEnv` of SDK 5), or an empty text.
        chat: ``"group"`` (groups and threads), ``"user"`` or ``"room"`` (the service's word for a chat room, 聊天室).
        overview: on a parent message read from the group's history: the thread that hangs on it.

    In a notebook a message as the last line of a cell is shown as a card. The card of a picture shows it small, if a
    session of this program can load it within two seconds. The notebook is then saved with this small picture in it.

    Example:
        >>> sent
        <Message ... txt from alice at ... UTC: 'Dong Ding, please 🍵'>
        >>> sent.thread.name
        'Oolong'
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
    env: str = ""
    chat: Literal["group", "user", "room"] = "group"
    overview: ThreadOverview | None = None

    @property
    def type(self) -> str:
        """The type: txt, img, audio, video, file, loc, cmd, custom, combine or unknown."""
        return self.body.type

    @property
    def text(self) -> str | None:
        """The text of the message, or `None` if it has none.

        Of a bundle it is the title, of a custom message the event, of a command the action, of a place the address.
        """
        return self.body.summary_text

    @property
    def ext(self) -> Mapping[str, Any]:
        """The application's own attributes (扩展字段)."""
        return self.body.ext

    @property
    def quote(self) -> Quote | None:
        """The message that this one replies to (引用), as its sender tells it, or `None`.

        Example:
            >>> reply = thread.send("Two bags, please", reply_to=sent)
            >>> reply.quote.message_id == sent.id
            True

        Source: docs/protocol.md#quotes-and-mentions.
        """
        return quote_of(self.body.ext)

    @property
    def mentions(self) -> tuple[str, ...]:
        """The user ids that the message mentions (@ 提及), each once; `imkit.ALL` stands for everybody.

        Example:
            >>> thread.send("Bob, which one?", mention="bob").mentions
            ('bob',)

        Source: docs/protocol.md#quotes-and-mentions.
        """
        return mentions_of(self.body.ext)

    def __repr__(self) -> str:
        text, quote = self.text, self.quote
        shown = f": '{for_terminal(text, 60)}'" if text is not None else ""
        edited = f", edited {self.edit_count}x" if self.edit_count else ""
        edited += f", replies to {for_terminal(quote.message_id, 32)}" if quote else ""
        return (
            f"<Message {for_terminal(self.id)} {self.type} from {for_terminal(self.sender, 64)} "
            f"at {self.time:%Y-%m-%d %H:%M:%S} UTC{edited}{shown}>"
        )

    def _repr_html_(self) -> str:
        return message_card(self, f"edited {self.edit_count}x" if self.edit_count else "")


_KINDS = {"img": "Image", "audio": "Audio", "video": "Video", "file": "File", "loc": "Place", "cmd": "Command"}
_KINDS |= {"custom": "Custom", "combine": "Bundle", "unknown": "Unknown"}
_LINES = 10  # of a bundle's preview, and of the parameters of a custom message

PictureLoader = Callable[[Message], Picture | None]


def _no_picture(message: Message) -> Picture | None:
    return None


_load_picture: PictureLoader = _no_picture


def load_pictures_with(loader: PictureLoader) -> None:
    """Let cards of messages show the pictures that a function finds; `imkit.session` gives one that asks a session.

    Args:
        loader: returns the small picture of a message, or `None`; it raises nothing, and takes a few seconds at most.
    """
    global _load_picture
    _load_picture = loader


def message_card(message: Message, state: str, *, struck: bool = False) -> str:
    """Return a message as a card, with the picture that it carries if an open session can load it.

    Args:
        message: the message.
        state: what happened to it, such as ``"received"``.
        struck: whether the text is struck through, because it was recalled. The picture is not loaded then.
    """
    thread, overview, body = message.thread, message.overview, message.body
    facts = known("in", thread.name or thread.thread_id) if thread else known(f"in {message.chat}", message.to)
    facts += [f"{message.time:%Y-%m-%d %H:%M:%S} UTC", *known("id", message.id)]
    facts += known("mentions", ", ".join(message.mentions[:20]))
    facts += known("ext:", ", ".join(map(str, message.ext)))
    facts += [f"{reaction.get('reaction')} {reaction.get('count', '')}" for reaction in message.reactions[:20]]
    facts += known("carries thread", overview.name) + counted(overview.message_count, "message") if overview else []
    return card(
        _KINDS.get(message.type, "Message"),
        message.sender,
        facts,
        state=state,
        quoted=quote_shown(message.quote) if message.quote else None,
        picture=None if struck else _load_picture(message),
        text=_card_text(body),
        struck=struck,
        code="" if struck else _code_that_opens(body),
    )


def quote_shown(quote: Quote) -> str:
    """Return a quote on one line, such as ``alice: Dong Ding, please 🍵``; it is not escaped yet.

    Example:
        >>> quote_shown(Quote("7", "bob", "img", ""))
        'bob: [img]'
    """
    return f"{quote.sender or '?'}: {quote.preview or f'[{quote.type}]'}"


def _card_text(body: Body) -> str:
    """Return the text that a card shows for a body."""
    match body:
        case Attachment():
            measure = []
            if isinstance(body, Image) and body.width and body.height:
                measure = [f"{body.width:g} × {body.height:g} pixels"]
            elif isinstance(body, Audio | Video):
                measure = _length(body.duration)
            return _joined(" · ", body.file_name, *measure, *size(body.file_size))
        case Location():
            return _joined("\n", body.address, body.building_name, f"{body.lat:.5f}, {body.lng:.5f}")
        case Custom():
            parameters = list(body.params.items())
            shown = [f"{key}: {value!s:.200}" for key, value in parameters[:_LINES]]
            return _joined("\n", body.event, *shown, *(["…"] if len(parameters) > _LINES else []))
        case Combine():
            preview = body.summary.split("\n")
            return _joined("\n", body.title, *preview[:_LINES], *(["…"] if len(preview) > _LINES else []))
        case Unknown():
            return _joined(" · ", "this version of imkit cannot read it", body.reason)
    return body.summary_text or ""


def _joined(separator: str, *parts: str | None) -> str:
    return separator.join(part for part in parts if part)


def _length(seconds: int | None) -> list[str]:
    """Return the length of a recording in words, or an empty list if it is not known."""
    if seconds is None or seconds < 60:
        return counted(seconds, "second")
    return [f"{seconds // 60} min {seconds % 60} s"]


def _code_that_opens(body: Body) -> str:
    """Return the line that saves the file of a received message, or opens its bundle."""
    match body:
        case Attachment(url=str()):
            return 'session.download(message, ".")'
        case Combine(url=str()):
            return "session.unpack(message)"
    return ""
