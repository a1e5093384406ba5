"""Attachments, kept before they expire: the service forgets files after 7 days unless the app's plan says otherwise.

A file is named by the sha256 of what is in it, `attachments/ab/abcdef…`, so that what was sent a hundred times is kept
once, and no name that a stranger has given comes near the disk. A table says which message has which. What opens a file
at the service, its share-secret, is asked for anew each time and never kept.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from imkit.archive import parquet
from imkit.archive.catalogue import Commit, Ledger, StoredFile
from imkit.archive.storage import Storage
from imkit.client.account import Account
from imkit.client.attachments import fetch_attachment
from imkit.client.roaming import Query
from imkit.errors import IMError, InvalidMessage, NotFound, ProtocolError, Unsupported
from imkit.history.message_pages import PageWalk
from imkit.messages import Attachment, Combine, Message
from imkit.portal import to_its_end

LARGEST = 128 * 2**20  # bytes; the official SDK uploads 10 MB
_AT_ONCE = 4
_A_COMMIT = 50  # files
_TYPES = ("img", "audio", "video", "file", "combine")

# What no later try can change.
_FINAL = (NotFound, Unsupported, InvalidMessage, ProtocolError)


def content_name(sha256: str) -> str:
    """Return where a file is kept.

    Example:
        >>> content_name("abcdef")
        'attachments/ab/abcdef'
    """
    return f"attachments/{sha256[:2]}/{sha256}"


@dataclass(slots=True)
class Kept:
    """How many attachments have been kept, and which could not be had: message id → why."""

    kept: int = 0
    failed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Wanted:
    message_id: str
    target_id: str
    time: int


async def keep(account: Account, storage: Storage, ledger: Ledger, target_ids: Sequence[str], now: int) -> Kept:
    """Fetch the attachments that the archive has messages of, and not the files.

    One that cannot be had is noted with the reason, and the rest goes on.

    Args:
        account: who asks.
        storage: the archive's; its lock is held.
        ledger: the catalogue.
        target_ids: whose messages.
        now: in ms since the epoch.
    """
    done = Kept()
    wanted = await asyncio.to_thread(_pending, storage, ledger, set(target_ids))
    by_target: defaultdict[str, dict[str, _Wanted]] = defaultdict(dict)
    for one in wanted:
        by_target[one.target_id][one.message_id] = one
    entries: list[dict[str, Any]] = []
    lanes = asyncio.Semaphore(_AT_ONCE)

    async def settle() -> None:
        # To its end even if the caller is cancelled: the lock is held that long.
        await to_its_end(asyncio.to_thread(_note, storage, ledger, entries))
        _count(done, entries)
        entries.clear()

    for target_id, pending in by_target.items():
        reason = "the message is gone"  # from the history: the next lookback says so
        try:
            async for messages in _walk(account, target_id, pending.values()).pages():
                mine = [message for message in messages if pending.pop(message.id, None) is not None]
                entries += await asyncio.gather(
                    *(_one(account, storage, lanes, message, target_id, now) for message in mine)
                )
                if len(entries) >= _A_COMMIT:
                    await settle()
                if not pending:
                    break
        except IMError as error:
            reason = str(error)
        done.failed |= dict.fromkeys(pending, reason)
    if entries:
        await settle()
    return done


def _count(done: Kept, entries: Sequence[dict[str, Any]]) -> None:
    done.kept += sum(entry["sha256"] is not None for entry in entries)
    done.failed |= {entry["message_id"]: entry["reason"] for entry in entries if entry["reason"]}


def _walk(account: Account, target_id: str, pending: Iterable[_Wanted]) -> PageWalk:
    """Return the walk past the messages once more: only they have the secrets that open the files."""
    times = [one.time for one in pending]
    return PageWalk(account, target_id, Query(min(times), max(times) + 1, types=frozenset(_TYPES), order="newest"))


async def _one(
    account: Account, storage: Storage, lanes: asyncio.Semaphore, message: Message, target_id: str, now: int
) -> dict[str, Any]:
    body = message.body
    entry: dict[str, Any] = dict.fromkeys(parquet.ATTACHMENTS.names)
    entry |= {"message_id": message.id, "target_id": target_id, "time": message.time, "fetched_at": now}
    entry["file_name"] = body.file_name if isinstance(body, Attachment | Combine) else None
    async with lanes:
        try:
            data = await fetch_attachment(account, message, LARGEST)
        except IMError as error:
            entry |= {"reason": str(error), "final": isinstance(error, _FINAL)}
            return entry
        sha256 = await asyncio.to_thread(_store, storage, data)
    entry |= {"sha256": sha256, "size": len(data), "final": True}
    return entry


def _store(storage: Storage, data: bytes) -> str:
    sha256 = hashlib.sha256(data).hexdigest()
    try:
        storage.write(content_name(sha256), data)
    except FileExistsError:
        pass
    return sha256


def _pending(storage: Storage, ledger: Ledger, target_ids: set[str]) -> list[_Wanted]:
    entries = parquet.dataset(storage, ledger.state.of("attachments"), parquet.ATTACHMENTS)
    settled = set(entries.to_table(["message_id"], filter=ds.field("final"))["message_id"].to_pylist())
    mine = ds.field("target_id").isin(pa.array(sorted(target_ids), pa.string())) & ds.field("type").isin(_TYPES)
    here = ds.field("url").is_valid() & ds.field("gone_at").is_null()
    messages = parquet.dataset(storage, ledger.state.of("messages"), parquet.MESSAGES)
    table = messages.to_table(["message_id", "target_id", "time"], filter=mine & here)
    columns = (table["message_id"].to_pylist(), table["target_id"].to_pylist(), parquet.milliseconds(table["time"]))
    return [
        _Wanted(message_id, target_id, int(time))
        for message_id, target_id, time in zip(*columns, strict=True)
        if message_id not in settled
    ]


def _note(storage: Storage, ledger: Ledger, entries: Sequence[dict[str, Any]]) -> None:
    """Write down what became of some attachments, in the place of what was written of them before."""
    table = pa.Table.from_pylist(list(entries), schema=parquet.ATTACHMENTS)
    added: list[StoredFile] = []
    removed: list[StoredFile] = []
    for day, new in parquet.by_day(table):
        earlier = [file for file in ledger.state.of("attachments") if file.day == day]
        old = parquet.read(storage, earlier, parquet.ATTACHMENTS)
        kept = old.filter(pc.invert(pc.is_in(old["message_id"], new["message_id"].combine_chunks())))
        for name, whole in parquet.by_day(pa.concat_tables([kept, new])):
            added.append(parquet.write(storage, "attachments", name, whole))
        removed += earlier
    ledger.commit(Commit(tuple(added), tuple(file.name for file in removed)))
