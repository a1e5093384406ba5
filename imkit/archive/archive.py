"""`Archive`: the calls that a user makes on an archive."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from imkit.archive import catalogue
from imkit.archive.catalogue import State
from imkit.archive.compact import compact
from imkit.archive.dask_frame import dask_frame
from imkit.archive.erase import EraseProgress, EraseReport, check_exists, erase, open_catalogue
from imkit.archive.live_log import live_table
from imkit.archive.read import (
    conversation_table,
    message_counts,
    ordered_rows,
    plain_frame,
    read_newest,
    source_of,
)
from imkit.archive.sql import run_sql
from imkit.archive.storage import archive_errors, storage_at
from imkit.archive.sync import sync
from imkit.archive.sync_plan import SyncTargets
from imkit.archive.sync_report import SyncReport
from imkit.archive.verify import Verification, verify
from imkit.archive.watch import Watch
from imkit.cards import card
from imkit.client.credentials import TokenSource
from imkit.client.roaming import Progress
from imkit.client.user_ids import user_id
from imkit.errors import ArchiveError, InvalidMessage
from imkit.escape import for_terminal
from imkit.history.arguments import Moment, query
from imkit.history.columns import SCHEMA
from imkit.history.fetch import MAX_WORKERS, WORKERS
from imkit.misuse import PublicObject, explained
from imkit.portal import blocking
from imkit.session import Session, checked_session
from imkit.threads import Group, Thread

if TYPE_CHECKING:
    import dask.dataframe as dd
    import pandas as pd

_LOCK_TIMEOUT = 10.0
LOOKBACK = timedelta(days=2)
_MILLISECOND = timedelta(milliseconds=1)


class Archive(PublicObject):
    """The messages of threads and groups on disk: Parquet files by UTC day, and a catalogue of what has been read.

    Making an `Archive` does no I/O. The first sync creates the folder.

    Args:
        path: a folder, or an fsspec URL such as ``"s3://bucket/archive"``.
        timeout: how long a writer waits for another writer, in seconds.

    Raises:
        ArchiveError: the URL needs a package that is not installed.

    Example:
        ```python
        archive = imkit.Archive("community")
        archive.sync(session, session.groups())
        archive.frame(since="2026-11-01").groupby("sender").size()
        archive.sql("select sender, count(*) as n from messages group by sender order by n desc")
        ```
    """

    @explained
    def __init__(self, path: str | os.PathLike[str], *, timeout: float = _LOCK_TIMEOUT) -> None:
        self._storage = storage_at(path)
        self._path = os.fspath(path)
        self._timeout = timeout

    @property
    def path(self) -> str:
        """The folder or URL of the archive."""
        return self._storage.place

    # --------------------------------------------------------------- writing

    @blocking
    async def sync(
        self,
        session: Session,
        of: SyncTargets,
        *,
        since: Moment | None = None,
        lookback: timedelta = LOOKBACK,
        attachments: bool = False,
        progress: Progress | None = None,
        workers: int = WORKERS,
        client: Any = None,
        token: TokenSource | None = None,
    ) -> SyncReport:
        """Fetch what is new from the service, and write it into the archive.

        Messages that the archive has are not fetched again. Threads without new messages cost one request for each 20
        of them. If a thread no longer exists, or this user may not read it, the report says so, the archive keeps its
        messages, and the sync goes on with the others. Only members of a thread may read it: give
        ``session.threads()`` as `of` to sync only the threads that the user has joined.

        What has come is committed at least every 15 seconds; over Dask workers, whenever one of their tasks ends. After
        an interruption (the stop button, a kill, a full disk, a lost connection), the next sync goes on from there.

        The recent past, as far back as `lookback`, is read again in conversations that were active in it. An edited
        message gets its new text, and the earlier version goes to ``versions``. A message that the service no longer
        has is marked, and nothing is deleted. Changes of older messages are not seen.

        Args:
            session: the login that reads.
            of: a session (all its groups), a group (its own messages and all its threads), a thread, or an iterable
                of groups and threads.
            since: start of the first sync: an aware datetime, a date (its local midnight) or an ISO string.
            lookback: how much of the recent past is read again; ``timedelta(0)`` for none. Keep it shorter than the
                time for which the service keeps messages.
            attachments: whether to fetch the attached files too, before they expire.
            progress: called with the number of messages that have come, and an estimate of the total or `None`.
            workers: number of requests at once, from 1 to 64; with `client`, of each Dask worker.
            client: a `distributed.Client`. Its workers then do the reading and share the app's rate limit. Each worker
                must reach the archive at the same path or URL.
            token: with `client` and a real app: a function that fetches a token for the session's user from your app
                server. The function is sent to the workers; no session, password or token is.

        Returns:
            What the sync has found and done.

        Raises:
            ArchiveLocked: another process writes to the archive, for longer than the archive's `timeout`.
            ArchiveError: the archive cannot be written, for example because the disk is full.
            InvalidMessage: an argument is out of bounds, or the archive holds the messages of another app.
            IMError: the service could not be reached, or refused. What came before that is kept.

        Example:
            >>> report = archive.sync(alice, group)
            >>> report.reasons
            []

        Source: docs/protocol.md#roaming-history, docs/protocol.md#thread-calls.
        """
        if not isinstance(workers, int) or not 1 <= workers <= MAX_WORKERS:
            raise InvalidMessage(f"workers must be a number from 1 to {MAX_WORKERS}, not {workers!r:.40}")
        if not isinstance(lookback, timedelta) or lookback < timedelta(0):
            raise InvalidMessage("lookback must be a timedelta, 0 or more", hint="timedelta(days=2), for example")
        account = checked_session(session).account
        account.check_open()
        if client is not None and token is None and not account.app.is_sandbox:
            hint = "Each Dask worker logs in itself: give token= a function that asks your app server."
            raise InvalidMessage("a sync over Dask workers needs a token function", hint=hint)
        if token is not None and not callable(token):
            raise InvalidMessage("token must be a function: a token itself would be sent to the workers")
        return await sync(
            account,
            self._storage,
            of,
            path=self._path,
            since=query(since).since,
            lookback=lookback // _MILLISECOND,
            with_attachments=attachments,
            workers=workers,
            progress=progress,
            timeout=self._timeout,
            client=client,
            token=token,
        )

    def watch(self, session: Session) -> Watch:
        """Log edits and recalls while the session sees them, until ``.close()`` of the returned object.

        The service's history no longer has a recalled message, but a session that was logged in has seen it. Read the
        log with ``archive.live()``, or in SQL as ``live``. Nothing is logged unless this is called.

        Events that come while a file is being written go into the next file together, so the log keeps up. If it cannot
        be written (the disk is full), the session goes on, and the log waits and tries again. If events are missed
        after all, an entry "missed" says from when to when and how many, and the next sync reads that time again.

        Args:
            session: the login whose events are logged. It sees the messages of the groups and threads it has joined.

        Returns:
            The log: `count` is the number of events written, `failure` says why it cannot be written; ``with`` closes
            it too.

        Example:
            >>> with archive.watch(alice) as log:
            ...     log.count
            0
        """
        return Watch(self._storage, checked_session(session))

    def compact(self) -> int:
        """Merge the small files of each day, and return by how many files there are fewer.

        A sync does this by itself for days with many files. A compacted archive is about as small as one file with all
        its messages would be. The merged files stay for about 10 minutes in the folder ``replaced``, for readers that
        still use them; a later sync or `compact` deletes them.

        Raises:
            ArchiveLocked: another process writes to the archive.
            ArchiveError: the archive cannot be read or written.

        Example:
            >>> _ = archive.sync(alice, group)
            >>> _ = archive.compact()
            >>> archive.compact()
            0
        """
        with archive_errors(self._storage, "written"), self._storage.writing(self._timeout):
            return compact(self._storage, open_catalogue(self._storage), at_least=2)

    def erase(self, user: str, *, texts: bool = False, progress: EraseProgress | None = None) -> EraseReport:
        """Remove a person from the archive, so that its files hold no trace of them (个人信息保护法).

        Removed are the person's messages, with earlier versions, entries of the live log and attached files. From the
        messages of others, these are removed: reactions and mentions of the person, quotes of the person's messages,
        bundles that hold them, and files that were forwarded. In their place stands ``(erased)``. The words of others
        stay as they are, unless `texts` is given.

        An erase that is interrupted is not undone: `verify` reports it, and the next erase, sync or `compact` finishes
        it. Until then one file of the archive holds the user id. A second erase of the same person is the test of the
        first one: it removes 0 messages.

        The archive does not remember whom it has forgotten. So a later sync brings back what the service still has of
        the times that it reads, the last two days among them: delete the person's messages at the service first.
        Readers that began before the erase still see what they have read. Copies are out of reach: backups, snapshots
        of a file system, earlier versions of objects in a bucket, files that you exported.

        Args:
            user: the user id; upper and lower case are the same.
            texts: whether the id is also replaced in the words of others, in names of threads and in names of files,
                where it stands as a word. This also changes ``ann-marie`` if the id is ``ann``.
            progress: called with the number of messages that have been checked, and how many there are.

        Returns:
            What was removed, and in how many texts of others the id still stands.

        Raises:
            InvalidMessage: this is not a user id.
            ArchiveLocked: another process writes to the archive.
            ArchiveError: there is no archive, or it cannot be read or written. Then call `erase` again when the reason
                is gone.

        Example:
            >>> report = archive.erase("alice")
            >>> report.rows_removed > 0, archive.erase("alice").rows_removed
            (True, 0)

        Source: docs/protocol.md#rest-transport.
        """
        user = user_id(user)
        with archive_errors(self._storage, "read"):
            check_exists(self._storage)
        with archive_errors(self._storage, "written"), self._storage.writing(self._timeout):
            return erase(self._storage, user, texts, progress)

    def unlock(self) -> None:
        """Remove the lock that a killed writer has left on an object store.

        Call this only when no writer is alive. On a folder it does nothing: a folder's lock ends with its process.

        Example:
            >>> archive.unlock()
        """
        with archive_errors(self._storage, "written"):
            self._storage.unlock()

    # --------------------------------------------------------------- reading

    def frame(
        self,
        since: Moment | None = None,
        until: Moment | None = None,
        *,
        thread: Thread | Group | str | Iterable[Thread | Group | str] | None = None,
        columns: Sequence[str] | None = None,
        gone: bool = False,
    ) -> pd.DataFrame:
        """Return messages as a history frame, like that of `history()`, but from the disk.

        Only the days, columns and row groups that are needed are read.

        Args:
            since: start, included: an aware datetime, a date (its local midnight) or an ISO string; naive means local.
            until: end, excluded; the same types.
            thread: a thread, a group (its own messages), an id, or a list of them; `None` for all.
            columns: names of columns; `None` for all columns of a history frame.
            gone: whether to include messages that the service no longer has, with a column ``gone_at`` (datetime64[ms,
                UTC], NA for the others) that says since when.

        Returns:
            A history frame, ordered by time. ``frame.attrs["imkit"]`` says which conversations and range it holds, and
            whether the archive has all of it (``complete``).

        Raises:
            InvalidMessage: an argument is out of bounds.

        Example:
            >>> frame = archive.frame(since="2026-11-01", columns=["time", "sender"])
            >>> list(frame.columns)
            ['time', 'sender']
        """
        from imkit.history.frames import frame_of_table

        wanted = query(since, until)
        target_ids = _target_ids(thread)
        names = _column_names(columns, SCHEMA.names)

        def read(state: State) -> pd.DataFrame:
            table = ordered_rows(
                self._storage,
                state,
                since=wanted.since,
                until=wanted.until,
                target_ids=target_ids,
                columns=[*names, *(["gone_at"] if gone else [])],
                gone=gone,
            )
            source = source_of(state, target_ids, wanted.since, wanted.until, table.num_rows)
            return frame_of_table(table, source)

        return read_newest(self._storage, read)

    def sql(
        self,
        query: str,
        parameters: Sequence[object] | dict[str, object] | None = None,
        *,
        external_access: bool = False,
    ) -> pd.DataFrame:
        """Run a SELECT with DuckDB on the archive, and return a DataFrame.

        | view | one row for each |
        |---|---|
        | `messages` | message that is not gone: the columns of a history frame, `target_id`, `fetched_at`, `day` |
        | `all_messages` | message, also those that are gone from the service: the same and `gone_at` |
        | `versions` | earlier version of an edited message: the same and `superseded_at` |
        | `threads` | thread and group: `target_id`, `kind`, `name`, `group_id`, `status`, `complete`, `newest_at`, … |
        | `attachments` | attachment: `sha256`, `size`, `file_name`, or the `reason` why it could not be fetched |
        | `live` | logged edit or recall: `event`, `at`, `operator`, `text`, `seconds_after`; or `missed` events |

        `day` is the UTC day. With a condition on it, DuckDB opens only the files of those days. Times are in UTC.

        A query can read this archive, and nothing else: no other file, no network, no extension. It cannot write. The
        stop button ends a query that takes too long.

        Args:
            query: one SELECT.
            parameters: values for ``?`` or ``$name`` in the query.
            external_access: whether the query may be any statement, and do all that DuckDB can do: read and write any
                file, use the network, load extensions. Only for a query that you trust.

        Raises:
            ArchiveError: a file is damaged or cannot be read.
            InvalidMessage: the query is not one SELECT, or DuckDB refuses it.

        Example:
            >>> frame = archive.sql("select day, count(*) as n from messages group by day")
            >>> list(frame.columns)
            ['day', 'n']
        """

        def read(state: State) -> pd.DataFrame:
            return run_sql(self._storage, state, query, parameters, external_access)

        return read_newest(self._storage, read)

    def dask(
        self,
        since: Moment | None = None,
        until: Moment | None = None,
        *,
        columns: Sequence[str] | None = None,
        gone: bool = False,
    ) -> dd.DataFrame:
        """Return a Dask DataFrame on the archive's files, for more messages than fit into memory.

        Each file is one partition. The rows have no order, and texts are strings, not categories.

        Args:
            since: start, included, as for `frame`.
            until: end, excluded.
            columns: names of columns; `None` for all columns of a history frame and ``target_id``.
            gone: whether to include messages that the service no longer has, with the column ``gone_at``.

        Raises:
            ArchiveError: the catalogue is damaged or cannot be read.
            InvalidMessage: an argument is out of bounds.

        Example:
            >>> messages = archive.dask(columns=["sender"])
            >>> len(messages) == len(archive.frame())
            True
        """
        wanted = query(since, until)
        names = _column_names(columns, [*SCHEMA.names, "target_id"])
        return dask_frame(
            self._path,
            catalogue.load(self._storage),
            since=wanted.since,
            until=wanted.until,
            columns=names,
            gone=gone,
        )

    def threads(self) -> pd.DataFrame:
        """Return a row for each thread and group in the archive.

        Returns:
            Columns ``target_id``, ``kind`` ("thread" or "group"), ``name``, ``group_id``, ``status`` ("ok", "vanished"
            or "forbidden"), ``status_since``, ``complete`` (whether everything has been read), ``newest_id``,
            ``newest_at``, ``synced_at``, ``messages`` (how many the archive has).

        Example:
            >>> _ = archive.sync(alice, group)
            >>> group.id in set(archive.threads()["target_id"])
            True
        """

        def read(state: State) -> pa.Table:
            table = conversation_table(state)
            counts = message_counts(self._storage, state)
            column = pa.array([counts.get(target_id, 0) for target_id in table["target_id"].to_pylist()], pa.int64())
            return table.append_column("messages", column)

        return plain_frame(read_newest(self._storage, read))

    def live(self) -> pd.DataFrame:
        """Return the edits and recalls that `watch` has logged, the oldest first.

        A row with the ``event`` "missed" says that the log lacks ``missed`` events between ``since`` and ``at``.

        Example:
            >>> list(archive.live().columns[:4])
            ['event', 'at', 'operator', 'message_id']
        """
        with archive_errors(self._storage, "read"):
            return plain_frame(live_table(self._storage))

    def files(self) -> list[str]:
        """Return the paths or URLs of the message files, for other readers of Parquet.

        Together they hold each message once. ``gone_at`` is not null in messages that the service no longer has. A
        later sync may merge a file into another one and remove it.

        Example:
            ```python
            polars.scan_parquet(archive.files())
            ```
        """
        with archive_errors(self._storage, "read"):
            state = catalogue.load(self._storage)
            return self._storage.locations(file.name for file in state.files_of("messages"))

    def verify(self) -> Verification:
        """Read the whole archive, and say what is wrong with it.

        Wrong are damaged or missing files and messages that are stored twice. Notes name conversations that have not
        been read completely, and files that a killed writer has left.

        Returns:
            What was found; ``ok`` is true if nothing is wrong.

        Example:
            >>> archive.verify().ok
            True
        """
        with archive_errors(self._storage, "read"):
            return verify(self._storage)

    # --------------------------------------------------------------- display

    def _facts(self) -> list[str]:
        """Return how large the archive is. This reads the catalogue: a few small files."""
        try:
            state = catalogue.load(self._storage)
        except ArchiveError as error:  # to show an object must not fail: a traceback of objects shows them too
            return [f"cannot be read: {error}"]
        files = state.files_of("messages")
        if not state.number:
            return ["empty"]
        count = sum(file.rows for file in files)
        days = [f"{files[0].day} to {files[-1].day}"] if files else []
        size = sum(file.size for file in state.files.values())
        return [f"{count:,} messages of {len(state.conversations):,} conversations", *days, f"{size / 1e6:,.1f} MB"]

    def __repr__(self) -> str:
        return f"<Archive {for_terminal(self.path)}: {for_terminal(', '.join(self._facts()))}>"

    def _repr_html_(self) -> str:
        return card("Archive", PurePath(self.path).name or self.path, [self.path, *self._facts()])


def _target_ids(thread: object) -> list[str] | None:
    """Return the conversation ids that the argument `thread` of `Archive.frame` names; `None` for all."""
    if thread is None:
        return None
    targets = [thread] if isinstance(thread, Thread | Group | str) else thread
    if not isinstance(targets, Iterable):
        raise InvalidMessage(
            f"a {type(thread).__name__} is not a thread", hint="Give a thread, a group, an id, or a list of them."
        )
    ids = []
    for target in targets:
        if not isinstance(target, Thread | Group | str):
            raise InvalidMessage(f"a {type(target).__name__} is not a thread", hint="Give a thread, a group or an id.")
        ids.append(target if isinstance(target, str) else target.id)
    return list(dict.fromkeys(ids))


def _column_names(columns: Sequence[str] | None, known: Sequence[str]) -> list[str]:
    """Return the names of the wanted columns, each once.

    Raises:
        InvalidMessage: a name is unknown, or `columns` is not a list.
    """
    if columns is None:
        return list(known)
    if isinstance(columns, str):
        raise InvalidMessage(f'columns must be a list, such as ["{columns:.40}"]')
    for name in columns:
        if name not in known:
            raise InvalidMessage(f"{name!r:.60} is not a column", hint=f"The columns are {', '.join(known)}.")
    return list(dict.fromkeys(columns))
