"""`Archive.sql`: one SELECT over the archive's files, run by DuckDB."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from imkit.archive import catalogue, parquet
from imkit.archive.catalogue import State, TableName
from imkit.archive.live_log import live_table
from imkit.archive.read import conversation_table
from imkit.archive.storage import INSTALL, Storage
from imkit.errors import ArchiveError, InvalidMessage

if TYPE_CHECKING:
    import pandas as pd

_GLOB_CHARACTERS = frozenset("*?[{")


def run_sql(
    storage: Storage, state: State, query: str, parameters: Sequence[object] | dict[str, object] | None
) -> pd.DataFrame:
    """Run one SELECT over the views of the archive, and return a DataFrame.

    Raises:
        ArchiveError: DuckDB is not installed, or a file cannot be read.
        InvalidMessage: the query is not one SELECT, or DuckDB refuses it.
        FileNotFoundError: a writer has removed a file of this state.
    """
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
            hint = "sql() only reads an archive and cannot change it."
            raise InvalidMessage("sql() takes one SELECT (also WITH, FROM, DESCRIBE, SUMMARIZE, EXPLAIN)", hint=hint)
        database.execute("SET TimeZone = 'UTC'")
        try:
            for kind in parquet.SCHEMAS:
                _create_view(database, storage, state, kind)
        except duckdb.Error as error:
            raise _read_error(error, storage, state) from error
        database.execute("CREATE VIEW messages AS SELECT * EXCLUDE gone_at FROM all_messages WHERE gone_at IS NULL")
        database.register("threads", conversation_table(state))
        database.register("live", live_table(storage))
        try:
            answer: pd.DataFrame = database.execute(statements[0], parameters).df()
            return answer
        except duckdb.IOException as error:
            raise _read_error(error, storage, state) from error
        except duckdb.Error as error:
            hint = (
                "The views are messages, all_messages, versions, threads, attachments and live; try DESCRIBE messages."
            )
            raise InvalidMessage(str(error), hint=hint) from error


def _create_view(database: Any, storage: Storage, state: State, kind: TableName) -> None:
    files = state.files_of(kind)
    name = "all_messages" if kind == "messages" else kind
    locations = storage.locations(file.name for file in files)
    if not files or any("://" in location or _GLOB_CHARACTERS & set(location) for location in locations):
        # DuckDB reads each name as a glob pattern, and does not know fsspec's URLs. pyarrow has neither limit.
        database.register(f"{name}_files", parquet.dataset(storage, files, parquet.SCHEMAS[kind]))
        relation = database.view(f"{name}_files").project("*, CAST(time AS DATE) AS day")
    else:
        relation = database.read_parquet(locations, hive_partitioning=True)
    relation.create_view(name)


def _read_error(error: Exception, storage: Storage, state: State) -> Exception:
    """Return the error to raise when DuckDB could not read a file."""
    if catalogue.load(storage).number != state.number:  # a writer may have removed it: the caller tries again
        return FileNotFoundError(str(error))
    return ArchiveError(str(error))
