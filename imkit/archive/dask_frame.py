"""`Archive.dask`: a Dask DataFrame on the archive's files, one partition each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imkit.archive import parquet
from imkit.archive.catalogue import State, StoredFile
from imkit.archive.read import chosen, condition, plain_frame
from imkit.archive.storage import INSTALL, storage_at
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
    """Return a Dask DataFrame on the files, one partition each.

    Not by Dask's own `read_parquet`: that goes by what the folder holds, and the catalogue says what counts; nor does
    it know of `gone_at`.

    Args:
        path: the archive's, as the workers are to open it.
        state: which files.
        since: in ms since the epoch.
        until: likewise, excluded.
        columns: which; columns that a computation does not need are not read.
        gone: with rows that are gone.
    """
    try:
        import dask.dataframe as dd
    except ImportError as error:
        raise ArchiveError("dask() needs Dask, which is not installed", hint=INSTALL) from error

    names = [*columns, *(["gone_at"] if gone else [])]
    meta = plain_frame(parquet.MESSAGES.empty_table().select(names))
    files = chosen(state, "messages", since, until)
    part = DaskPart(path, tuple(names), since, until, gone)
    found: dd.DataFrame = dd.from_map(part, files, meta=meta) if files else dd.from_pandas(meta, npartitions=1)
    return found


@dataclass(frozen=True)
class DaskPart:
    """Reads one file's rows, in whichever process it is called."""

    path: str
    names: tuple[str, ...]
    since: int | None
    until: int | None
    gone: bool

    def __call__(self, file: StoredFile, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return the rows; `columns` is what Dask has found out to be needed."""
        wanted = condition(self.since, self.until, None, self.gone)
        names = list(self.names if columns is None else columns)
        rows = parquet.dataset(storage_at(self.path), [file], parquet.MESSAGES)
        return plain_frame(rows.to_table(names, filter=wanted))
