"""How what was read goes into the files: new rows, other versions of known ones, and marks on what is gone.

The files of `messages` never hold a message twice, so DuckDB, Dask or pandas can be pointed at them as they are, with
nothing to de-duplicate. A message that reads differently now (edited, reacted to, recalled) has its file rewritten, and
the earlier version goes to `versions`. That is cheap, because only recent days are ever read again: `sync` looks back
two days unless told otherwise, and of a file that is looked at most rows turn out to be the same. The alternative,
appending versions and having each reader pick the newest, would put a window function over the whole archive in front
of every question, for ever.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imkit.archive import parquet
from imkit.archive.catalogue import Commit, Conversation, Ledger, StoredFile
from imkit.archive.storage import Storage
from imkit.history.columns import SCHEMA, TIME
from imkit.history.time_ranges import Range


@dataclass(frozen=True, slots=True)
class Reread:
    """A conversation of which some ranges have been read again, to their end.

    Args:
        ranges: which; in ms since the epoch, both ends included.
        keys: what was found in them, as `parquet.keys` tells them apart.
    """

    ranges: tuple[Range, ...]
    keys: frozenset[str]


@dataclass(slots=True)
class Folded:
    """What a fold has done: rows that are new, that read differently, that are gone."""

    added: int = 0
    changed: int = 0
    gone: int = 0


def fold(
    storage: Storage,
    ledger: Ledger,
    fresh: Sequence[pa.Table],
    again: Sequence[pa.Table],
    reread: Mapping[str, Reread],
    conversations: Iterable[Conversation],
    now: int,
    *,
    written: Iterable[StoredFile] = (),
    app_key: str = "",
) -> Folded:
    """Put rows into the archive, with what is known of their conversations, all at once.

    Args:
        storage: the archive's; its lock is held.
        ledger: the catalogue.
        fresh: rows that no file has, because they lie where nothing was read before.
        again: rows of which a file may have an earlier version.
        reread: conversations in which rows that were not found again are gone.
        conversations: how far each has been read now.
        now: in ms since the epoch.
        written: files of fresh rows that are written already.
        app_key: whose messages these are.
    """
    written = list(written)
    done = Folded(added=sum(file.rows for file in written))
    added, removed = written, []
    new = list(fresh)
    if again or reread:
        known = _distinct(pa.concat_tables(again)) if again else parquet.MESSAGES.empty_table()
        found = np.zeros(known.num_rows, dtype=bool)
        for file in _touched(ledger, known, reread):
            table = parquet.read(storage, [file])
            change = _compare(table, known, reread, found)
            if change is not None:
                replaced, gone = change
                added += _rewrite(storage, file, table, known, replaced, gone, now)
                removed.append(file.name)
                done.changed += int((replaced >= 0).sum())
                done.gone += int(gone.sum())
        if not found.all():
            new.append(known.filter(pa.array(~found)))
    if new:
        for day, table in parquet.by_day(pa.concat_tables(new)):
            added.append(parquet.write(storage, "messages", day, table))
            done.added += table.num_rows
    commit = Commit(tuple(added), tuple(removed), tuple(conversations), app_key)
    if commit != Commit():
        ledger.commit(commit)
    return done


def _distinct(table: pa.Table) -> pa.Table:
    """Return the rows with each message once; what has no id may have come twice."""
    keys = parquet.keys(table).combine_chunks()
    first = pc.index_in(keys, value_set=pc.unique(keys))
    _, positions = np.unique(np.asarray(first), return_index=True)
    return table.take(pa.array(np.sort(positions))) if len(positions) < table.num_rows else table


def _touched(ledger: Ledger, known: pa.Table, reread: Mapping[str, Reread]) -> list[StoredFile]:
    """Return the files that may hold an earlier version of a row, or a row that is gone."""
    times = np.unique(parquet.milliseconds(known["time"]))
    ranges = [each for one in reread.values() for each in one.ranges]

    def matters(file: StoredFile) -> bool:
        at = int(np.searchsorted(times, file.first))
        if at < len(times) and times[at] <= file.last:
            return True
        return any(first <= file.last and last >= file.first for first, last in ranges)

    return [file for file in ledger.state.of("messages") if matters(file)]


def _compare(
    table: pa.Table, known: pa.Table, reread: Mapping[str, Reread], found: np.ndarray[tuple[int], np.dtype[np.bool_]]
) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], np.ndarray[tuple[int], np.dtype[np.bool_]]] | None:
    """Say which rows of a file another version replaces (its place in `known`, or -1), and which are gone.

    Notes in `found` which rows of `known` the file has. `None` where nothing changes.
    """
    targets = pa.array(sorted({*pc.unique(known["target_id"]).to_pylist(), *reread}), pa.string())
    ours = np.asarray(pc.is_in(table["target_id"], value_set=targets))
    if not ours.any():
        return None
    keys = parquet.keys(table)
    place = np.asarray(pc.fill_null(pc.index_in(keys, value_set=parquet.keys(known).combine_chunks()), -1)).astype(
        np.int64
    )
    place[~ours] = -1
    matched = place >= 0
    found[place[matched]] = True
    replaced = np.full(table.num_rows, -1, dtype=np.int64)
    if matched.any():
        old, new = table.filter(pa.array(matched)), known.take(pa.array(place[matched]))
        differs = ~np.asarray(pc.is_null(old["gone_at"]))  # it is back
        for name in SCHEMA.names:
            differs |= _differ(old[name], new[name])
        replaced[matched] = np.where(differs, place[matched], -1)
    gone = np.zeros(table.num_rows, dtype=bool)
    if reread:
        standing = ours & ~matched & np.asarray(pc.is_null(table["gone_at"]))
        times = parquet.milliseconds(table["time"])
        for target_id, one in reread.items():
            for first, last in one.ranges:
                inside = standing & (times >= first) & (times <= last)
                if inside.any():
                    mine = inside & np.asarray(pc.equal(table["target_id"], target_id))
                    seen = pc.is_in(keys, value_set=pa.array(sorted(one.keys), pa.string()))
                    gone |= mine & ~np.asarray(seen)
    return (replaced, gone) if gone.any() or (replaced >= 0).any() else None


def _differ(one: pa.ChunkedArray, other: pa.ChunkedArray) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    same = pc.or_(pc.fill_null(pc.equal(one, other), False), pc.and_(pc.is_null(one), pc.is_null(other)))
    return ~np.asarray(same)


def _rewrite(
    storage: Storage,
    file: StoredFile,
    table: pa.Table,
    known: pa.Table,
    replaced: np.ndarray[tuple[int], np.dtype[np.int64]],
    gone: np.ndarray[tuple[int], np.dtype[np.bool_]],
    now: int,
) -> list[StoredFile]:
    """Write a file anew, and the versions of its rows that are replaced; return both."""
    moment = pa.scalar(now, TIME)
    marked = pc.if_else(pa.array(gone), moment, table["gone_at"])
    place = table.schema.get_field_index("gone_at")
    both = pa.concat_tables([table.set_column(place, "gone_at", marked), known])
    changed = replaced >= 0
    rows_now = np.where(changed, replaced + table.num_rows, np.arange(table.num_rows))
    written = []
    # A version may stand on another day than the one before: the service's word for the time of a message changed.
    for day, part in parquet.by_day(both.take(pa.array(rows_now))):
        written.append(parquet.write(storage, "messages", day, part))
    if changed.any():
        earlier = table.filter(pa.array(changed))
        earlier = earlier.append_column("superseded_at", pa.repeat(moment, earlier.num_rows)).cast(parquet.VERSIONS)
        for day, part in parquet.by_day(earlier):
            written.append(parquet.write(storage, "versions", day, part))
    return written
