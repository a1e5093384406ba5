"""Merging what was read from the service into the files: new rows, changed rows, and marks on rows that are gone.

The files of `messages` never hold a message twice, so DuckDB, Dask and pandas can read them as they are. When a message
differs from its stored version (it was edited, reacted to or recalled), its file is rewritten and the stored version
goes to `versions`. That is cheap, because only recent days are read again (two days by default), and most
of the rows read again are unchanged.

The alternative is to append every version and to let each reader choose the newest. Then every query would need a
window function over the whole archive.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from imkit.archive import parquet
from imkit.archive.catalogue import CatalogueWriter, Commit, ConversationState, StoredFile
from imkit.archive.storage import Storage
from imkit.history.batch_protobuf import BoolArray, IntArray
from imkit.history.columns import SCHEMA, TIME
from imkit.history.time_ranges import Range


@dataclass(frozen=True, slots=True)
class Reread:
    """The time ranges of one conversation that have been read again, completely.

    A stored message in these ranges that was not found again is gone.

    Args:
        ranges: in ms since the epoch, both ends included.
        keys: the messages found in them, as `parquet.row_keys` identifies them.
    """

    ranges: tuple[Range, ...]
    keys: frozenset[str]


@dataclass(slots=True)
class CommitBatch:
    """Rows that are committed together, and how far their conversations have been read with them.

    Args:
        new_rows: rows that no file holds.
        maybe_changed: rows of which a file may hold an earlier version.
        reread: conversation id → the ranges in which a stored row that was not found again is gone.
        conversations: the new state of each conversation.
        written: files of new rows that a Dask worker has written, and that are not part of the archive yet.
    """

    new_rows: list[pa.Table] = field(default_factory=list)
    maybe_changed: list[pa.Table] = field(default_factory=list)
    reread: dict[str, Reread] = field(default_factory=dict)
    conversations: dict[str, ConversationState] = field(default_factory=dict)
    written: list[StoredFile] = field(default_factory=list)


@dataclass(slots=True)
class MergeResult:
    """How many rows a merge has added, changed and marked as gone."""

    added: int = 0
    changed: int = 0
    gone: int = 0


@dataclass(frozen=True, slots=True)
class _Change:
    """The changes in one file.

    Args:
        replacement: for each row of the file, the index of the row that replaces it, or -1.
        gone: for each row of the file, whether it must be marked as gone.
    """

    replacement: IntArray
    gone: BoolArray

    @property
    def replaced(self) -> BoolArray:
        return self.replacement >= 0


def merge_batch(
    storage: Storage, catalogue: CatalogueWriter, batch: CommitBatch, now: int, app_key: str = ""
) -> MergeResult:
    """Put a batch into the archive, as one commit.

    Args:
        storage: the archive's storage; the caller holds its lock.
        catalogue: the writer of the archive's catalogue.
        batch: the rows, and the new state of their conversations.
        now: in ms since the epoch.
        app_key: the app that the messages belong to.
    """
    result = MergeResult()
    added, removed = [*batch.written], []
    rows_to_add = [*batch.new_rows]
    if batch.maybe_changed or batch.reread:
        candidates = _without_duplicates(batch.maybe_changed)
        is_stored = np.zeros(candidates.num_rows, dtype=bool)
        for file in _files_to_compare(catalogue, candidates, batch.reread):
            table = parquet.read(storage, [file])
            change = _compare(table, candidates, batch.reread, is_stored)
            if change is not None:
                added += _rewrite(storage, table, candidates, change, now)
                removed.append(file.name)
                result.changed += int(change.replaced.sum())
                result.gone += int(change.gone.sum())
        if not is_stored.all():
            rows_to_add.append(candidates.filter(pa.array(~is_stored)))
    result.added = sum(file.rows for file in batch.written) + sum(table.num_rows for table in rows_to_add)
    if rows_to_add:
        added += parquet.write(storage, "messages", pa.concat_tables(rows_to_add))
    commit = Commit(tuple(added), tuple(removed), tuple(batch.conversations.values()), app_key)
    if commit != Commit():
        catalogue.commit(commit)
    return result


def _without_duplicates(tables: Sequence[pa.Table]) -> pa.Table:
    """Return the rows of some tables, each message once: a message without an id may have come twice."""
    if not tables:
        return parquet.MESSAGES.empty_table()
    table = pa.concat_tables(tables)
    keys = parquet.row_keys(table).combine_chunks()
    key_numbers = pc.index_in(keys, value_set=pc.unique(keys))
    _, first_rows = np.unique(np.asarray(key_numbers), return_index=True)
    return table.take(pa.array(np.sort(first_rows))) if len(first_rows) < table.num_rows else table


def _files_to_compare(
    catalogue: CatalogueWriter, candidates: pa.Table, reread: Mapping[str, Reread]
) -> list[StoredFile]:
    """Return the files that may hold an earlier version of a candidate, or a row that is gone.

    An earlier version may have another time, because the service may change it. Then the id tells: ids grow with time
    (if they do not, this returns more files), so it adds files only for messages that were moved.
    """
    times = np.unique(parquet.milliseconds(candidates["time"]))
    ids = np.unique(parquet.message_numbers(candidates["message_id"]))
    ids = ids[ids > 0]  # a message without an id is only found by its time
    ranges = [each for one in reread.values() for each in one.ranges]

    def may_change(file: StoredFile) -> bool:
        if _any_between(times, file.first, file.last):
            return True
        if _any_between(ids, parquet.message_number(file.first_id), parquet.message_number(file.last_id)):
            return True
        return any(first <= file.last and last >= file.first for first, last in ranges)

    return [file for file in catalogue.state.files_of("messages") if may_change(file)]


def _any_between(numbers: npt.NDArray[Any], first: Any, last: Any) -> bool:
    """Whether one of the sorted numbers lies in a range, both ends included."""
    at = int(np.searchsorted(numbers, first))
    return at < len(numbers) and bool(numbers[at] <= last)


def _compare(
    table: pa.Table, candidates: pa.Table, reread: Mapping[str, Reread], is_stored: BoolArray
) -> _Change | None:
    """Find what changes in one file; `None` if nothing does.

    Args:
        table: the rows of the file.
        candidates: rows of which the file may hold an earlier version.
        reread: as in `CommitBatch`.
        is_stored: set to true here for each candidate that the file holds.
    """
    targets = pa.array(sorted({*pc.unique(candidates["target_id"]).to_pylist(), *reread}), pa.string())
    of_these = np.asarray(pc.is_in(table["target_id"], value_set=targets))
    if not of_these.any():
        return None
    keys = parquet.row_keys(table)
    candidate_keys = parquet.row_keys(candidates).combine_chunks()
    match = np.asarray(pc.fill_null(pc.index_in(keys, value_set=candidate_keys), -1)).astype(np.int64)
    match[~of_these] = -1
    is_stored[match[match >= 0]] = True
    change = _Change(
        _replacements(table, candidates, match),
        _gone_rows(table, keys, of_these & (match < 0), reread),
    )
    return change if change.gone.any() or change.replaced.any() else None


def _replacements(table: pa.Table, candidates: pa.Table, match: IntArray) -> IntArray:
    """Return `match` with -1 where the matching candidate is the same as the stored row.

    Args:
        table: the stored rows.
        candidates: the rows read now.
        match: for each stored row, the index of the candidate with the same key, or -1.
    """
    matched = match >= 0
    replacement = np.full(table.num_rows, -1, dtype=np.int64)
    if matched.any():
        stored, current = table.filter(pa.array(matched)), candidates.take(pa.array(match[matched]))
        changed = ~np.asarray(pc.is_null(stored["gone_at"]))  # marked as gone before, and the service has it again
        for name in SCHEMA.names:
            changed |= _differs(stored[name], current[name])
        replacement[matched] = np.where(changed, match[matched], -1)
    return replacement


def _differs(left: pa.ChunkedArray, right: pa.ChunkedArray) -> BoolArray:
    """Return in which rows two columns differ; NA equals NA."""
    same = pc.or_(pc.fill_null(pc.equal(left, right), False), pc.and_(pc.is_null(left), pc.is_null(right)))
    return ~np.asarray(same)


def _gone_rows(table: pa.Table, keys: pa.ChunkedArray, unmatched: BoolArray, reread: Mapping[str, Reread]) -> BoolArray:
    """Return which stored rows are gone: they lie in a range that was read again, and were not found there.

    Args:
        table: the stored rows.
        keys: their keys.
        unmatched: the rows that have no candidate with the same key.
        reread: as in `CommitBatch`.
    """
    gone = np.zeros(table.num_rows, dtype=bool)
    if not reread:
        return gone
    not_yet_marked = unmatched & np.asarray(pc.is_null(table["gone_at"]))
    times = parquet.milliseconds(table["time"])
    for target_id, one in reread.items():
        for first, last in one.ranges:
            inside = not_yet_marked & (times >= first) & (times <= last)
            if inside.any():
                of_target = np.asarray(pc.equal(table["target_id"], target_id))
                found_again = np.asarray(pc.is_in(keys, value_set=pa.array(sorted(one.keys), pa.string())))
                gone |= inside & of_target & ~found_again
    return gone


def _rewrite(storage: Storage, table: pa.Table, candidates: pa.Table, change: _Change, now: int) -> list[StoredFile]:
    """Write the rows of a file anew, and the versions that were replaced; return the new files.

    A new version may belong to another day than the old one, because the service may change the time of a message.
    """
    moment = pa.scalar(now, TIME)
    gone_at = pc.if_else(pa.array(change.gone), moment, table["gone_at"])
    marked = table.set_column(table.schema.get_field_index("gone_at"), "gone_at", gone_at)
    # In `both`, candidate i is row number table.num_rows + i.
    both = pa.concat_tables([marked, candidates])
    chosen = np.where(change.replaced, change.replacement + table.num_rows, np.arange(table.num_rows))
    written = parquet.write(storage, "messages", both.take(pa.array(chosen)))
    if change.replaced.any():
        replaced = table.filter(pa.array(change.replaced))
        superseded_at = pa.repeat(moment, replaced.num_rows)
        versions = replaced.append_column("superseded_at", superseded_at).cast(parquet.VERSIONS)
        written += parquet.write(storage, "versions", versions)
    return written
