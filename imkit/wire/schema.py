"""The MSYNC wire schema as protobuf classes, built at import in a private descriptor pool.

A notebook's environment often holds other packages' generated protobuf code, made for other protobuf versions. A
private pool cannot clash with that code, and it needs no build step.

Source: docs/protocol.md#socket-transport. A test compares the table below with `tests/golden/msync.proto`, which has
the field numbers and types of the official JavaScript SDK 4.21.1, and with the list of what SDK 5.1.2 adds.

Example:
    >>> from imkit.wire import schema
    >>> jid = schema.JID(appKey="org#app", name="alice", domain="easemob.com")
    >>> schema.JID.FromString(jid.SerializeToString()).name
    'alice'
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import IntEnum
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from imkit.wire.enums import BY_PATH

PACKAGE = "easemob.pb"

# Message path -> its fields, each as "number type name". A type is a scalar or a path below PACKAGE. Before the type,
# "*" marks a repeated field, "**" a packed one, and "|" a member of the message's only oneof.
_MESSAGES: dict[str, str] = {
    "JID": "1 string appKey, 2 string name, 3 string domain, 4 string clientResource",
    "KeyValue": (
        "1 string key, 2 KeyValue.ValueType type, 3 |int64 varintValue, 4 |float floatValue, "
        "5 |double doubleValue, 6 |string stringValue"
    ),
    "RedirectInfo": "1 string host, 2 uint32 port",
    "Status": "1 Status.ErrorCode errorCode, 2 string reason, 3 *RedirectInfo redirectInfo",
    "MSync": (
        "1 MSync.Version version, 2 JID guid, 3 string auth, 4 uint32 compressAlgorimth, 5 uint32 crypto, "
        "6 string userAgent, 7 uint64 pov, 8 MSync.Command command, 9 bytes payload, 10 uint32 deviceId, "
        "11 *EncryptType encryptType, 12 string encryptKey, 20 uint64 traceId"
    ),
    "Provision": (
        "1 Provision.OsType osType, 2 string version, 3 Provision.NetworkType networkType, 4 string appSign, "
        "5 *Provision.CompressType compressType, 6 *EncryptType encryptType, 7 string encryptKey, 8 Status status, "
        "9 string deviceUuid, 10 bool isManualLogin, 11 string password, 12 string deviceName, "
        "13 string resource, 14 string auth, 16 string serviceId, 17 string actionVersion, 18 string authToken, "
        "19 uint32 osCustomValue, 20 string sessionId, 21 string reason, "
        "22 **Provision.CompressType protocolCompressType, 23 Provision.CompressDirection protocolCompressDirection"
    ),
    "Logout": "1 string sessionId, 2 string reason, 3 Status status",
    "Meta": (
        "1 uint64 id, 2 JID from, 3 JID to, 4 uint64 timestamp, 5 Meta.NameSpace ns, 6 bytes payload, "
        "7 Meta.RouteType routetype, 8 *KeyValue ext, 9 bytes meta, 10 *string directedUsers, 13 string env"
    ),
    # A Meta of the namespace CHAT. Its payload is parsed together with it, in one step instead of two.
    "ChatMeta": (
        "1 uint64 id, 2 JID from, 3 JID to, 4 uint64 timestamp, 5 Meta.NameSpace ns, 6 MessageBody payload, "
        "7 Meta.RouteType routetype, 8 *KeyValue ext, 9 bytes meta, 10 *string directedUsers, 13 string env"
    ),
    "CommSyncUL": "1 Meta meta, 2 uint64 key, 3 JID queue, 4 bool isRoam, 5 uint64 lastFullRoamKey",
    "CommSyncDL": (
        "1 Status status, 2 uint64 metaId, 3 uint64 serverId, 4 *Meta metas, 5 uint64 nextKey, 6 JID queue, "
        "7 bool isLast, 8 uint64 timestamp, 9 bool isRoam"
    ),
    # A CommSyncDL whose Metas stay bytes, so that one malformed Meta does not make the whole frame unreadable.
    "LooseSyncDL": (
        "1 Status status, 2 uint64 metaId, 3 uint64 serverId, 4 *bytes metas, 5 uint64 nextKey, 6 JID queue, "
        "7 bool isLast, 8 uint64 timestamp, 9 bool isRoam"
    ),
    "CommNotice": "1 JID queue",
    "MetaQueue": "1 JID queue, 2 uint32 n",
    "CommUnreadUL": "",
    "CommUnreadDL": "1 Status status, 2 *MetaQueue unread, 3 uint64 timestamp",
    "MessageBody": (
        "1 MessageBody.Type type, 2 JID from, 3 JID to, 4 *MessageBody.Content contents, 5 *KeyValue ext, "
        "6 uint64 ackMessageId, 7 MessageBody.MessageConfig msgConfig, 8 string ackContent, 9 string meta, "
        "11 uint64 editMessageId, 12 MessageBody.EditScope editScope, 13 MessageBody.Stream stream, "
        "14 int32 userInfoUpdateTime, 15 int32 namecardUpdateTime, 16 bool sendToPeer, "
        "17 **uint64 ackMessageIds, 18 bool clearAllUnreadMessageCount"
    ),
    "MessageBody.Content": (
        "1 MessageBody.Content.Type type, 2 string text, 3 double latitude, 4 double longitude, 5 string address, "
        "6 string displayName, 7 string remotePath, 8 string secretKey, 9 int32 fileLength, 10 string action, "
        "11 *KeyValue params, 12 int32 duration, 13 MessageBody.Content.Size size, 14 string thumbnailRemotePath, "
        "15 string thumbnailSecretKey, 16 string thumbnailDisplayName, 17 int32 thumbnailFileLength, "
        "18 MessageBody.Content.Size thumbnailSize, 19 string customEvent, 20 *KeyValue customExts, "
        "21 string buildingName, 22 MessageBody.Content.SubType subType, 23 string title, 24 string summary, "
        "25 int32 combineLevel, 26 int32 imageType"
    ),
    "MessageBody.Content.Size": "1 double width, 2 double height",
    "MessageBody.MessageConfig": "1 bool allowGroupAck",
    "MessageBody.Stream": (
        "1 string streamType, 2 uint64 streamSeq, 3 MessageBody.Stream.StreamStatus streamStatus, "
        "4 uint32 streamError, 5 int32 streamFinishReason"
    ),
    "MUCBody": (
        "1 JID mucId, 2 MUCBody.Operation operation, 3 JID from, 4 *JID to, 5 MUCBody.Setting setting, "
        "6 string reason, 7 bool isChatroom, 8 MUCBody.Status status, 9 bool isThread, 10 JID mucParentId, "
        "11 string mucName, 12 MUCBody.EventInfo eventInfo, 13 int32 mucMemberCount, 14 string ext, "
        "15 bool leaveOtherRooms, 16 *string members"
    ),
    "MUCBody.Setting": ("1 string name, 2 string desc, 3 MUCBody.Setting.Type type, 4 int32 maxUsers, 5 string owner"),
    "MUCBody.Status": "1 MUCBody.Status.ErrorCode errorCode, 2 string description, 3 string chatroomInfo",
    "MUCBody.EventInfo": "1 MUCBody.EventInfo.EventType eventType, 2 string ext",
    "RosterBody": (
        "1 RosterBody.Operation operation, 2 RosterBody.Status status, 3 JID from, 4 *JID to, 5 string reason, "
        "6 string rosterVer, 7 bool biDirection"
    ),
    "RosterBody.Status": "1 RosterBody.Status.ErrorCode errorCode, 2 string description",
    "StatisticsBody": (
        "1 StatisticsBody.Operation operation, 2 StatisticsBody.OsType os, 3 string version, "
        "4 StatisticsBody.NetworkType network, 5 uint32 imTime, 6 uint32 chatTime, 7 string location, "
        "10 string reason"
    ),
}

_Field = descriptor_pb2.FieldDescriptorProto
_Features = descriptor_pb2.FeatureSet
_SCALARS = {
    "string": _Field.TYPE_STRING,
    "bytes": _Field.TYPE_BYTES,
    "bool": _Field.TYPE_BOOL,
    "int32": _Field.TYPE_INT32,
    "int64": _Field.TYPE_INT64,
    "uint32": _Field.TYPE_UINT32,
    "uint64": _Field.TYPE_UINT64,
    "float": _Field.TYPE_FLOAT,
    "double": _Field.TYPE_DOUBLE,
}
_FIELD = re.compile(r"(\d+) (\*{0,2})(\|?)([\w.]+) (\w+)")


def make_pool(
    name: str, package: str, messages: Mapping[str, str], enums: Mapping[str, type[IntEnum]]
) -> descriptor_pool.DescriptorPool:
    """Return a private pool with a schema; the tables have the form of `_MESSAGES` and `enums.BY_PATH`.

    Args:
        name: names the schema, as a file.
        package: the package of its messages.
        messages: the fields of each message, by its path.
        enums: the enumerations, by their paths.
    """
    # The same rules as proto2, except that a string field with invalid UTF-8 raises DecodeError.
    file = descriptor_pb2.FileDescriptorProto(name=name, package=package)
    file.syntax, file.edition = "editions", descriptor_pb2.EDITION_2023
    file.options.features.field_presence = _Features.EXPLICIT
    file.options.features.enum_type = _Features.CLOSED
    file.options.features.repeated_field_encoding = _Features.EXPANDED
    file.options.features.utf8_validation = _Features.VERIFY
    made: dict[str, Any] = {}
    for path, fields in messages.items():  # an outer message comes before its inner ones
        scope, _, name = path.rpartition(".")
        message = made[scope].nested_type.add(name=name) if scope else file.message_type.add(name=name)
        made[path] = message
        for number, stars, oneof, kind, field_name in _FIELD.findall(fields):
            field = message.field.add(name=field_name, number=int(number))
            field.label = _Field.LABEL_REPEATED if stars else _Field.LABEL_OPTIONAL
            if stars == "**":
                field.options.features.repeated_field_encoding = _Features.PACKED
            if oneof:
                if not message.oneof_decl:
                    message.oneof_decl.add(name="value")
                field.oneof_index = 0
            if kind in _SCALARS:
                field.type = _SCALARS[kind]
            else:
                field.type = _Field.TYPE_ENUM if kind in enums else _Field.TYPE_MESSAGE
                field.type_name = f".{package}.{kind}"
    for path, members in enums.items():
        scope, _, name = path.rpartition(".")
        enum = (made[scope] if scope else file).enum_type.add(name=name)
        for member in members:
            enum.value.add(name=member.name, number=member.value)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return pool


_pool = make_pool("imkit/msync.proto", PACKAGE, _MESSAGES, BY_PATH)


def message_class(path: str) -> Any:
    """Return the protobuf class of a message, by its path below the package.

    Args:
        path: such as ``"Meta"`` or ``"MessageBody.Content"``.

    Returns:
        The class, typed `Any`, because it is made at run time and a type checker cannot see its fields.

    Raises:
        KeyError: the schema has no message of this name.
    """
    return message_factory.GetMessageClass(_pool.FindMessageTypeByName(f"{PACKAGE}.{path}"))


JID = message_class("JID")
KeyValue = message_class("KeyValue")
Status = message_class("Status")
MSync = message_class("MSync")
Provision = message_class("Provision")
Logout = message_class("Logout")
Meta = message_class("Meta")
ChatMeta = message_class("ChatMeta")
CommSyncUL = message_class("CommSyncUL")
CommSyncDL = message_class("CommSyncDL")
LooseSyncDL = message_class("LooseSyncDL")
CommNotice = message_class("CommNotice")
MetaQueue = message_class("MetaQueue")
CommUnreadDL = message_class("CommUnreadDL")
MessageBody = message_class("MessageBody")
MessageConfig = message_class("MessageBody.MessageConfig")
Content = message_class("MessageBody.Content")
Size = message_class("MessageBody.Content.Size")
MUCBody = message_class("MUCBody")
MUCStatus = message_class("MUCBody.Status")
RosterBody = message_class("RosterBody")
StatisticsBody = message_class("StatisticsBody")
