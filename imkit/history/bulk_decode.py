"""The plain messages among thousands of Metas → Arrow columns, without a Python object for each message.

`batch_protobuf` finds the fields, and texts are copied as they are. Of a field that repeats from message to message
(sender, conversation, thread mark, ext) each distinct value is decoded once, by the ordinary codec. A message that is
not plain in every respect must be read by the ordinary codec as a whole. So both ways always agree, as
`tests/history/test_bulk_decode.py` checks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from imkit.history.batch_protobuf import BoolArray, Fields, IntArray, Layout, MessageBuffer
from imkit.history.bulk_ext import plain_ext_texts
from imkit.times import LAST_MILLISECOND
from imkit.wire import schema
from imkit.wire.downlink import CHATS, MARKLESS_BYTES, UNREADABLE, Marks, read_marks
from imkit.wire.enums import ContentType, NameSpace, SubType
from imkit.wire.keyvalues import decode_ext, json_text
from imkit.wire.untrusted_json import open_url

Columns = dict[str, pa.Array]
T = TypeVar("T")

# A message with any other field is not plain.
_META = Layout(
    {
        "id": (1, "number"),
        "from": (2, "bytes"),
        "to": (3, "bytes"),
        "timestamp": (4, "number"),
        "ns": (5, "number"),
        "payload": (6, "bytes"),
        "routetype": (7, "number"),
        "meta": (9, "bytes"),
    }
)
_BODY = Layout(
    {
        "type": (1, "number"),
        "from": (2, "bytes"),
        "to": (3, "bytes"),
        "contents": (4, "bytes"),
        "ext": (5, "span"),
        "ackMessageId": (6, "number"),
        "msgConfig": (7, "bytes"),
        "meta": (9, "bytes"),
        "editMessageId": (11, "number"),
        "editScope": (12, "number"),
        "userInfoUpdateTime": (14, "number"),
        "namecardUpdateTime": (15, "number"),
        "sendToPeer": (16, "number"),
        "clearAllUnreadMessageCount": (18, "number"),
    }
)
_CONTENT = Layout(
    {
        "type": (1, "number"),
        "text": (2, "bytes"),
        "latitude": (3, "double"),
        "longitude": (4, "double"),
        "address": (5, "bytes"),
        "displayName": (6, "bytes"),
        "remotePath": (7, "bytes"),
        "secretKey": (8, "bytes"),
        "fileLength": (9, "number"),
        "action": (10, "bytes"),
        "duration": (12, "number"),
        "size": (13, "bytes"),
        "thumbnailRemotePath": (14, "bytes"),
        "thumbnailSecretKey": (15, "bytes"),
        "thumbnailDisplayName": (16, "bytes"),
        "thumbnailFileLength": (17, "number"),
        "thumbnailSize": (18, "bytes"),
        "customEvent": (19, "bytes"),
        "customExts": (20, "span"),
        "buildingName": (21, "bytes"),
        "subType": (22, "number"),
        "imageType": (26, "number"),
    }
)
_CONFIG = Layout({"allowGroupAck": (1, "number")})
_SIZE = Layout({"width": (1, "double"), "height": (2, "double")})

# Texts that make no column. They are decoded all the same: a message in which one is not UTF-8 is not plain.
_CHECKED_TEXTS = ("secretKey", "thumbnailRemotePath", "thumbnailSecretKey", "thumbnailDisplayName")
_MIN_BULK_EXTS = 128  # fewer distinct attributes are read sooner one by one
_SUBTYPES = (SubType.SUB_COMBINE, SubType.SUB_GIF, SubType.SUB_STREAM)
_TYPES = ("txt", "img", "video", "loc", "audio", "file", "cmd", "custom")  # by Content.type
_ATTACHMENTS = (ContentType.IMAGE, ContentType.VIDEO, ContentType.VOICE, ContentType.FILE)
_GROUP_CHATS = [kind for kind, chat in CHATS.items() if chat == "group"]


def read_plain(metas: Sequence[bytes]) -> tuple[Columns, BoolArray]:
    """Return the plain messages among some Metas as columns, and which of the Metas they are.

    Args:
        metas: less than 2 GiB together.

    Returns:
        The columns by their names in `imkit.history.columns.SCHEMA`, without those that are empty; and for each Meta
        whether it is a row of them. The other Metas may be messages or not.

    Example:
        >>> columns, plain = read_plain([b"", bytes.fromhex("0807 2801 3206 0802 2202 0800")])
        >>> columns["message_id"].to_pylist(), plain.tolist()
        (['7'], [False, True])
    """
    return _PlainReader(metas).columns()


class _PlainReader:
    """Reads some Metas. Each step takes out of `_plain` the messages that are not plain, and goes on with the others.

    A step returns one value for each Meta, whatever the Meta is; `columns` filters the rows at the end.
    """

    def __init__(self, metas: Sequence[bytes]) -> None:
        self._data = data = MessageBuffer(metas)
        self._meta = meta = data.read(_META, data.begins, data.ends)
        self._plain = meta.plain & (meta.number("ns") == NameSpace.CHAT)
        self._plain &= meta.ends("meta") - meta.begins("meta") <= MARKLESS_BYTES
        self._body = body = self._read_nested(_BODY, meta, "payload")
        self._plain &= body.has("type") & np.isin(body.number("type"), list(CHATS))
        self._content = content = self._read_nested(_CONTENT, body, "contents")
        kind, subtype = content.number("type"), np.where(content.has("subType"), content.number("subType"), -1)
        self._plain &= content.has("type") & (kind >= 0) & (kind < len(_TYPES)) & np.isin(subtype, (-1, *_SUBTYPES))
        self._plain &= (kind != ContentType.TEXT) | (subtype != SubType.SUB_COMBINE)
        self._size = self._read_nested(_SIZE, content, "size")
        self._read_nested(_SIZE, content, "thumbnailSize")
        self._read_nested(_CONFIG, body, "msgConfig")
        for fields in (meta, body, content, self._size):
            fields.clear_values(~self._plain)
        self._kind = np.where(self._plain, kind, ContentType.TEXT)
        self._animated = (self._kind == ContentType.IMAGE) & (subtype == SubType.SUB_GIF)

    def _read_nested(self, layout: Layout, outer: Fields, name: str) -> Fields:
        begins = outer.begins(name)
        fields = self._data.read(layout, begins, np.where(self._plain, outer.ends(name), begins))
        self._plain &= fields.plain
        return fields

    def _texts(self, name: str) -> pa.Array:
        """Return the values of a text; empty where a message has none."""
        raw = self._data.slices(self._content.begins(name), self._content.ends(name))
        try:
            return raw.cast(pa.string())
        except pa.ArrowInvalid:  # one of them is not UTF-8
            return _spread(*self._decode_distinct(self._content, name, bytes.decode))

    def _decode_distinct(self, fields: Fields, name: str, decode: Callable[[bytes], T]) -> tuple[list[T], IntArray]:
        """Decode each distinct value of a field once; a message whose value cannot be decoded is not plain.

        Returns:
            The decoded values, and for each message the index of its value. With the values ``x``, ``y``, ``x`` in
            three messages: ``[decode(x), decode(y)], [0, 1, 0]``.
        """
        raw_values, codes = self._distinct(fields, name)
        values = []
        for code, raw in enumerate(raw_values):
            try:
                values.append(decode(raw))
            except UNREADABLE:
                self._plain &= codes != code
                values.append(decode(b""))
        return values, codes

    def _distinct(self, fields: Fields, name: str) -> tuple[list[bytes], IntArray]:
        encoded = self._data.slices(fields.begins(name), fields.ends(name)).dictionary_encode()
        return encoded.dictionary.to_pylist(), encoded.indices.to_numpy()

    def _ext_texts(self, fields: Fields, name: str, message_class: Any) -> pa.Array:
        """Return the attributes in a field of `message_class` as JSON; null where a message has none."""
        values, codes = self._distinct(fields, name)
        if len(values) < _MIN_BULK_EXTS:
            texts, plain = pa.nulls(len(values), pa.string()), np.zeros(len(values), np.bool_)
        else:
            texts, plain = plain_ext_texts(values, message_class.DESCRIPTOR.fields_by_name[name].number)
        if not plain.all():
            json_texts = texts.to_pylist()
            for code in np.flatnonzero(~plain).tolist():
                try:
                    ext = decode_ext(getattr(message_class.FromString(values[code]), name))
                    json_texts[code] = json_text(ext) if ext else None
                except UNREADABLE:
                    self._plain &= codes != code
            texts = pa.array(json_texts, pa.string())
        return texts.take(pa.array(codes))

    # ------------------------------------------------------------------ columns

    def columns(self) -> tuple[Columns, BoolArray]:
        """Return the columns of the plain messages, and which Metas those are."""
        columns = {
            "message_id": pa.array(self._meta.number("id")).cast(pa.string()),
            "time": _times(self._meta.number("timestamp")),
            "ext": self._ext_texts(self._body, "ext", schema.MessageBody),
            "type": pa.DictionaryArray.from_arrays(pa.array(self._kind.astype(np.int32)), pa.array(_TYPES)),
            "text": self._texts("text"),
            "sender": self._sender_column(),
        }
        marks, mark_codes = self._decode_distinct(self._body, "meta", _marks)
        columns |= self._conversation_columns(marks, mark_codes) | self._mark_columns(marks, mark_codes)
        payloads = [self._translations(marks, mark_codes)]
        if self._content.present() - {"type", "text", "subType"} or (self._kind != ContentType.TEXT).any():
            for kind, name in ((ContentType.COMMAND, "action"), (ContentType.CUSTOM, "customEvent")):
                columns["text"] = pc.if_else(pa.array(self._kind == kind), self._texts(name), columns["text"])
            columns |= self._attachment_columns() | self._place_columns(columns["text"])
            payloads += self._payloads()
        columns["payload"] = pc.coalesce(*payloads)
        columns = {name: column for name, column in columns.items() if column.null_count < len(column)}
        if not self._plain.all():
            wanted = pa.array(self._plain)
            columns = {name: column.filter(wanted) for name, column in columns.items()}
        return columns, self._plain

    def _sender_column(self) -> pa.Array:
        users = _Names()
        in_body, in_meta = (self._decode_distinct(fields, "from", _jid_name) for fields in (self._body, self._meta))
        return users.column(users.first_given(in_body, in_meta))

    def _conversation_columns(self, marks: list[Marks], codes: IntArray) -> Columns:
        """Return the columns about the thread and the group.

        A fact of each distinct mark is spread over the messages by their codes. For example, the marks of a thread and
        of a plain group message, ``[m0, m1]``, with the codes ``[0, 1, 0]`` of three messages: ``is_thread`` is
        ``[True, False]``, and ``in_thread = is_thread[codes]`` is ``[True, False, True]``. A message in a thread has
        the thread as its target, and the thread's group stands in the mark; elsewhere the target is the group.
        """
        conversations, thread_names = _Names(), _Names()
        targets = conversations.first_given(
            self._decode_distinct(self._meta, "to", _jid_name), self._decode_distinct(self._body, "to", _jid_name)
        )
        threads = [mark.thread for mark in marks]
        in_thread = np.array([thread is not None for thread in threads], np.bool_)[codes]
        groups_of_threads = conversations.numbers(thread.group_id if thread else "" for thread in threads)[codes]
        names = thread_names.numbers(thread.name if thread else "" for thread in threads)[codes]
        in_group = np.isin(self._body.number("type"), _GROUP_CHATS)
        return {
            "thread_id": conversations.column(targets, in_thread),
            "thread_name": thread_names.column(names, in_thread),
            "group_id": conversations.column(np.where(in_thread, groups_of_threads, targets), in_thread | in_group),
            "parent_message_id": _spread([thread.parent_id if thread else None for thread in threads], codes),
        }

    def _mark_columns(self, marks: list[Marks], codes: IntArray) -> Columns:
        """Return the columns about reactions and edits."""
        edited_at = np.array([mark.edit_time for mark in marks], np.int64)[codes]
        reactions = [json_text(list(mark.reactions)) if mark.reactions else None for mark in marks]
        return {
            "reactions": _spread(reactions, codes),
            "edited_at": _times(edited_at, edited_at != 0),
            "edit_count": pa.array(np.array([mark.edit_count for mark in marks], np.int64)[codes]),
        }

    def _translations(self, marks: list[Marks], codes: IntArray) -> pa.Array:
        """Return the payloads of translated texts. A translated message of any other type is not plain."""
        payloads = [
            json_text({"translations": list(mark.translations)}) if mark.translations else None for mark in marks
        ]
        if any(payloads):
            is_translated = np.array([payload is not None for payload in payloads], np.bool_)[codes]
            self._plain &= (self._kind == ContentType.TEXT) | ~is_translated
        return _spread(payloads, codes)

    def _attachment_columns(self) -> Columns:
        content, kind = self._content, self._kind
        is_attachment = np.isin(kind, _ATTACHMENTS)
        has_name = is_attachment & (content.begins("displayName") < content.ends("displayName"))
        for name in _CHECKED_TEXTS:
            if name in content.present():
                self._texts(name)
        urls, codes = self._decode_distinct(
            content, "remotePath", lambda data: open_url(data.decode()) if data else None
        )
        has_duration = np.isin(kind, (ContentType.VIDEO, ContentType.VOICE))
        return {
            "url": _spread(urls, codes, is_attachment),
            "file_name": pc.if_else(pa.array(has_name), self._texts("displayName"), None),
            "file_size": _counts(content.number("fileLength"), is_attachment),
            "duration": _counts(content.number("duration"), has_duration),
            "width": self._picture_lengths("width"),
            "height": self._picture_lengths("height"),
        }

    def _place_columns(self, text: pa.Array) -> Columns:
        """Return the columns of places, and the text column with their addresses; attachments have no text."""
        content, kind = self._content, self._kind
        is_place = kind == ContentType.LOCATION
        has_address = is_place & (content.begins("address") < content.ends("address"))
        lat, lng = (self._doubles(content, name) for name in ("latitude", "longitude"))
        self._plain &= ~is_place | (np.isfinite(lat) & np.isfinite(lng))
        text = pc.if_else(pa.array(has_address), self._texts("address"), text)
        has_no_text = (is_place & ~has_address) | np.isin(kind, _ATTACHMENTS)
        return {
            "text": pc.if_else(pa.array(has_no_text), None, text),
            "lat": pa.array(lat, mask=~is_place),
            "lng": pa.array(lng, mask=~is_place),
        }

    def _payloads(self) -> list[pa.Array]:
        """Return what only GIFs, places and custom messages have, as JSON; null for all other messages."""
        buildings, codes = self._decode_distinct(self._content, "buildingName", _building_text)
        params = pc.coalesce(self._ext_texts(self._content, "customExts", schema.Content), "{}")
        return [
            _spread(['{"animated":true}'], np.zeros_like(self._kind), self._animated),
            _spread(buildings, codes, self._kind == ContentType.LOCATION),
            pc.if_else(
                pa.array(self._kind == ContentType.CUSTOM),
                pc.binary_join_element_wise('{"params":', params, "}", ""),
                None,
            ),
        ]

    def _picture_lengths(self, name: str) -> pa.Array:
        length = self._doubles(self._size, name)
        return pa.array(length, mask=(self._kind != ContentType.IMAGE) | (length == 0) | ~np.isfinite(length))

    def _doubles(self, fields: Fields, name: str) -> npt.NDArray[np.float64]:
        return np.where(fields.has(name), self._data.words(fields.begins(name)), 0).view(np.float64)


class _Names:
    """The distinct names of some columns, each with a number in the order they came: the dictionary of the columns."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def numbers(self, names: Iterable[str]) -> IntArray:
        """Return the number of each name; a new name gets the next number."""
        return np.array([self._numbers.setdefault(name, len(self._numbers)) for name in names], np.int64)

    def first_given(self, first: tuple[list[str], IntArray], second: tuple[list[str], IntArray]) -> IntArray:
        """Return the number of each message's first name, or of its second where the first is empty.

        Both are given as distinct names, and for each message the index of its name.
        """
        (first_names, first_codes), (second_names, second_codes) = first, second
        is_given = np.array([bool(name) for name in first_names], np.bool_)[first_codes]
        if is_given.all():
            return self.numbers(first_names)[first_codes]
        first_numbers, second_numbers = self.numbers(first_names), self.numbers(second_names)
        return np.where(is_given, first_numbers[first_codes], second_numbers[second_codes])

    def column(self, numbers: IntArray, valid: BoolArray | None = None) -> pa.Array:
        """Return the names with these numbers; null where not `valid`."""
        indices = pa.array(numbers.astype(np.int32), mask=None if valid is None else ~valid)
        return pa.DictionaryArray.from_arrays(indices, pa.array(list(self._numbers), pa.string()))


def _jid_name(data: bytes) -> str:
    name: str = schema.JID.FromString(data).name
    return name


def _marks(data: bytes) -> Marks:
    return read_marks(data.decode())


def _building_text(data: bytes) -> str | None:
    return json_text({"building_name": data.decode()}) if data else None


def _spread(values: Sequence[str | None], codes: IntArray, valid: BoolArray | None = None) -> pa.Array:
    """Return for each message the value with its code; null where not `valid`."""
    return pa.array(values, pa.string()).take(pa.array(codes, mask=None if valid is None else ~valid))


def _times(milliseconds: IntArray, valid: BoolArray | None = None) -> pa.Array:
    mask = None if valid is None else ~valid
    return pa.array(np.clip(milliseconds, 0, LAST_MILLISECOND), pa.timestamp("ms", "UTC"), mask=mask)


def _counts(numbers: IntArray, valid: BoolArray) -> pa.Array:
    low_32_bits = numbers.astype(np.int32).astype(np.int64)  # all that protobuf takes of an int32
    return pa.array(low_32_bits, mask=~valid | (low_32_bits == 0))
