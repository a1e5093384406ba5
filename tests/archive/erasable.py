"""An archive in which a person, Mallory, has left traces everywhere, and a search for what is left of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from imkit.archive import Archive, parquet
from imkit.archive.attachments import content_name
from imkit.archive.catalogue import CatalogueWriter, Commit, ConversationState
from imkit.archive.compact import compact
from imkit.archive.merge import CommitBatch, merge_batch
from imkit.archive.storage import Storage, storage_at
from imkit.history.columns import batch_of
from imkit.messages import Combine, Custom, File, Message, Text, ThreadRef, Unknown
from imkit.times import from_milliseconds
from imkit.wire.bundle import pack
from imkit.wire.keyvalues import json_text

MIDNIGHT = 1_795_392_000_000
HOUR = 3_600_000
USER = "mallory"
WORDS = "peppermint"  # only Mallory says this
UPLOAD = "https://a1.easemob.com/org/app/chatfiles/"
THREAD = ThreadRef("42", "Oolong", "7", "1")
LEAF, OWN, BUNDLE_TEXT = b"leaf" * 9, b"only of one person", f"{WORDS} in a bundle"


def message(number: int, sender: str, body: Any, **more: Any) -> Message:
    thread = THREAD if number % 2 else None
    time = from_milliseconds(MIDNIGHT + number * HOUR)
    return Message(str(10**18 + number), sender, "7", time, body, thread=thread, **more)


def quote(number: int, sender: str) -> dict[str, Any]:
    return {"msgID": str(10**18 + number), "msgPreview": WORDS, "msgSender": sender, "msgType": "txt"}


def reacted(*users: str) -> dict[str, Any]:
    return {"reaction": "🍵", "count": len(users), "userList": list(users), "state": True}


def file(name: str, upload: str) -> File:
    return File(url=UPLOAD + upload, file_name=name, file_size=4)


MESSAGES = [
    message(0, "Mallory", Text(f"{WORDS} 0")),
    message(1, "bob", Text("no trace", ext={"em_at_list": ["carol"]})),
    message(2, "bob", Text("at a list", ext={"em_at_list": ["Mallory", "carol"]})),
    message(3, "bob", Text("a quote", ext={"msgQuote": quote(0, "mallory"), "mood": "good"})),
    message(4, "bob", Text("a quote as text", ext={"msgQuote": str(quote(0, "mallory")).replace("'", '"')})),
    message(5, "bob", Text("a quote by id", ext={"msgQuote": quote(0, "Mal")})),
    message(6, "bob", Text("liked"), reactions=[reacted("mallory", "carol"), {**reacted("mallory"), "reaction": "x"}]),
    message(7, "bob", Custom("userCard", {"uid": "mallory", "nickname": WORDS})),
    message(8, "bob", Text("a vote", ext={"votes": {"mallory": WORDS, "carol": "oolong"}})),
    message(9, "", Unknown(data=b"\x0a\x07Mallory\x12\x0a" + WORDS.encode(), reason="new")),
    message(10, "bob", Combine("chat", summary="bob: hi", url=UPLOAD + "bundle", file_name="b", file_size=9)),
    message(11, "bob", Combine("mallory and bob", summary=f"mallory: {WORDS}", url=UPLOAD + "lost")),
    message(12, "mallory", file(f"{WORDS}.txt", "own")),
    message(13, "mallory", file("leaf.txt", "leaf")),
    message(14, "bob", file(f"{WORDS}.txt", "own")),  # forwarded
    message(15, "bob", file("leaf.txt", "leaf-of-bob")),
    message(30, "mallory", Text(f"{WORDS} 30")),  # a day of Mallory alone
    message(60, "carol", Text("later")),
]
EDITED = [
    message(16, "mallory", Text(f"{WORDS} 16")),
    message(17, "bob", Text("before", ext={"msgQuote": quote(0, "mallory")})),
]
ENTRIES = [
    {"event": "edited", "at": MIDNIGHT, "operator": "bob", "message_id": str(10**18 + 2), "sender": "bob", "text": "t"},
    {"event": "recalled", "at": MIDNIGHT + 1, "operator": "mallory", "message_id": "9", "sender": None},
    {"event": "recalled", "at": MIDNIGHT + 2, "operator": "bob", "message_id": str(10**18)},
    {"event": "edited", "at": MIDNIGHT + 3, "operator": "mallory", "message_id": "8", "sender": "bob", "text": "by"},
    {"event": "edited", "at": MIDNIGHT + 4, "operator": "Mallory", "sender": "Mallory", "text": WORDS, "ext": None},
    {"event": "recalled", "at": MIDNIGHT + 5, "operator": "bob", "message_id": "5", "sender": "bob", "target_id": USER},
]


# The texts of what must be left, by the last digits of the message id.
LEFT = {
    "01": "no trace",
    "02": "at a list",
    "03": "a quote",
    "04": "a quote as text",
    "05": "a quote by id",
    "06": "liked",
    "07": "userCard",
    "08": "a vote",
    "10": "(erased)",
    "11": "(erased)",
    "14": "-",
    "15": "-",
    "17": "now",
    "60": "later",
}


def rows(messages: list[Message], target_id: str = "42") -> pa.Table:
    return parquet.archive_rows(batch_of(messages), target_id, 1)


def fill(place: str | Path) -> Archive:
    """Make the archive, with files that are kept for readers and files that a killed writer left."""
    storage = storage_at(place)
    with storage.writing(0):
        writer = CatalogueWriter(storage)
        known = ConversationState("42", "thread", "Oolong", "7", MESSAGES[0].id, covered=((0, MIDNIGHT + 99 * HOUR),))
        batch = CommitBatch([rows(MESSAGES[:9]), rows(EDITED)], conversations={"42": known})
        merge_batch(storage, writer, batch, 1, "org#app")
        merge_batch(storage, writer, CommitBatch([rows(MESSAGES[9:])]), 1)
        changed = [message(number, sender, Text("now")) for number, sender in ((16, "mallory"), (17, "bob"))]
        merge_batch(storage, writer, CommitBatch(maybe_changed=[rows(changed)]), 2)
        compact(storage, writer, at_least=2)
        bundle = pack("org#app", [message(0, "bob", Text("hi")), message(1, "mallory", Text(BUNDLE_TEXT))])
        contents = {10: bundle, 12: OWN, 13: LEAF, 14: OWN, 15: LEAF}
        table = pa.Table.from_pylist([_stored(storage, *each) for each in contents.items()], parquet.ATTACHMENTS)
        writer.commit(Commit(tuple(parquet.write(storage, "attachments", table))))
        _content(storage, f"{WORDS}: its row was never committed".encode())
    for number, entry in enumerate(ENTRIES):
        storage.write(f"live/day=2026-11-23/{number}.json", json_text(entry).encode())
    storage.write("live/day=2026-11-23/.6.json.ab.part", f'{{"text": "{WORDS}'.encode())
    return Archive(place)


def _content(storage: Storage, data: bytes) -> str:
    sha256 = hashlib.sha256(data).hexdigest()
    if content_name(sha256) not in storage.names("attachments"):
        storage.write(content_name(sha256), data)
    return sha256


def _stored(storage: Storage, number: int, data: bytes) -> dict[str, Any]:
    known = {"message_id": str(10**18 + number), "target_id": "42", "time": MIDNIGHT + number * HOUR, "final": True}
    return {**known, "sha256": _content(storage, data), "size": len(data), "fetched_at": 1}


def traces(place: str | Path, *words: str) -> list[str]:
    """Return the names of files that hold one of some words, in any case, also in compressed columns."""
    storage = storage_at(place)
    everything = [name for name in _all_names(storage) if name != "writer.json"]  # it names the system's user
    sought = [word.lower().encode() for word in (words or (USER, WORDS, OWN.decode()))]
    contents = {name: _bytes(storage, name) for name in everything}
    return [name for name, content in contents.items() if any(word in content for word in sought)]


def _all_names(storage: Storage) -> Iterator[str]:
    for folder in ("messages", "versions", "attachments", "live", "catalogue", "unfinished", "replaced"):
        yield from storage.names(folder)
    if Path(storage.place).is_dir():
        yield from (
            path.relative_to(storage.place).as_posix() for path in Path(storage.place).rglob("*") if path.is_file()
        )


def _bytes(storage: Storage, name: str) -> bytes:
    data = storage.read(name)
    if name.endswith(".parquet"):
        table = pq.read_table(pa.py_buffer(data))
        data += str(
            table.to_pydict() if not table.num_rows else table.cast(_without_times(table.schema)).to_pylist()
        ).encode()
    return (name.encode() + data).lower()


def _without_times(schema: pa.Schema) -> pa.Schema:
    return pa.schema(
        [pa.field(each.name, pa.int64() if pa.types.is_timestamp(each.type) else each.type) for each in schema]
    )
