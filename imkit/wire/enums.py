"""The enumerations of the MSYNC schema: every number on the wire, with the schema's own names.

`imkit.wire.schema` builds its descriptors from these classes, and a test compares them with `tests/golden/msync.proto`.

Source: docs/protocol.md#socket-transport.
"""

from __future__ import annotations

from enum import IntEnum


class EncryptType(IntEnum):
    """How a payload is encrypted. imkit and the official SDK for the web do not encrypt."""

    ENCRYPT_NONE = 0
    ENCRYPT_AES_128_CBC = 1
    ENCRYPT_AES_256_CBC = 2


class ValueType(IntEnum):
    """The type of a `KeyValue`'s value."""

    BOOL = 1
    INT = 2
    UINT = 3
    LLINT = 4
    FLOAT = 5
    DOUBLE = 6
    STRING = 7
    JSON_STRING = 8


class StatusCode(IntEnum):
    """The result that the service reports in its answer to a frame."""

    OK = 0
    FAIL = 1
    UNAUTHORIZED = 2
    MISSING_PARAMETER = 3
    WRONG_PARAMETER = 4
    REDIRECT = 5
    TOKEN_EXPIRED = 6
    PERMISSION_DENIED = 7
    NO_ROUTE = 8
    UNKNOWN_COMMAND = 9
    PB_PARSER_ERROR = 10
    BIND_ANOTHER_DEVICE = 11
    IM_FORBIDDEN = 12
    TOO_MANY_DEVICES = 13
    PLATFORM_LIMIT = 14
    USER_MUTED = 15
    ENCRYPT_DISABLE = 16
    ENCRYPT_ENABLE = 17
    DECRYPT_FAILURE = 18
    PERMISSION_DENIED_EXTERNAL = 19
    RESOURCE_CHANGED = 20


class MSyncVersion(IntEnum):
    """The version of the `MSync` envelope."""

    MSYNC_V1 = 0
    MSYNC_V2 = 1


class FrameCommand(IntEnum):
    """The kind of a frame: the command of its `MSync` envelope."""

    SYNC = 0
    UNREAD = 1
    NOTICE = 2
    PROVISION = 3
    LOGOUT = 4


class OsType(IntEnum):
    """The operating system of a client. Clients for the web send `OS_OTHER`."""

    OS_IOS = 0
    OS_ANDROID = 1
    OS_LINUX = 2
    OS_OSX = 3
    OS_WIN = 4
    OS_CUSTOM = 5
    OS_OTHER = 16


class NetworkType(IntEnum):
    """The kind of network that a client uses."""

    NETWORK_NONE = 0
    NETWORK_WIFI = 1
    NETWORK_4G = 2
    NETWORK_3G = 3
    NETWORK_2G = 4
    NETWORK_WIRE = 5


class CompressType(IntEnum):
    """The compression methods that a client offers."""

    COMPRESS_NONE = 0
    COMPRESS_ZLIB = 1
    COMPRESS_LZ4 = 2


class CompressDirection(IntEnum):
    """The direction in which frames are compressed."""

    ONLY_UP = 0
    ONLY_DOWN = 1
    BI = 2


class NameSpace(IntEnum):
    """The kind of a Meta's payload."""

    STATISTIC = 0
    CHAT = 1
    MUC = 2
    ROSTER = 3
    CONFERENCE = 4
    NOTIFY = 5
    QUERY = 6


class RouteType(IntEnum):
    """The receivers of a message: all members, those online, or those listed in `directedUsers`."""

    ROUTE_ALL = 0
    ROUTE_ONLINE = 1
    ROUTE_DIRECT = 2


class BodyType(IntEnum):
    """The kind of a message body: a message to a user (CHAT), group or chat room, or an action such as RECALL."""

    NORMAL = 0
    CHAT = 1
    GROUPCHAT = 2
    CHATROOM = 3
    READ_ACK = 4
    DELIVER_ACK = 5
    RECALL = 6
    CHANNEL_ACK = 7
    EDIT = 8


class EditScope(IntEnum):
    """The parts of a message that an edit changes."""

    BODY = 1
    BODY_AND_EXT = 2


class ContentType(IntEnum):
    """The kind of a message's content."""

    TEXT = 0
    IMAGE = 1
    VIDEO = 2
    LOCATION = 3
    VOICE = 4
    FILE = 5
    COMMAND = 6
    CUSTOM = 7
    COMBINE = 8


class SubType(IntEnum):
    """The kind of a content within its type."""

    SUB_COMBINE = 0
    SUB_GIF = 1
    SUB_STREAM = 10


class StreamStatus(IntEnum):
    """The progress of a text that is sent in pieces.

    The five values of SDK 5. The schema of SDK 4.21.1 has only four and numbers them from 0, but its code compares the
    numbers with these five.

    Source: docs/protocol.md#streamed-texts.
    """

    STREAM_START = 0
    STREAM_START_COMPLETED = 1
    STREAM_IN_PROGRESS = 2
    STREAM_COMPLETED = 3
    STREAM_FULL = 4


