"""Compacting an archive: the small files of a day are merged into few large ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from imkit.archive import parquet
from imkit.archive.catalogue import CatalogueWriter, Commit, StoredFile
from imkit.archive.storage import Storage


def compact(storage: Storage, catalogue: CatalogueWriter, at_least: int) -> int:
    """Merge the files of each day that has many, one day after another; return by how many files there are fewer.

    Args:
        storage: the archive's storage; the caller holds its lock.
        catalogue: the writer of the archive's catalogue.
        at_least: days with fewer files are left as they are.
    """
    saved = 0
    for kind, schema in parquet.SCHEMAS.items():
        days: defaultdict[str, list[StoredFile]] = defaultdict(list)
        for file in catalogue.state.files_of(kind):
            days[file.day].append(file)
        for files in days.values():
            if len(files) < max(at_least, 2):
                continue
            for small_files in _groups_to_merge(files):
                added = parquet.write(storage, kind, parquet.read(storage, small_files, schema))
                catalogue.commit(Commit(tuple(added), tuple(file.name for file in small_files)))
                saved += len(small_files) - len(added)
    if not saved and catalogue.state.retired:
        catalogue.commit(Commit())  # so that files that were merged earlier are deleted
    return saved


def _groups_to_merge(files: Sequence[StoredFile]) -> Iterator[list[StoredFile]]:
    """Yield groups of two or more files whose rows fit into one file, the smallest files first."""
    group: list[StoredFile] = []
    for file in sorted(files, key=lambda file: file.rows):
        if group and sum(each.rows for each in group) + file.rows > parquet.FILE_ROWS:
            if len(group) > 1:
                yield group
            group = []
        group.append(file)
    if len(group) > 1:
        yield group
