"""`Archive`: what a user of an archive calls."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from imkit.archive import catalogue, live_log
from imkit.archive.catalogue import Ledger, State
from imkit.archive.compact import compact
from imkit.archive.dask_frame import dask_frame
from imkit.archive.live_log import Watch
from imkit.archive.read import conversations, counts, ordered_rows, plain_frame, retry_if_compacted, source_of
from imkit.archive.sql import run_sql
from imkit.archive.storage import storage_at
from imkit.archive.sync import sync
from imkit.archive.sync_plan import Wanted
from imkit.archive.sync_report import SyncReport
from imkit.archive.verify import Verification, verify
from imkit.cards import card
from imkit.client.credentials import TokenSource
from imkit.client.roaming import Progress
from imkit.errors import InvalidMessage
from imkit.escape import for_terminal
from imkit.history.arguments import Moment, query
from imkit.history.columns import SCHEMA
from imkit.history.fetch import MAX_WORKERS, WORKERS
from imkit.portal import blocking
from imkit.session import Session
from imkit.threads import Group, Thread

if TYPE_CHECKING:
    import dask.dataframe as dd
    import pandas as pd

_TIMEOUT = 10.0
LOOKBACK = timedelta(days=2)
_MILLISECOND = timedelta(milliseconds=1)


class Archive:
    """Threads and groups on disk: Parquet files by day, and a catalogue of how far each has been read.

    Making one does no I/O; the folder is there after the first sync.

    Args:
        path: a folder, or an fsspec URL such as ``"s3://bucket/archive"`` (`imkit.archive.storage` says what each
            guarantees).
        timeout: how many seconds a writer waits for another one.

    Raises:
        ArchiveError: the URL needs a package that is not installed.

    Example:
        ```python
        archive = imkit.Archive("community")
        archive.sync(reader, reader.groups())
        archive.frame(since="2026-11-01").groupby("sender").size()
        archive.sql("select sender, count(*) as n from messages group by sender order by n desc")
        ```
    """

    def __init__(self, path: str | os.PathLike[str], *, timeout: float = _TIMEOUT) -> None:
        self._path = os.fspath(path)
        self._storage = storage_at(path)
        self._timeout = timeout

    @property
    def path(self) -> str:
        """Where it is."""
        return self._storage.place

    # --------------------------------------------------------------- writing

    @blocking
    async def sync(
        self,
        session: Session,
        of: Wanted,
        *,
        since: Moment | None = None,
        lookback: timedelta = LOOKBACK,
        attachments: bool = False,
        progress: Progress | None = None,
        workers: int = WORKERS,
        client: Any = None,
        token: TokenSource | None = None,
    ) -> SyncReport:
        """Bring the archive up to date with the service.

        What is in the archive already is not fetched again. Threads that nobody has written to cost one request for
        each 20. What is interrupted (the stop button, a kill, a full disk, a lost connection) goes on next time from
        where it was. A thread that has vanished or is closed to this user is reported and kept, and the rest goes on.
        Only who has joined a thread may read it: the report names those to join, and ``session.threads()`` as `of`
        leaves them out.

        The recent past is read again, as far back as `lookback`, in threads that were active in it: messages that
        have been edited or reacted to get their new words (the earlier ones go to `versions`), messages that are no
        longer there are marked, and nothing is deleted. Not seen is what happens to messages older than that.

        Args:
            session: who asks.
            of: threads, groups, or a list of them; a group stands for its own messages and all its threads, a session
                for all its groups.
            since: how far back a first sync goes: aware datetime, date (its local midnight) or ISO string.
            lookback: how far back is read again; ``timedelta(0)``: not at all. Keep it below the app's retention.
            attachments: fetch the files, too, before they expire.
            progress: called with how many messages have come, and an estimate of how many there will be, or `None`.
            workers: how many requests at once, from 1 to 64; of each process with `client`.
            client: a `distributed.Client`: its workers read, each with its part of the app's rate limit. They have
                to see the archive under the same path.
            token: with `client`, for a real app: a function that fetches a token for the session's user from your app
                server. It is sent to the workers; sessions, passwords and tokens are not.

        Returns:
            What was found and done.

        Raises:
            ArchiveLocked: another process writes to it, and went on for longer than the archive's `timeout`.
            ArchiveError: the disk takes no more.
            InvalidMessage: an argument is out of bounds, or the archive holds another app's messages.
            IMError: the service could not be reached, or refused for good; what came before is kept.

        Example:
            >>> archive.sync(alice, alice.group("42"))  # doctest: +SKIP

        Source: fact sheet sections 8 (history) and 9 (last messages).
        """
        if not isinstance(workers, int) or not 1 <= workers <= MAX_WORKERS:
            raise InvalidMessage(f"workers must be a number from 1 to {MAX_WORKERS}, not {workers!r:.40}")
        if not isinstance(lookback, timedelta) or lookback < timedelta(0):
            raise InvalidMessage("lookback must be a timedelta from 0 on", hint="timedelta(days=2), for example")
        account = session.account
        account.check_open()
        if client is not None and token is None and not account.app.is_sandbox:
            hint = "Workers log in by themselves: give token= a function that asks your app server."
            raise InvalidMessage("a sync over Dask workers needs a token function", hint=hint)
        if token is not None and not callable(token):
            raise InvalidMessage("token must be a function: a token itself would travel with the work")
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
        """Log edits and recalls as the session sees them, until `.close()` on what this returns.

        A recalled message leaves the history; who was listening has seen it. Each is one small file beside the
        archive, read with ``archive.live()`` or as ``live`` in SQL. Nothing is logged unless this is called.

        Example:
            >>> with archive.watch(alice):  # doctest: +SKIP
            ...     …
        """
        return Watch(self._storage, session)

    def compact(self) -> int:
        """Merge the files of each day into few, and return how many files that has saved.

        A sync does it by itself for days with many files; afterwards an archive is about as small as one file of it
        all would be.

        Raises:
            ArchiveLocked: another process writes to it.

        Example:
            >>> archive.compact()  # doctest: +SKIP
        """
        with self._storage.writing(self._timeout):
            return compact(self._storage, Ledger(self._storage), at_least=2)

    def unlock(self) -> None:
        """Take away the lock that a killed writer has left on an object store; never while one may be alive.

        A folder's lock ends with its process and needs no help.
        """
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
        """Return messages as a history frame: what `history()` gives, from the disk.

        Only the days, columns and row groups are read that are needed.

        Args:
            since: inclusive: an aware datetime, a date (its local midnight) or an ISO string; naive means local.
            until: exclusive, likewise.
            thread: a thread, a group (its own messages), an id, or a list of them; `None`: all.
            columns: which; `None`: all of a history frame.
            gone: with the messages that are gone from the service, and a column `gone_at` that says since when.

        Returns:
            A history frame, in the order of time; ``frame.attrs["imkit"]`` says where it comes from and whether
            everything that was asked for has been read.

        Raises:
            InvalidMessage: an argument is out of bounds.

        Example:
            >>> archive.frame(since="2026-11-01", columns=["time", "sender"])  # doctest: +SKIP
        """
        from imkit.history.frames import frame_of_table

        wanted = query(since, until)
        target_ids = _ids(thread)
        names = _columns(columns, SCHEMA.names)

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

        return retry_if_compacted(self._storage, read)

    def sql(self, query: str, parameters: Sequence[object] | dict[str, object] | None = None) -> pd.DataFrame:
        """Answer a question with DuckDB, and return a DataFrame.

        | view | one row for each |
        |---|---|
        | `messages` | message that stands: the columns of a history frame, `target_id`, `fetched_at`, `day` |
        | `all_messages` | message, also those that are gone: `gone_at` |
        | `versions` | earlier wording of a message: `superseded_at` |
        | `threads` | thread and group: `target_id`, `kind`, `name`, `group_id`, `status`, `complete`, `newest_at`, … |
        | `attachments` | attachment asked for: `sha256`, `size`, `file_name`, or the `reason` why it is not there |
        | `live` | edit or recall that was seen: `event`, `at`, `operator`, `text`, `seconds_after` |

        `day` is the UTC day; a condition on it opens only the files of those days. Times are in UTC.

        Args:
            query: one SELECT.
            parameters: for ``?`` or ``$name`` in it.

        Raises:
            ArchiveError: DuckDB is not installed.
            InvalidMessage: DuckDB does not understand the question.

        Example:
            >>> archive.sql("select day, count(*) from messages group by day")  # doctest: +SKIP
        """

        def read(state: State) -> pd.DataFrame:
            return run_sql(self._storage, state, query, parameters)

        return retry_if_compacted(self._storage, read)

    def dask(
        self,
        since: Moment | None = None,
        until: Moment | None = None,
        *,
        columns: Sequence[str] | None = None,
        gone: bool = False,
    ) -> dd.DataFrame:
        """Return a Dask DataFrame on the same files, one partition each, for what is larger than memory.

        Args:
            since: inclusive, as for `frame`.
            until: exclusive.
            columns: which; `None`: all, and `target_id`. Texts are strings, not categories; the rows have no order.
            gone: with the messages that are gone from the service.

        Raises:
            ArchiveError: Dask is not installed.

        Example:
            >>> archive.dask(columns=["sender"]).groupby("sender").size().compute()  # doctest: +SKIP
        """
        wanted = query(since, until)
        names = _columns(columns, [*SCHEMA.names, "target_id"])
        return dask_frame(
            self._path,
            catalogue.load(self._storage),
            since=wanted.since,
            until=wanted.until,
            columns=names,
            gone=gone,
        )

    def threads(self) -> pd.DataFrame:
        """Return what the archive has of each thread and group: status, whether it is complete, messages, times.

        Example:
            >>> archive.threads().query("status != 'ok'")  # doctest: +SKIP
        """

        def read(state: State) -> pa.Table:
            known = conversations(state)
            return known.append_column("messages", self._counts(state, known["target_id"]))

        return plain_frame(retry_if_compacted(self._storage, read))

    def _counts(self, state: State, ids: pa.ChunkedArray) -> pa.Array:
        counted = counts(self._storage, state)
        return pa.array([counted.get(target_id, 0) for target_id in ids.to_pylist()], pa.int64())

    def live(self) -> pd.DataFrame:
        """Return the edits and recalls that were logged, oldest first; see `watch`."""
        return plain_frame(live_log.table(self._storage))

    def files(self) -> list[str]:
        """Return the paths or URLs of the files of messages, for readers of Parquet of your choice.

        They hold every message once; `gone_at` is not null in those that are gone. A file may be merged away by a
        later sync.

        Example:
            >>> polars.scan_parquet(archive.files())  # doctest: +SKIP
        """
        state = catalogue.load(self._storage)
        return self._storage.locations(file.name for file in state.of("messages"))

    def verify(self) -> Verification:
        """Read everything and say what is wrong: bytes, counts, doubles; and what is missing: gaps, remains of a kill.

        Example:
            >>> archive.verify().ok  # doctest: +SKIP
            True
        """
        return verify(self._storage)

    # ------------------------------------------------------------------ looks

    def _facts(self) -> list[str]:
        """Return what the catalogue knows, a few small files: an archive by itself knows only where it is."""
        state = catalogue.load(self._storage)
        files = state.of("messages")
        if not state.number:
            return ["empty"]
        count = sum(file.rows for file in files)
        days = [f"{files[0].day} to {files[-1].day}"] if files else []
        size = sum(file.size for file in state.files.values())
        return [f"{count:,} messages of {len(state.conversations):,} conversations", *days, f"{size / 1e6:,.1f} MB"]

    def __repr__(self) -> str:
        return f"<Archive {for_terminal(self.path)}: {', '.join(self._facts())}>"

    def _repr_html_(self) -> str:
        return card("Archive", PurePath(self.path).name or self.path, [self.path, *self._facts()])


def _ids(thread: object) -> list[str] | None:
    if thread is None:
        return None
    some = [thread] if isinstance(thread, Thread | Group | str) else thread
    if not isinstance(some, Iterable):
        raise InvalidMessage(
            f"a {type(thread).__name__} is no thread", hint="Give a thread, a group, an id, or a list."
        )
    found = []
    for one in some:
        if not isinstance(one, Thread | Group | str):
            raise InvalidMessage(f"a {type(one).__name__} is no thread", hint="Give a thread, a group or an id.")
        found.append(one if isinstance(one, str) else one.id)
    return list(dict.fromkeys(found))


def _columns(columns: Sequence[str] | None, known: Sequence[str]) -> list[str]:
    if columns is None:
        return list(known)
    if isinstance(columns, str):
        raise InvalidMessage(f'columns must be a list, such as ["{columns:.40}"]')
    for name in columns:
        if name not in known:
            raise InvalidMessage(f"{name!r:.60} is no column", hint=f"The columns are {', '.join(known)}.")
    return list(dict.fromkeys(columns))
