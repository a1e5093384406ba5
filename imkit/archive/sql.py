"""`Archive.sql`: one SELECT over the archive's files, run by DuckDB.

A query may come from a stranger: a notebook, a colleague, a language model. So DuckDB runs locked, in three ways:

- It may open only the files of the archive, and nobody can change that. But DuckDB may also write to a file that it may
  open.
- So the query must be one SELECT, in its whole syntax tree: since DuckDB 2 a WITH may contain COPY, INSERT or DELETE,
  and the type of the statement is still SELECT.
- Some table functions run other statements, or read memory at an address in the query. So only those of
  `TABLE_FUNCTIONS` may be called.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from functools import partial
from threading import Thread
from typing import TYPE_CHECKING, Any

from pyarrow import fs as arrow

from imkit.archive import parquet
from imkit.archive.catalogue import State, TableName
from imkit.archive.live_log import live_table
from imkit.archive.read import conversation_table
from imkit.archive.storage import ArrowFiles, Storage
from imkit.errors import ArchiveError, InvalidMessage

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

_GLOB_CHARACTERS = frozenset("*?[{")
_VIEWS = "The views are messages, all_messages, versions, threads, attachments and live; try DESCRIBE messages."
_ONE_SELECT = "sql() takes one SELECT (also WITH, FROM, DESCRIBE, SUMMARIZE, EXPLAIN)"
_OPEN_HINT = "sql() only reads an archive. For a query that you trust with all your files: external_access=True."
# The parts of a syntax tree that only read.
_READING_NODES = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})
TABLE_FUNCTIONS = frozenset({"range", "generate_series", "unnest", "repeat", "json_each", "json_tree"})
_WAKE_SECONDS = 0.5  # Windows sees an interrupt only between two waits
_EXPLAIN = re.compile(r"\s*EXPLAIN(\s+ANALYZE\b|\s*\([\w\s,]*\))?", re.IGNORECASE)


def run_sql(
    storage: Storage,
    state: State,
    query: str,
    parameters: Sequence[object] | dict[str, object] | None,
    external_access: bool,
) -> pd.DataFrame:
    """Run one SELECT over the views of the archive, and return a DataFrame.

    Args:
        storage: the archive's storage.
        state: the archive's state.
        query: the SELECT.
        parameters: values for it.
        external_access: whether the query may be any statement, with all that DuckDB can do.

    Raises:
        ArchiveError: a file cannot be read.
        InvalidMessage: the query is not one SELECT, or DuckDB refuses it.
        FileNotFoundError: a writer has deleted a file of this state.
    """
    import duckdb

    if not isinstance(query, str):
        raise InvalidMessage(f"a {type(query).__name__} is not a query", hint=_VIEWS)

    def run(by_path: bool) -> pd.DataFrame:
        with duckdb.connect(config={"python_enable_replacements": False}) as database:
            answer = partial(_answer, database, storage, state, query, parameters, external_access, by_path)
            return _interruptible(database, answer)

    try:
        query.encode()
    except UnicodeEncodeError:
        raise InvalidMessage("the query holds half a character (a lone surrogate)", hint=_VIEWS) from None
    try:
        if _readable_by_path(storage, state):
            with contextlib.suppress(*() if external_access else (duckdb.IOException,)):
                return run(by_path=True)
            # A writer has replaced a file meanwhile. `Storage.open` finds it, or tells what is wrong with it.
        return run(by_path=False)
    except duckdb.IOException as error:
        raise ArchiveError(f"the archive {storage.place} cannot be read: {error}") from error


def _answer(
    database: duckdb.DuckDBPyConnection,
    storage: Storage,
    state: State,
    query: str,
    parameters: Sequence[object] | dict[str, object] | None,
    external_access: bool,
    by_path: bool,
) -> pd.DataFrame:
    """Run the query; `by_path`: DuckDB opens the files itself, which is faster than pyarrow.

    Raises:
        duckdb.IOException: a file cannot be read.
    """
    import duckdb

    failures: list[Exception] = []
    try:
        if not external_access:
            _check_only_reads(database, query)
    except duckdb.Error as error:
        raise InvalidMessage(str(error), hint=_VIEWS) from error
    try:
        database.execute("SET TimeZone = 'UTC'")
        for kind in parquet.SCHEMAS:
            _create_view(database, storage, state, kind, None if by_path else ArrowFiles(storage, failures))
        database.execute("CREATE VIEW messages AS SELECT * EXCLUDE gone_at FROM all_messages WHERE gone_at IS NULL")
        database.register("threads", conversation_table(state))
        database.register("live", live_table(storage))
        if not external_access:
            _lock(database, storage, state, by_path)
    except duckdb.IOException:
        raise
    except duckdb.Error as error:
        raise ArchiveError(f"the archive {storage.place} cannot be read: {error}") from error
    try:
        answer: pd.DataFrame = database.execute(query, parameters).df()
        answer.attrs["imkit"] = {}  # so that a notebook typesets nothing in it: `imkit.history.summary`
        return answer
    except duckdb.IOException:
        raise
    except Exception as error:  # also of pybind11, of pandas, and of the parameters themselves
        if failures:
            raise failures[0] from error
        if by_path and not all(map(os.path.exists, storage.locations(state.files))):
            # DuckDB says of a file that a writer has just set aside that the query may not read it.
            raise duckdb.IOException(str(error)) from error
        hint = _OPEN_HINT if isinstance(error, duckdb.PermissionException) else _VIEWS
        # DuckDB quotes what messages hold, also what controls a terminal; a traceback would print its error as it is.
        raise InvalidMessage(str(error), hint=hint) from None


def _interruptible(database: duckdb.DuckDBPyConnection, answer: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """Call a function that uses DuckDB in a thread, so that an interrupt (the stop button) ends it at once.

    In the main thread DuckDB 2.0 does not see an interrupt during some queries, and raises a RuntimeError after others.
    """
    work: Future[pd.DataFrame] = Future()

    def run() -> None:
        if work.set_running_or_notify_cancel():
            try:
                work.set_result(answer())
            except BaseException as error:
                work.set_exception(error)

    try:
        Thread(target=run, name="imkit-sql", daemon=True).start()
        while not wait([work], _WAKE_SECONDS).done:
            pass
    finally:
        work.cancel()  # an interrupt may come at any moment, also before the thread has begun
        while not work.done():  # again, because DuckDB forgets one that comes before the query begins
            database.interrupt()
            wait([work], 0.01)
    return work.result()


def _readable_by_path(storage: Storage, state: State) -> bool:
    """Whether DuckDB can open all files itself.

    It knows no fsspec URLs, and reads each name as a glob pattern. A folder `sender=ann` above the archive would become
    the column of that name.
    """
    locations = storage.locations(state.files)
    return "=" not in storage.place and not any(
        "://" in location or _GLOB_CHARACTERS & set(location) for location in locations
    )


def _create_view(
    database: duckdb.DuckDBPyConnection, storage: Storage, state: State, kind: TableName, opener: ArrowFiles | None
) -> None:
    """Make the view of a table; `opener`: opens its files for pyarrow; `None`: DuckDB opens them."""
    files = state.files_of(kind)
    name = "all_messages" if kind == "messages" else kind
    if files and opener is None:
        paths = storage.locations(file.name for file in files)
        database.read_parquet(paths, hive_partitioning=True).create_view(name)
    else:
        filesystem = None if opener is None else arrow.PyFileSystem(opener)
        rows = parquet.dataset(storage, files, parquet.SCHEMAS[kind], filesystem=filesystem)
        database.register(f"{name}_files", rows)
        database.view(f"{name}_files").project("*, CAST(time AS DATE) AS day").create_view(name)


# -------------------------------------------------------------------- locked


def _lock(database: duckdb.DuckDBPyConnection, storage: Storage, state: State, by_path: bool) -> None:
    """Let DuckDB open only the files of the archive from now on."""
    # What does not fit into memory goes to a folder with a name that no query can hold: it is drawn for each query.
    # DuckDB makes it when it needs it.
    spill = os.path.abspath(f".imkit-sql-{secrets.token_hex(8)}")
    database.execute(f"SET temp_directory = {_quoted(spill)}")
    if by_path:
        paths = ", ".join(map(_quoted, storage.locations(state.files)))
        database.execute(f"SET allowed_paths = [{paths}]")
    for setting in (
        "autoinstall_known_extensions = false",
        "autoload_known_extensions = false",
        "allow_community_extensions = false",
        "allow_persistent_secrets = false",
        "enable_external_access = false",
        "lock_configuration = true",
    ):
        database.execute(f"SET {setting}")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _check_only_reads(database: duckdb.DuckDBPyConnection, query: str) -> None:
    """Check that a query is one SELECT, or EXPLAIN of one, and calls no table function that is not known to only read.

    Raises:
        InvalidMessage: it is not.
    """
    import duckdb

    explained = _EXPLAIN.match(query)
    statements = database.extract_statements(query)
    if len(statements) == 1 and statements[0].type == duckdb.StatementType.EXPLAIN and explained:
        query = query[explained.end() :]
        statements = database.extract_statements(query)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise InvalidMessage(_ONE_SELECT, hint=_OPEN_HINT)
    answer = database.execute("SELECT json_serialize_sql($query::VARCHAR)", {"query": query}).fetchone()
    tree = json.loads(answer[0]) if answer else {}
    if tree.get("error", True):
        raise InvalidMessage(_ONE_SELECT, hint=_OPEN_HINT)
    for node in _objects(tree):
        kind = str(node.get("type"))
        if kind.endswith("_NODE") and kind not in _READING_NODES:
            raise InvalidMessage(f"the query has a part that does not only read: {kind}", hint=_OPEN_HINT)
        if kind == "TABLE_FUNCTION" and (name := str(node["function"]["function_name"]).lower()) not in TABLE_FUNCTIONS:
            raise InvalidMessage(f"sql() does not call the table function {name:.60}", hint=_OPEN_HINT)


def _objects(tree: Any) -> Iterator[dict[str, Any]]:
    """Yield all objects of a JSON value."""
    waiting = [tree]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield value
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
