"""imkit: explore the chat threads (子区) of Easemob IM (环信) from JupyterLab.

Example:
    >>> import imkit
    >>> alice = imkit.login("alice")  # no app configured: the local sandbox
    >>> alice
    <Session alice at imkit#sandbox, connected>
    >>> alice.close()
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import TYPE_CHECKING, Any

from imkit.insight.registration import register as _register_accessor  # small, without pandas

if TYPE_CHECKING:  # for checkers and editors; at run time each name is loaded when it is first asked for
    from imkit import widgets
    from imkit.archive import Archive
    from imkit.client.app import App
    from imkit.errors import (
        AlreadyExists,
        ArchiveError,
        ArchiveLocked,
        AuthError,
        Blocked,
        ConnectionLost,
        FileError,
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
        ConversationChanged,
        DeviceChanged,
        Disconnected,
        Dropped,
        Event,
        GroupChanged,
        HistoryForgotten,
        LoggedOut,
        MessageEdited,
        MessageRead,
        MessageRecalled,
        MessageReceived,
        PinChanged,
        ReactionChanged,
        ThreadChanged,
        TokenExpiring,
        UserChanged,
    )
    from imkit.log_in import login
    from imkit.messages import (
        Audio,
        Combine,
        Command,
        Custom,
        File,
        Image,
        Location,
        Message,
        Reaction,
        Reader,
        Streamed,
        Text,
        ThreadRef,
        Unknown,
        Video,
    )
    from imkit.quotes import ALL, Quote
    from imkit.sandbox.process import Sandbox
    from imkit.service_check import doctor
    from imkit.session import Session
    from imkit.threads import ConversationInfo, Group, Thread
    from imkit.users import User
    from imkit.widgets import explore

__version__ = "0.1.0"

__all__ = [  # noqa: RUF022  # grouped for a reader
    # logging in, and what a login gives
    "App",
    "Archive",
    "ConversationInfo",
    "Group",
    "Sandbox",
    "Session",
    "Thread",
    "User",
    "doctor",
    "login",
    # forms
    "explore",
    "widgets",
    # messages
    "ALL",
    "Audio",
    "Combine",
    "Command",
    "Custom",
    "File",
    "Image",
    "Location",
    "Message",
    "Quote",
    "Reaction",
    "Reader",
    "Text",
    "Streamed",
    "ThreadRef",
    "Unknown",
    "Video",
    # events
    "Connected",
    "ConversationChanged",
    "DeviceChanged",
    "Disconnected",
    "Dropped",
    "Event",
    "GroupChanged",
    "HistoryForgotten",
    "LoggedOut",
    "MessageEdited",
    "MessageRecalled",
    "MessageRead",
    "MessageReceived",
    "PinChanged",
    "ReactionChanged",
    "ThreadChanged",
    "TokenExpiring",
    "UserChanged",
    # errors
    "AlreadyExists",
    "ArchiveError",
    "ArchiveLocked",
    "AuthError",
    "Blocked",
    "ConnectionLost",
    "FileError",
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


_MODULES = {
    "App": "imkit.client.app",
    "Archive": "imkit.archive",
    "ConversationInfo": "imkit.threads",
    "Group": "imkit.threads",
    "Sandbox": "imkit.sandbox.process",
    "Session": "imkit.session",
    "Thread": "imkit.threads",
    "doctor": "imkit.service_check",
    "login": "imkit.log_in",
    "explore": "imkit.widgets",
}
# Small modules, which hold all other names.
_PLAIN_DATA = ("imkit.messages", "imkit.quotes", "imkit.users", "imkit.events", "imkit.errors")


def __getattr__(name: str) -> Any:
    if name in __all__ and name != "widgets":
        value = _load(name)
    elif not name.startswith("_") and importlib.util.find_spec(f"imkit.{name}") is not None:
        value = importlib.import_module(f"imkit.{name}")
    else:
        from imkit.misuse import unknown_public_name

        raise unknown_public_name(name, __all__)
    globals()[name] = value  # the next time, nothing needs to be looked for
    return value


def _load(name: str) -> Any:
    places = (_MODULES[name],) if name in _MODULES else _PLAIN_DATA
    for place in places:
        module = importlib.import_module(place)
        if hasattr(module, name):
            return getattr(module, name)
    raise AttributeError(f"module 'imkit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__


_register_accessor()  # frame.im, for a history frame from wherever

if "IPython" in sys.modules:  # a notebook: history frames get their line above the table
    from imkit.history.summary import install

    install()
