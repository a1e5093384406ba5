"""`Archive.dask`: a Dask DataFrame on the archive's files, one partition for each file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imkit.archive import parquet
from imkit.archive.catalogue import State, StoredFile
from imkit.archive.read import files_in_range, plain_frame, row_filter
from imkit.archive.storage import archive_errors, storage_at
from imkit.errors import ArchiveError

if TYPE_CHECKING:
    import dask.dataframe as dd
    import pandas as pd


def dask_frame(
    path: str,
    state: State,
    *,
    since: int | None,
    until: int | None,
    columns: Sequence[str],
    gone: bool,
) -> dd.DataFrame:
    """Return a Dask DataFrame on the files, one partition for each.

    Dask's own `read_parquet` would read all files in the folder. Here the catalogue says which files count, and rows
    with `gone_at` can be left out.

    Args:
        path: the archive's path or URL, which must lead a Dask worker to the same place.
        state: the archive's state.
        since: in ms since the epoch, included.
        until: in ms since the epoch, excluded.
        columns: names of the columns; Dask reads only those that a computation needs.
        gone: whether rows of messages that are gone are included, with the column `gone_at`.
    """
    import dask.dataframe as dd

    names = [*columns, *(["gone_at"] if gone else [])]
    meta = plain_frame(parquet.MESSAGES.empty_table().select(names))
    files = files_in_range(state, "messages", since, until)
    if not files:
        empty: dd.DataFrame = dd.from_pandas(meta, npartitions=1)
        return empty
    frame: dd.DataFrame = dd.from_map(DaskPart(path, tuple(names), since, until, gone), files, meta=meta)
    return frame


@dataclass(frozen=True)
class DaskPart:
    """Reads the rows of one file, in any process; the fields are the arguments of `dask_frame`."""

    path: str
    names: tuple[str, ...]
    since: int | None
    until: int | None
    gone: bool

    def __call__(self, file: StoredFile, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return the rows; `columns` are those that Dask found to be needed."""
        names = list(self.names if columns is None else columns)
        storage = storage_at(self.path)
        with archive_errors(storage, "read"):
            try:
                rows = parquet.dataset(storage, [file], parquet.MESSAGES)
                return plain_frame(rows.to_table(names, filter=row_filter(self.since, self.until, None, self.gone)))
            except FileNotFoundError as error:
                what = f"{file.name} of the archive {storage.place} is missing, or was merged since dask() was called"
                raise ArchiveError(what, hint="Call archive.dask() again for the present files.") from error
