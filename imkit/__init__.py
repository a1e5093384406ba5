"""imkit: explore the chat threads (子区) of Easemob IM (环信) from JupyterLab.

Example:
    >>> import imkit
    >>> alice = imkit.login("alice")  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from imkit.client.app import App
from imkit.errors import (
    AlreadyExists,
    ArchiveError,
    ArchiveLocked,
    AuthError,
    Blocked,
    ConnectionLost,
    Forbidden,
    GroupDisabled,
    GroupNotFound,
    IMError,
    InvalidMessage,
    KickedOff,
    LimitReached,
    MessageNotFound,
    Moderated,
    Muted,
    NotAMember,
    NotFound,
    ProtocolError,
    RateLimited,
    RecallExpired,
    ServiceBusy,
    ServiceNotEnabled,
    SessionClosed,
    ThreadNotFound,
    TimedOut,
    TokenExpired,
    TooLarge,
    Unsupported,
)
from imkit.events import (
    Connected,
    DeviceChanged,
    Disconnected,
    Dropped,
    Event,
    GroupChanged,
    LoggedOut,
    MessageEdited,
    MessageRecalled,
    MessageReceived,
    ThreadChanged,
    TokenExpiring,
)
from imkit.history import summary as display
from imkit.messages import (
    Audio,
    Combine,
    Command,
    Custom,
    File,
    Image,
    Location,
    Message,
    Text,
    ThreadRef,
    Unknown,
    Video,
)
from imkit.session import Session, login
from imkit.threads import Group, Thread

if TYPE_CHECKING:
    from imkit import widgets
    from imkit.archive import Archive
    from imkit.sandbox.process import Sandbox
    from imkit.widgets import explore

__version__ = "0.1.0"

__all__ = [  # noqa: RUF022  # grouped for a reader
    # the front door
    "App",
    "Archive",
    "Group",
    "Sandbox",
    "Session",
    "Thread",
    "login",
    # forms
    "explore",
    "widgets",
    # messages
    "Audio",
    "Combine",
    "Command",
    "Custom",
    "File",
    "Image",
    "Location",
    "Message",
    "Text",
    "ThreadRef",
    "Unknown",
    "Video",
    # events
    "Connected",
    "DeviceChanged",
    "Disconnected",
    "Dropped",
    "Event",
    "GroupChanged",
    "LoggedOut",
    "MessageEdited",
    "MessageRecalled",
    "MessageReceived",
    "ThreadChanged",
    "TokenExpiring",
    # errors
    "AlreadyExists",
    "ArchiveError",
    "ArchiveLocked",
    "AuthError",
    "Blocked",
    "ConnectionLost",
    "Forbidden",
    "GroupDisabled",
    "GroupNotFound",
    "IMError",
    "InvalidMessage",
    "KickedOff",
    "LimitReached",
    "MessageNotFound",
    "Moderated",
    "Muted",
    "NotAMember",
    "NotFound",
    "ProtocolError",
    "RateLimited",
    "RecallExpired",
    "ServiceBusy",
    "ServiceNotEnabled",
    "SessionClosed",
    "ThreadNotFound",
    "TimedOut",
    "TokenExpired",
    "TooLarge",
    "Unsupported",
]


def __getattr__(name: str) -> Any:
    if name == "Sandbox":  # loaded when it is asked for
        from imkit.sandbox.process import Sandbox

        return Sandbox
    if name == "Archive":  # likewise: it brings pyarrow along
        from imkit.archive import Archive

        return Archive
    if name in ("explore", "widgets"):
        widgets = importlib.import_module("imkit.widgets")
        return widgets if name == "widgets" else widgets.explore
    raise AttributeError(f"module 'imkit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__


display.install()
