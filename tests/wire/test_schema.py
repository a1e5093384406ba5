"""The schema has the same messages, fields and enumerations as `tests/golden/msync.proto`."""

from __future__ import annotations

import re
from pathlib import Path

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from imkit.wire import schema

PROTO = Path(__file__).parent.parent / "golden" / "msync.proto"
NOT_IN_PROTO = {"LooseSyncDL", "ChatMeta"}  # imkit's variants of CommSyncDL and Meta

# What SDK 5.1.2 adds to the schema of 4.21.1, as {number: (name, type, is repeated, is packed)}.
NEW_FIELDS = {
    "Meta": {13: ("env", "string", False, False)},
    "MessageBody": {
        14: ("userInfoUpdateTime", "int32", False, False),
        15: ("namecardUpdateTime", "int32", False, False),
        16: ("sendToPeer", "bool", False, False),
        17: ("ackMessageIds", "uint64", True, True),
        18: ("clearAllUnreadMessageCount", "bool", False, False),
    },
    "MessageBody.Content": {26: ("imageType", "int32", False, False)},
}
# 4.21.1 numbers four values from 0, and compares what arrives with these five.
NEW_ENUMS = {
    "MessageBody.Stream.StreamStatus": {
        "STREAM_START": 0,
        "STREAM_START_COMPLETED": 1,
        "STREAM_IN_PROGRESS": 2,
        "STREAM_COMPLETED": 3,
        "STREAM_FULL": 4,
    }
}


def parse(text: str) -> tuple[dict[str, dict[int, tuple[str, str, bool, bool]]], dict[str, dict[str, int]]]:
    """Return the messages and enums of a proto file.

    Returns:
        Each message path with its fields as {number: (name, type, is repeated, is packed)}; each enum path with its
        values as {name: number}.
    """
    messages: dict[str, dict[int, tuple[str, str, bool, bool]]] = {}
    enums: dict[str, dict[str, int]] = {}
    scope: list[tuple[str, str]] = []
    text = re.sub(r"//[^\n]*", "", text).split("package easemob.pb;")[1]
    for token in re.findall(r"(?:message|enum|oneof) \w+ \{|\}|[^;{}]+;", text):
        token = " ".join(token.split())
        path = ".".join(name for kind, name in scope if kind != "oneof")
        if token == "}":
            scope.pop()
        elif opened := re.fullmatch(r"(message|enum|oneof) (\w+) \{", token):
            scope.append((opened[1], opened[2]))
            path = ".".join(name for kind, name in scope if kind != "oneof")
            if opened[1] == "message":
                messages[path] = {}
            elif opened[1] == "enum":
                enums[path] = {}
        elif scope[-1][0] == "enum":
            name, number = token.rstrip(";").split(" = ")
            enums[path][name] = int(number)
        else:
            field = re.fullmatch(r"(optional |repeated )?([\w.]+) (\w+) = (\d+)( \[.*\])?;", token)
            assert field, token
            packed = "packed = true" in (field[5] or "")
            messages[path][int(field[4])] = (field[3], field[2], field[1] == "repeated ", packed)
    return messages, enums


def kind_of(field: FieldDescriptor) -> str:
    if field.message_type is not None:
        return str(field.message_type.name)
    if field.enum_type is not None:
        return str(field.enum_type.name)
    kinds = {1: "double", 2: "float", 3: "int64", 4: "uint64", 5: "int32", 8: "bool", 9: "string", 12: "bytes"}
    return {**kinds, 13: "uint32"}[field.type]


def walk(descriptor: Descriptor, path: str, messages: dict, enums: dict) -> None:
    messages[path] = {
        field.number: (field.name, kind_of(field), field.is_repeated, field.is_packed) for field in descriptor.fields
    }
    for enum in descriptor.enum_types:
        enums[f"{path}.{enum.name}"] = {value.name: value.number for value in enum.values}
    for nested in descriptor.nested_types:
        walk(nested, f"{path}.{nested.name}", messages, enums)


def test_every_field_and_value_is_as_in_the_proto_file() -> None:
    wanted_messages, wanted_enums = parse(PROTO.read_text())
    wanted_enums |= NEW_ENUMS
    for name, fields in NEW_FIELDS.items():
        assert not wanted_messages[name].keys() & fields.keys()
        wanted_messages[name] |= fields
    file = schema.JID.DESCRIPTOR.file
    messages: dict = {}
    enums: dict = {
        name: {value.name: value.number for value in enum.values} for name, enum in file.enum_types_by_name.items()
    }
    for name, descriptor in file.message_types_by_name.items():
        if name not in NOT_IN_PROTO:
            walk(descriptor, name, messages, enums)
    assert enums == wanted_enums
    assert messages == wanted_messages


def test_the_descriptor_pool_is_private() -> None:
    from google.protobuf import descriptor_pool

    assert schema.JID.DESCRIPTOR.file.pool is not descriptor_pool.Default()
