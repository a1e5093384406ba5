"""Compacting an archive: the small files of a day become one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from imkit.archive import parquet
from imkit.archive.catalogue import Commit, Ledger, StoredFile
from imkit.archive.storage import Storage


def compact(storage: Storage, ledger: Ledger, at_least: int) -> int:
    """Merge the files of each day that has many, one day after another; return how many files that has saved.

    Args:
        storage: the archive's; its lock is held.
        ledger: the catalogue.
        at_least: leave days alone that have fewer files.
    """
    saved = 0
    for kind, schema in parquet.SCHEMAS.items():
        days: defaultdict[str, list[StoredFile]] = defaultdict(list)
        for file in ledger.state.of(kind):
            days[file.day].append(file)
        for files in days.values():
            if len(files) < max(at_least, 2):
                continue
            for some in _fitting(files):
                merged = parquet.read(storage, some, schema)
                added = [parquet.write(storage, kind, day, table) for day, table in parquet.by_day(merged)]
                ledger.commit(Commit(tuple(added), tuple(file.name for file in some)))
                saved += len(some) - len(added)
    return saved


def _fitting(files: Sequence[StoredFile]) -> Iterator[list[StoredFile]]:
    """Yield the files that are to become one, smallest first, as long as one holds their rows."""
    some: list[StoredFile] = []
    for file in sorted(files, key=lambda file: file.rows):
        if some and sum(each.rows for each in some) + file.rows > parquet.FILE_ROWS:
            if len(some) > 1:
                yield some
            some = []
        some.append(file)
    if len(some) > 1:
        yield some
