"""`Archive.sql`: one SELECT over the archive's files, run by DuckDB."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from imkit.archive import catalogue, live_log, parquet
from imkit.archive.catalogue import Kind, State
from imkit.archive.read import conversations
from imkit.archive.storage import INSTALL, Storage
from imkit.errors import ArchiveError, InvalidMessage

if TYPE_CHECKING:
    import pandas as pd

_GLOB = frozenset("*?[{")


def run_sql(
    storage: Storage, state: State, query: str, parameters: Sequence[object] | dict[str, object] | None
) -> pd.DataFrame:
    """Run one SELECT over the views of the archive, and return a DataFrame."""
    try:
        import duckdb
    except ImportError as error:
        raise ArchiveError("sql() needs DuckDB, which is not installed", hint=INSTALL) from error

    with duckdb.connect(
        config={"python_enable_replacements": False, "autoinstall_known_extensions": False}
    ) as database:
        try:
            statements = database.extract_statements(query)
        except duckdb.Error as error:
            raise InvalidMessage(str(error)) from error
        if len(statements) != 1 or statements[0].type not in (
            duckdb.StatementType.SELECT,
            duckdb.StatementType.EXPLAIN,
        ):
            hint = "An archive is read by SQL, not changed."
            raise InvalidMessage("sql() takes one SELECT (also WITH, FROM, DESCRIBE, SUMMARIZE, EXPLAIN)", hint=hint)
        database.execute("SET TimeZone = 'UTC'")
        try:
            for kind in parquet.SCHEMAS:
                _view(database, storage, state, kind)
        except duckdb.Error as error:
            raise _unreadable(error, storage, state) from error
        database.execute("CREATE VIEW messages AS SELECT * EXCLUDE gone_at FROM all_messages WHERE gone_at IS NULL")
        database.register("threads", conversations(state))
        database.register("live", live_log.table(storage))
        try:
            found: pd.DataFrame = database.execute(statements[0], parameters).df()
            return found
        except duckdb.IOException as error:
            raise _unreadable(error, storage, state) from error
        except duckdb.Error as error:
            hint = (
                "The views are messages, all_messages, versions, threads, attachments and live; try DESCRIBE messages."
            )
            raise InvalidMessage(str(error), hint=hint) from error


def _view(database: Any, storage: Storage, state: State, kind: Kind) -> None:
    files = state.of(kind)
    name = "all_messages" if kind == "messages" else kind
    places = storage.locations(file.name for file in files)
    if not files or any("://" in place or _GLOB & set(place) for place in places):
        # DuckDB takes each name for a pattern, and knows no fsspec; pyarrow's scan does without either.
        database.register(f"{name}_files", parquet.dataset(storage, files, parquet.SCHEMAS[kind]))
        found = database.view(f"{name}_files").project("*, CAST(time AS DATE) AS day")
    else:
        found = database.read_parquet(places, hive_partitioning=True)
    found.create_view(name)


def _unreadable(error: Exception, storage: Storage, state: State) -> Exception:
    """Return what a file that DuckDB could not read comes to."""
    if catalogue.load(storage).number != state.number:  # a writer has merged it away
        return FileNotFoundError(str(error))
    return ArchiveError(str(error))