class MucOperation(IntEnum):
    """The kind of a group event or thread event."""

    CREATE = 0
    DESTROY = 1
    JOIN = 2
    LEAVE = 3
    APPLY = 4
    APPLY_ACCEPT = 5
    APPLY_DECLINE = 6
    INVITE = 7
    INVITE_ACCEPT = 8
    INVITE_DECLINE = 9
    KICK = 10
    GET_BLACKLIST = 11
    BAN = 12
    ALLOW = 13
    UPDATE = 14
    BLOCK = 15
    UNBLOCK = 16
    PRESENCE = 17
    ABSENCE = 18
    DIRECT_JOINED = 19
    ASSIGN_OWNER = 20
    ADD_ADMIN = 21
    REMOVE_ADMIN = 22
    ADD_MUTE = 23
    REMOVE_MUTE = 24
    UPDATE_ANNOUNCEMENT = 25
    DELETE_ANNOUNCEMENT = 26
    UPLOAD_FILE = 27
    DELETE_FILE = 28
    ADD_USER_WHITE_LIST = 29
    REMOVE_USER_WHITE_LIST = 30
    BAN_GROUP = 31
    REMOVE_BAN_GROUP = 32
    THREAD_CREATE = 33
    THREAD_DESTROY = 34
    THREAD_JOIN = 35
    THREAD_LEAVE = 36
    THREAD_KICK = 37
    THREAD_UPDATE = 38
    THREAD_PRESENCE = 39
    THREAD_ABSENCE = 40
    DISABLE_GROUP = 41
    ABLE_GROUP = 42
    SET_METADATA = 43
    DELETE_METADATA = 44
    GROUP_MEMBER_METADATA_UPDATE = 45


class MucSettingType(IntEnum):
    """The rule for joining a group."""

    PRIVATE_OWNER_INVITE = 0
    PRIVATE_MEMBER_INVITE = 1
    PUBLIC_JOIN_APPROVAL = 2
    PUBLIC_JOIN_OPEN = 3
    PUBLIC_ANONYMOUS = 4


class MucStatusCode(IntEnum):
    """The result of a group operation."""

    OK = 0
    PERMISSION_DENIED = 1
    WRONG_PARAMETER = 2
    MUC_NOT_EXIST = 3
    USER_NOT_EXIST = 4
    UNKNOWN = 5


class MucEventType(IntEnum):
    """The kind of object that a group event is about."""

    EVENT_NONE = 0
    CIRCLE_CHANNEL = 1


class RosterOperation(IntEnum):
    """The kind of a contact event."""

    GET_ROSTER = 0
    GET_BLACKLIST = 1
    ADD = 2
    REMOVE = 3
    ACCEPT = 4
    DECLINE = 5
    BAN = 6
    ALLOW = 7
    REMOTE_ACCEPT = 8
    REMOTE_DECLINE = 9


class RosterStatusCode(IntEnum):
    """The result of a contact operation."""

    OK = 0
    USER_NOT_EXIST = 1
    USER_ALREADY_FRIEND = 2
    USER_ALREADY_BLACKLIST = 3


class StatisticsOperation(IntEnum):
    """The kind of a statistics frame. The service sends 1 to 4 to log a device out."""

    INFORMATION = 0
    USER_REMOVED = 1
    USER_LOGIN_ANOTHER_DEVICE = 2
    USER_KICKED_BY_CHANGE_PASSWORD = 3
    USER_KICKED_BY_OTHER_DEVICE = 4


# The path of each enumeration in the schema, below its package.
BY_PATH: dict[str, type[IntEnum]] = {
    "EncryptType": EncryptType,
    "KeyValue.ValueType": ValueType,
    "Status.ErrorCode": StatusCode,
    "MSync.Version": MSyncVersion,
    "MSync.Command": FrameCommand,
    "Provision.OsType": OsType,
    "Provision.NetworkType": NetworkType,
    "Provision.CompressType": CompressType,
    "Provision.CompressDirection": CompressDirection,
    "Meta.NameSpace": NameSpace,
    "Meta.RouteType": RouteType,
    "MessageBody.Type": BodyType,
    "MessageBody.EditScope": EditScope,
    "MessageBody.Content.Type": ContentType,
    "MessageBody.Content.SubType": SubType,
    "MessageBody.Stream.StreamStatus": StreamStatus,
    "MUCBody.Operation": MucOperation,
    "MUCBody.Setting.Type": MucSettingType,
    "MUCBody.Status.ErrorCode": MucStatusCode,
    "MUCBody.EventInfo.EventType": MucEventType,
    "RosterBody.Operation": RosterOperation,
    "RosterBody.Status.ErrorCode": RosterStatusCode,
    "StatisticsBody.Operation": StatisticsOperation,
    "StatisticsBody.OsType": OsType,
    "StatisticsBody.NetworkType": NetworkType,
}
