"""The plain messages among thousands of Metas → columns, without a Python object for each.

The fields are read in lock-step; texts are copied together; what repeats from message to message (who, where, the
thread's mark, ext) is told apart as bytes, and only what differs is read, by the ordinary codec. A message that is not
plain in every respect is left to the ordinary codec as a whole, so that both always say the same: `tests/test_columns`
holds them to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from imkit.history.batch_protobuf import Fields, Joined, Layout, Numbers, Truths
from imkit.history.bulk_ext import plain_ext_texts
from imkit.times import LAST_MILLISECOND
from imkit.wire import schema
from imkit.wire.downlink import CHATS, UNREADABLE, Marks, read_marks
from imkit.wire.enums import ContentType, NameSpace, SubType
from imkit.wire.keyvalues import decode_ext, json_text
from imkit.wire.untrusted_json import open_url

Columns = dict[str, pa.Array]
T = TypeVar("T")

# What is not here is not plain.
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
    }
)
_CONFIG = Layout({"allowGroupAck": (1, "number")})
_SIZE = Layout({"width": (1, "double"), "height": (2, "double")})


_CHECKED = ("secretKey", "thumbnailRemotePath", "thumbnailSecretKey", "thumbnailDisplayName")  # texts of no column
_WORTH_READING_TOGETHER = 128  # attributes; fewer are read sooner one by one
_SUBTYPES = (SubType.SUB_COMBINE, SubType.SUB_GIF, SubType.SUB_STREAM)
_TYPES = ("txt", "img", "video", "loc", "audio", "file", "cmd", "custom")  # by Content.type
_ATTACHMENTS = (ContentType.IMAGE, ContentType.VIDEO, ContentType.VOICE, ContentType.FILE)
_IN_A_GROUP = [kind for kind, chat in CHATS.items() if chat == "group"]


def read_plain(metas: Sequence[bytes]) -> tuple[Columns, Truths]:
    """Return the rows of those Metas that are plain messages, as columns, and which of the Metas they are.

    Args:
        metas: less than 2 GiB together.

    Returns:
        The columns by their names in `imkit.history.columns.SCHEMA`, without those that are empty; and for each Meta
        whether it is among the rows. About the others nothing is said, not even whether they are messages.

    Example:
        >>> columns, plain = read_plain([b"", bytes.fromhex("0807 2801 3206 0802 2202 0800")])
        >>> columns["message_id"].to_pylist(), plain.tolist()
        (['7'], [False, True])
    """
    return _Reading(metas).columns()


class _Reading:
    """Some Metas, read as deep as they are plain."""

    def __init__(self, metas: Sequence[bytes]) -> None:
        self._data = data = Joined(metas)
        self._meta = meta = data.read(_META, data.begins, data.ends)
        self._plain = meta.plain & (meta.number("ns") == NameSpace.CHAT)
        self._body = body = self._inside(_BODY, meta, "payload")
        self._plain &= body.has("type") & np.isin(body.number("type"), list(CHATS))
        self._content = content = self._inside(_CONTENT, body, "contents")
        kind, subtype = content.number("type"), np.where(content.has("subType"), content.number("subType"), -1)
        self._plain &= content.has("type") & (kind >= 0) & (kind < len(_TYPES)) & np.isin(subtype, (-1, *_SUBTYPES))
        self._plain &= (kind != ContentType.TEXT) | (subtype != SubType.SUB_COMBINE)
        self._size = self._inside(_SIZE, content, "size")
        self._inside(_SIZE, content, "thumbnailSize")
        self._inside(_CONFIG, body, "msgConfig")
        for fields in (meta, body, content, self._size):
            fields.empty(~self._plain)
        self._kind = np.where(self._plain, kind, ContentType.TEXT)
        self._animated = (self._kind == ContentType.IMAGE) & (subtype == SubType.SUB_GIF)

    def _inside(self, layout: Layout, outer: Fields, name: str) -> Fields:
        begins = outer.begins(name)
        found = self._data.read(layout, begins, np.where(self._plain, outer.ends(name), begins))
        self._plain &= found.plain
        return found

    def _texts(self, name: str) -> pa.Array:
        """The values of a text; empty where there is none."""
        raw = self._data.slices(self._content.begins(name), self._content.ends(name))
        try:
            return raw.cast(pa.string())
        except pa.ArrowInvalid:  # somebody's is no UTF-8
            return _taken(*self._each(self._content, name, bytes.decode))

    def _each(self, fields: Fields, name: str, read: Callable[[bytes], T]) -> tuple[list[T], Numbers]:
        """What the different values of a field say, and which of them each message has."""
        values, codes = self._different(fields, name)
        found = []
        for code, value in enumerate(values):
            try:
                found.append(read(value))
            except UNREADABLE:
                self._plain &= codes != code
                found.append(read(b""))
        return found, codes

    def _different(self, fields: Fields, name: str) -> tuple[list[bytes], Numbers]:
        encoded = self._data.slices(fields.begins(name), fields.ends(name)).dictionary_encode()
        return encoded.dictionary.to_pylist(), encoded.indices.to_numpy()

    def _ext_texts(self, fields: Fields, name: str, kind: Any) -> pa.Array:
        """What attributes say, as JSON; null where there are none. `kind` is the message that has them."""
        values, codes = self._different(fields, name)
        if len(values) < _WORTH_READING_TOGETHER:
            texts, plain = pa.nulls(len(values), pa.string()), np.zeros(len(values), np.bool_)
        else:
            texts, plain = plain_ext_texts(values, kind.DESCRIPTOR.fields_by_name[name].number)
        if not plain.all():
            read = texts.to_pylist()
            for code in np.flatnonzero(~plain).tolist():
                try:
                    ext = decode_ext(getattr(kind.FromString(values[code]), name))
                    read[code] = json_text(ext) if ext else None
                except UNREADABLE:
                    self._plain &= codes != code
            texts = pa.array(read, pa.string())
        return texts.take(pa.array(codes))

    # ------------------------------------------------------------------ columns

    def columns(self) -> tuple[Columns, Truths]:
        """All there is, of the plain messages."""
        columns = {
            "message_id": pa.array(self._meta.number("id")).cast(pa.string()),
            "time": _times(self._meta.number("timestamp")),
            "ext": self._ext_texts(self._body, "ext", schema.MessageBody),
            "type": pa.DictionaryArray.from_arrays(pa.array(self._kind.astype(np.int32)), pa.array(_TYPES)),
            "text": self._texts("text"),
            **self._about_where(),
        }
        payloads = [columns.pop("payload")]
        if self._content.present() - {"type", "text", "subType"} or (self._kind != ContentType.TEXT).any():
            words = [(ContentType.COMMAND, self._texts("action")), (ContentType.CUSTOM, self._texts("customEvent"))]
            for kind, text in words:
                columns["text"] = pc.if_else(pa.array(self._kind == kind), text, columns["text"])
            columns |= self._about_attachments() | self._about_places(columns["text"])
            payloads += self._payloads()
        columns["payload"] = pc.coalesce(*payloads)
        columns = {name: column for name, column in columns.items() if column.null_count < len(column)}
        if not self._plain.all():
            wanted = pa.array(self._plain)
            columns = {name: column.filter(wanted) for name, column in columns.items()}
        return columns, self._plain

    def _about_where(self) -> Columns:
        names, places, titles = _Names(), _Names(), _Names()
        senders = names.either(self._each(self._body, "from", _jid_name), self._each(self._meta, "from", _jid_name))
        targets = places.either(self._each(self._meta, "to", _jid_name), self._each(self._body, "to", _jid_name))
        marks, codes = self._each(self._body, "meta", _marks)
        threads = [mark.thread for mark in marks]
        in_thread = np.array([thread is not None for thread in threads], np.bool_)[codes]
        groups = places.numbers(thread.group_id if thread else "" for thread in threads)[codes]
        in_group = np.isin(self._body.number("type"), _IN_A_GROUP)
        edited = np.array([mark.edit_time for mark in marks], np.int64)[codes]
        translations = [json_text({"translations": list(m.translations)}) if m.translations else None for m in marks]
        if any(translations):  # what else a payload holds is for the ordinary codec to put beside them
            translated = np.array([bool(text) for text in translations], np.bool_)[codes]
            self._plain &= (self._kind == ContentType.TEXT) | ~translated
        return {
            "sender": names.column(senders),
            "thread_id": places.column(targets, in_thread),
            "thread_name": titles.column(titles.numbers(t.name if t else "" for t in threads)[codes], in_thread),
            "group_id": places.column(np.where(in_thread, groups, targets), in_thread | in_group),
            "parent_message_id": _taken([thread.parent_id if thread else None for thread in threads], codes),
            "reactions": _taken([json_text(list(mark.reactions)) if mark.reactions else None for mark in marks], codes),
            "edited_at": _times(edited, edited != 0),
            "edit_count": pa.array(np.array([mark.edit_count for mark in marks], np.int64)[codes]),
            "payload": _taken(translations, codes),
        }

    def _about_attachments(self) -> Columns:
        content, kind = self._content, self._kind
        attached = np.isin(kind, _ATTACHMENTS)
        named = attached & (content.begins("displayName") < content.ends("displayName"))
        for name in _CHECKED:
            if name in content.present():
                self._texts(name)
        urls, codes = self._each(content, "remotePath", lambda data: open_url(data.decode()) if data else None)
        lasting = np.isin(kind, (ContentType.VIDEO, ContentType.VOICE))
        return {
            "url": _taken(urls, codes, attached),
            "file_name": pc.if_else(pa.array(named), self._texts("displayName"), None),
            "file_size": _counts(content.number("fileLength"), attached),
            "duration": _counts(content.number("duration"), lasting),
            "width": self._lengths("width"),
            "height": self._lengths("height"),
        }

    def _about_places(self, text: pa.Array) -> Columns:
        content, kind = self._content, self._kind
        place = kind == ContentType.LOCATION
        addressed = place & (content.begins("address") < content.ends("address"))
        lat, lng = (self._doubles(content, name) for name in ("latitude", "longitude"))
        self._plain &= ~place | (np.isfinite(lat) & np.isfinite(lng))
        text = pc.if_else(pa.array(addressed), self._texts("address"), text)
        silent = (place & ~addressed) | np.isin(kind, _ATTACHMENTS)
        return {
            "text": pc.if_else(pa.array(silent), None, text),
            "lat": pa.array(lat, mask=~place),
            "lng": pa.array(lng, mask=~place),
        }

    def _payloads(self) -> list[pa.Array]:
        buildings, at = self._each(self._content, "buildingName", _building_text)
        params = pc.coalesce(self._ext_texts(self._content, "customExts", schema.Content), "{}")
        return [
            _taken(['{"animated":true}'], np.zeros_like(self._kind), self._animated),
            _taken(buildings, at, self._kind == ContentType.LOCATION),
            pc.if_else(
                pa.array(self._kind == ContentType.CUSTOM),
                pc.binary_join_element_wise('{"params":', params, "}", ""),
                None,
            ),
        ]

    def _lengths(self, name: str) -> pa.Array:
        length = self._doubles(self._size, name)
        return pa.array(length, mask=(self._kind != ContentType.IMAGE) | (length == 0) | ~np.isfinite(length))

    def _doubles(self, fields: Fields, name: str) -> npt.NDArray[np.float64]:
        return np.where(fields.has(name), self._data.words(fields.begins(name)), 0).view(np.float64)


class _Names:
    """Texts of which few differ, each with its number, in the order they came."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def numbers(self, names: Iterable[str]) -> Numbers:
        """The number of each name."""
        return np.array([self._numbers.setdefault(name, len(self._numbers)) for name in names], np.int64)

    def either(self, first: tuple[list[str], Numbers], second: tuple[list[str], Numbers]) -> Numbers:
        """The number of each message's first name, or of its second where the first is empty."""
        (names, codes), (others, other_codes) = first, second
        given = np.array([bool(name) for name in names], np.bool_)[codes]
        if given.all():
            return self.numbers(names)[codes]
        return np.where(given, self.numbers(names)[codes], self.numbers(others)[other_codes])

    def column(self, numbers: Numbers, valid: Truths | None = None) -> pa.Array:
        """The names with these numbers; null where not `valid`."""
        indices = pa.array(numbers.astype(np.int32), mask=None if valid is None else ~valid)
        return pa.DictionaryArray.from_arrays(indices, pa.array(list(self._numbers), pa.string()))


def _jid_name(data: bytes) -> str:
    name: str = schema.JID.FromString(data).name
    return name


def _marks(data: bytes) -> Marks:
    return read_marks(data.decode())


def _building_text(data: bytes) -> str | None:
    return json_text({"building_name": data.decode()}) if data else None


def _taken(values: Sequence[str | None], codes: Numbers, valid: Truths | None = None) -> pa.Array:
    return pa.array(values, pa.string()).take(pa.array(codes, mask=None if valid is None else ~valid))


def _times(milliseconds: Numbers, valid: Truths | None = None) -> pa.Array:
    mask = None if valid is None else ~valid
    return pa.array(np.clip(milliseconds, 0, LAST_MILLISECOND), pa.timestamp("ms", "UTC"), mask=mask)


def _counts(numbers: Numbers, valid: Truths) -> pa.Array:
    whole = numbers.astype(np.int32).astype(np.int64)  # protobuf takes the low 32 bits, too
    return pa.array(whole, mask=~valid | (whole == 0))
