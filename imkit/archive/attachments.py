"""Attachments: fetched before they expire. The service keeps a file for 7 days, unless the app's plan says otherwise.

A file is named by the sha256 of its content, `attachments/ab/abcdef…`. So a file that was sent a hundred times is
stored once, and no file name that a sender chose is used as a path. The table `attachments` says which message has
which file. The share-secret that opens a file at the service is never stored: imkit reads the message again each time
to get it.

Source: docs/protocol.md#download.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from imkit.archive import parquet
from imkit.archive.batching import SECONDS_A_COMMIT
from imkit.archive.catalogue import CatalogueWriter, Commit, State, StoredFile
from imkit.archive.storage import Storage
from imkit.client.account import Account
from imkit.client.attachments import fetch_attachment
from imkit.client.roaming import Query
from imkit.errors import IMError, InvalidMessage, NotFound, ProtocolError, Unsupported
from imkit.history.message_pages import PageWalk
from imkit.messages import Attachment, Combine, Message
from imkit.portal import to_its_end
from imkit.times import steady_seconds

LARGEST_BYTES = 128 * 2**20  # the official SDK uploads 10 MB at the most
_DOWNLOADS_AT_ONCE = 4
_FILES_A_COMMIT = 50
_TYPES = ("img", "audio", "video", "file", "combine")

# Errors for which another try is useless.
_FINAL_ERRORS = (NotFound, Unsupported, InvalidMessage, ProtocolError)
_CONTENT_NAME = re.compile(r"attachments/[0-9a-f]{2}/[0-9a-f]{64}")


def content_name(sha256: str) -> str:
    """Return the name under which the archive stores a file.

    Example:
        >>> content_name("abcdef")
        'attachments/ab/abcdef'
    """
    return f"attachments/{sha256[:2]}/{sha256}"


@dataclass(slots=True)
class AttachmentResult:
    """How many attachments were stored, and which could not be fetched: message id → why."""

    kept: int = 0
    failed: dict[str, str] = field(default_factory=dict)

    def add(self, entries: Iterable[dict[str, Any]]) -> None:
        """Count new rows of the table `attachments`."""
        for entry in entries:
            self.kept += entry["sha256"] is not None
            if entry["reason"]:
                self.failed[entry["message_id"]] = entry["reason"]


@dataclass(frozen=True, slots=True)
class _Pending:
    """A message whose attachment must be fetched; its time in ms since the epoch."""

    message_id: str
    target_id: str
    time: int


async def fetch_attachments(
    account: Account, storage: Storage, catalogue: CatalogueWriter, target_ids: Sequence[str], now: int
) -> AttachmentResult:
    """Fetch the attachments that the archive has messages of, but not the files.

    If one cannot be fetched, the table says why, and the others are still fetched.

    Args:
        account: the login that fetches.
        storage: the archive's storage; the caller holds its lock.
        catalogue: the writer of the archive's catalogue.
        target_ids: the conversations.
        now: in ms since the epoch.
    """
    result = AttachmentResult()
    pending_by_target: defaultdict[str, dict[str, _Pending]] = defaultdict(dict)
    for one in await asyncio.to_thread(_pending, storage, catalogue, set(target_ids)):
        pending_by_target[one.target_id][one.message_id] = one
    entries: list[dict[str, Any]] = []
    download_slots = asyncio.Semaphore(_DOWNLOADS_AT_ONCE)
    committing = asyncio.Lock()
    committed_at = steady_seconds()

    async def commit() -> None:
        nonlocal committed_at
        async with committing:
            batch = entries.copy()
            entries.clear()
            if batch:
                # The commit runs to its end even if the caller is cancelled: the lock is held until then.
                await to_its_end(asyncio.to_thread(_commit_entries, storage, catalogue, batch))
                result.add(batch)
            committed_at = steady_seconds()

    async def fetch(message: Message, target_id: str) -> None:
        entries.append(await _fetch_one(account, storage, download_slots, message, target_id, now))
        if len(entries) >= _FILES_A_COMMIT or steady_seconds() - committed_at >= SECONDS_A_COMMIT:
            await commit()

    try:
        for target_id, pending in pending_by_target.items():
            reason = "the message is gone"  # the next lookback marks it
            failed: BaseException | None = None
            try:
                async for messages in _pages_with_secrets(account, target_id, pending.values()).pages():
                    wanted = [message for message in messages if pending.pop(message.id, None) is not None]
                    # After an error none of the fetches goes on: the caller is about to give up the lock.
                    async with asyncio.TaskGroup() as group:
                        for message in wanted:
                            group.create_task(fetch(message, target_id))
                    if not pending:
                        break
            except BaseExceptionGroup as errors:
                failed = errors.exceptions[0]
            except IMError as error:
                reason = str(error)
            if failed is not None:
                raise failed  # not in the handler: the group would become its context
            result.failed |= dict.fromkeys(pending, reason)
    finally:
        await commit()
    return result


def _pages_with_secrets(account: Account, target_id: str, pending: Iterable[_Pending]) -> PageWalk:
    """Return a walk over the messages at the service: only they have the share-secrets of the files."""
    times = [one.time for one in pending]
    return PageWalk(account, target_id, Query(min(times), max(times) + 1, types=frozenset(_TYPES), order="newest"))


async def _fetch_one(
    account: Account, storage: Storage, slots: asyncio.Semaphore, message: Message, target_id: str, now: int
) -> dict[str, Any]:
    """Fetch and store one file, and return its row of the table `attachments`."""
    body = message.body
    entry: dict[str, Any] = dict.fromkeys(parquet.ATTACHMENTS.names)
    entry |= {"message_id": message.id, "target_id": target_id, "time": message.time, "fetched_at": now}
    entry["file_name"] = body.file_name if isinstance(body, Attachment | Combine) else None
    async with slots:
        try:
            data = await fetch_attachment(account, message, LARGEST_BYTES)
        except IMError as error:
            entry |= {"reason": str(error), "final": isinstance(error, _FINAL_ERRORS)}
            return entry
        sha256 = await to_its_end(asyncio.to_thread(_store, storage, data))
    entry |= {"sha256": sha256, "size": len(data), "final": True}
    return entry


def _store(storage: Storage, data: bytes) -> str:
    sha256 = hashlib.sha256(data).hexdigest()
    try:
        storage.write(content_name(sha256), data)
    except FileExistsError:
        pass
    return sha256


def _pending(storage: Storage, catalogue: CatalogueWriter, target_ids: set[str]) -> list[_Pending]:
    """Return the messages of some conversations whose attachments have neither been stored nor failed for good."""
    entries = parquet.dataset(storage, catalogue.state.files_of("attachments"), parquet.ATTACHMENTS)
    done = set(entries.to_table(["message_id"], filter=ds.field("final"))["message_id"].to_pylist())
    of_targets = ds.field("target_id").isin(pa.array(sorted(target_ids), pa.string()))
    has_file = ds.field("type").isin(_TYPES) & ds.field("url").is_valid() & ds.field("gone_at").is_null()
    messages = parquet.dataset(storage, catalogue.state.files_of("messages"), parquet.MESSAGES)
    table = messages.to_table(["message_id", "target_id", "time"], filter=of_targets & has_file)
    columns = (table["message_id"].to_pylist(), table["target_id"].to_pylist(), parquet.milliseconds(table["time"]))
    return [
        _Pending(message_id, target_id, int(time))
        for message_id, target_id, time in zip(*columns, strict=True)
        if message_id not in done
    ]


def _commit_entries(storage: Storage, catalogue: CatalogueWriter, entries: Sequence[dict[str, Any]]) -> None:
    """Write rows of the table `attachments`; they replace earlier rows of the same messages."""
    table = pa.Table.from_pylist(list(entries), schema=parquet.ATTACHMENTS)
    added: list[StoredFile] = []
    removed: list[StoredFile] = []
    for day, new in parquet.split_by_day(table):
        files_of_day = [file for file in catalogue.state.files_of("attachments") if file.day == day]
        old = parquet.read(storage, files_of_day, parquet.ATTACHMENTS)
        kept = old.filter(pc.invert(pc.is_in(old["message_id"], new["message_id"].combine_chunks())))
        added += parquet.write(storage, "attachments", pa.concat_tables([kept, new]))
        removed += files_of_day
    catalogue.commit(Commit(tuple(added), tuple(file.name for file in removed)))


def contents_without_row(storage: Storage, state: State) -> list[str]:
    """Return the stored files that no row of the table `attachments` names: a killed writer has left them.

    While another process syncs, they may be files whose rows it has not committed yet.
    """
    table = parquet.dataset(storage, state.files_of("attachments"), parquet.ATTACHMENTS).to_table(["sha256"])
    known = set(map(content_name, pc.unique(table["sha256"].drop_null()).to_pylist()))
    return [name for name in storage.names("attachments") if _CONTENT_NAME.fullmatch(name) and name not in known]
