"""The protobuf messages of SDK 5's second socket. They belong to no MSYNC frame, so they have a schema of their own.

Source: docs/protocol.md#sdk-5-second-socket.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from google.protobuf import message_factory

from imkit.wire.schema import make_pool

_PACKAGE = "easemob.sync"


class MessageType(IntEnum):
    """What a message is: its field 1."""

    PING = 1
    PONG = 2
    ROSTER_REQUEST = 3
    ROSTER = 4
    ERROR = 5
    SESSIONS_REQUEST = 10
    SESSIONS = 11
    GROUPS_REQUEST = 12
    GROUPS = 13


class SyncError(IntEnum):
    """Why a request is refused."""

    INVALID = 1001
    TOKEN_EXPIRED = 1002
    BUSY = 1003
    UNSUPPORTED = 1503


# In the form of `imkit.wire.schema`.
_MESSAGES = {
    "Header": "1 string resource, 2 int64 timestamp, 3 string request_id, 4 int32 protocol_version",
    # What the three requests have in common.
    "Request": "1 int32 type, 2 Header header, 3 string org, 4 string app, 5 string username",
    "SessionsRequest": "1 int32 type, 7 bool need_empty_session, 8 bool need_session_mark",
    "JID": "1 string app_key, 2 string name, 3 string domain, 4 string client_resource",
    "LastMessage": "1 uint64 id, 2 JID from, 4 uint64 timestamp, 6 bytes payload",
    "Session": (
        "1 string session_id, 2 int32 session_type, 3 LastMessage last_message, 6 int64 updated_at, "
        "7 int64 pinned_time, 8 uint32 unread_count, 9 *string marks, 10 int64 read_receipt, 11 int32 remind_type, "
        "12 string group_name, 13 string group_avatar, 14 string metadata"
    ),
    "Sessions": (
        "1 int32 type, 2 Header header, 3 *Session sessions, 4 bool is_last_batch, 5 int64 last_sync_finished_ts"
    ),
    "Group": (
        "1 string group_id, 2 string group_name, 3 string group_owner, 4 int64 members_count, 5 bool mute_all, "
        "6 bool disabled, 7 string description, 8 string group_avatar, 9 uint32 role, 10 int64 mute_expiration, "
        "11 int32 remind_type, 12 uint64 create_at, 13 uint64 update_at, 14 int64 joined_timestamp"
    ),
    "Groups": (
        "1 int32 type, 2 Header header, 3 *Group groups, 4 bool is_last_batch, 5 int64 last_sync_finished_ts, "
        "6 string cursor"
    ),
    "Roster": "1 int32 type, 2 Header header, 4 uint64 cursor, 5 string version, 6 int32 response_type",
    "Error": "1 int32 type, 2 Header header, 3 uint32 code, 4 string message",
    # Contacts have an error of another form.
    "RosterError": "1 int32 type, 2 string code, 3 string message, 4 Header header",
    "Pong": "1 int32 type, 2 int32 status",
}
_pool = make_pool("imkit/sync.proto", _PACKAGE, _MESSAGES, {})


def _message_class(name: str) -> Any:
    return message_factory.GetMessageClass(_pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))


Request = _message_class("Request")
SessionsRequest = _message_class("SessionsRequest")
Session = _message_class("Session")
LastMessage = _message_class("LastMessage")
Sessions = _message_class("Sessions")
Group = _message_class("Group")
Groups = _message_class("Groups")
Roster = _message_class("Roster")
Error = _message_class("Error")
RosterError = _message_class("RosterError")
Pong = _message_class("Pong")
