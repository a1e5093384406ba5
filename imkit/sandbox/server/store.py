"""The SQLite file behind a sandbox: schema and version, one transaction at a time, ids that only grow.

Speed comes from three choices. Rows are collected and inserted many at a time; what comes in together is committed
together (`transaction`); and a read flushes what was collected, so nobody ever sees less than was written. Durable
means: after `transaction` returned, killing the process loses nothing (WAL, synchronous=NORMAL: a power failure may).
"""

from __future__ import annotations

import logging
import sqlite3
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

VERSION = 1

_SCHEMA = """
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE users (
    name TEXT PRIMARY KEY, uuid TEXT NOT NULL, password TEXT NOT NULL, nickname TEXT NOT NULL,
    created INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE tokens (
    digest BLOB PRIMARY KEY, user TEXT NOT NULL, expires INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE groups (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, description TEXT NOT NULL, owner TEXT NOT NULL, created INTEGER NOT NULL,
    settings TEXT NOT NULL, disabled INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
CREATE TABLE threads (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, group_id TEXT NOT NULL, parent_id TEXT NOT NULL, owner TEXT NOT NULL,
    created INTEGER NOT NULL, updated INTEGER NOT NULL, messages INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
CREATE UNIQUE INDEX threads_by_parent ON threads (group_id, parent_id);
CREATE TABLE members (
    room TEXT NOT NULL, user TEXT NOT NULL, role TEXT NOT NULL, joined INTEGER NOT NULL,
    muted_until INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (room, user)) WITHOUT ROWID;
CREATE INDEX members_by_user ON members (user, room);
CREATE TABLE messages (
    id INTEGER PRIMARY KEY, conversation TEXT NOT NULL, sender TEXT NOT NULL, kind TEXT NOT NULL,
    edits INTEGER NOT NULL DEFAULT 0, meta BLOB NOT NULL);
CREATE INDEX messages_by_conversation ON messages (conversation, id);
CREATE TABLE read_acks (
    message INTEGER NOT NULL, user TEXT NOT NULL, time INTEGER NOT NULL, content TEXT NOT NULL,
    PRIMARY KEY (message, user)) WITHOUT ROWID;
-- What is delivered but no part of the history: notices, commands, recalls, acks. Swept when nobody waits for it.
CREATE TABLE passing (id INTEGER PRIMARY KEY, meta BLOB NOT NULL);
CREATE TABLE devices (
    id INTEGER PRIMARY KEY, user TEXT NOT NULL, resource TEXT NOT NULL, seen INTEGER NOT NULL,
    UNIQUE (user, resource));
-- Device 0 is the user: what came while no device was online.
CREATE TABLE pending (
    user TEXT NOT NULL, queue TEXT NOT NULL, device INTEGER NOT NULL, item INTEGER NOT NULL,
    acknowledged INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (user, queue, device, item)) WITHOUT ROWID;
CREATE TABLE attachments (
    uuid TEXT PRIMARY KEY, secret TEXT NOT NULL, owner TEXT NOT NULL, file_name TEXT NOT NULL,
    content_type TEXT NOT NULL, created INTEGER NOT NULL, body BLOB NOT NULL) WITHOUT ROWID;
"""

# From version n to n + 1. Data of a version without a way up are set aside, never deleted.
_MIGRATIONS: dict[int, str] = {}

_COLLECTED = 5000  # rows of one kind kept in memory: a community of a million messages comes through here

ID_BITS = 20  # an id is its time in milliseconds, shifted by this, plus a count: 19 digits, growing with time


def now_ms() -> int:
    """Return the wall clock in milliseconds, as every time on the wire is."""
    return time.time_ns() // 1_000_000


def id_time(message_id: int) -> int:
    """Return the time (ms) an id was given out: its upper bits. Hence a range of time is a range of ids."""
    return message_id >> ID_BITS


class Store:
    """One database, one connection, one thread.

    Args:
        path: the file; None keeps everything in memory.
        clock: the time in ms; tests give their own.

    Example:
        >>> store = Store(None)
        >>> with store.transaction():
        ...     first, second = store.new_id(), store.new_id()
        >>> first < second
        True
    """

    def __init__(self, path: Path | None, *, clock: Callable[[], int] = now_ms) -> None:
        self.path = path
        self.clock = clock
        self.set_aside: Path | None = None
        self._database = self._open()
        weakref.finalize(self, self._database.close)  # a store that nobody holds leaves no file open
        self._rows: dict[str, list[Sequence[Any]]] = {}
        self._before_commit: list[Callable[[], None]] = []
        self._after_rollback: list[Callable[[], None]] = []
        counters: dict[str, int] = dict(self._database.execute("SELECT name, value FROM counters").fetchall())
        self._last_id = counters.get("last_id", 0)
        self._last_room = counters.get("last_room", 0)
        self._saved = (self._last_id, self._last_room)

    def _open(self) -> sqlite3.Connection:
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        database = self._connect()
        try:
            version = database.execute("PRAGMA user_version").fetchone()[0]
            empty = database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
        except sqlite3.DatabaseError:
            version, empty = -1, False  # not a database at all: set aside like one of another version
        while version in _MIGRATIONS:
            database.executescript(f"BEGIN; {_MIGRATIONS[version]} PRAGMA user_version = {version + 1}; COMMIT;")
            version += 1
        if not empty and version != VERSION:
            database.close()
            self._set_aside(version)
            database, empty = self._connect(), True
        if self.path is not None:
            database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        # A checkpoint waits for the disk: seldom, not every thousandth page.
        database.execute("PRAGMA wal_autocheckpoint = 8000")
        database.execute("PRAGMA temp_store = MEMORY")
        database.execute("PRAGMA cache_size = -65536")
        if empty:
            database.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
        return database

    def _connect(self) -> sqlite3.Connection:
        where = ":memory:" if self.path is None else str(self.path)
        return sqlite3.connect(where, isolation_level=None, check_same_thread=False, cached_statements=256)

    def _set_aside(self, version: int) -> None:
        assert self.path is not None
        aside = self.path.with_name(f"{self.path.name}.version-{version}.{now_ms()}")
        for suffix in ("-wal", "-shm", ""):  # the file itself last: until then a crash leaves it to be tried again
            part = self.path.with_name(self.path.name + suffix)
            if part.exists():
                part.rename(aside.with_name(aside.name + suffix))
        logger.warning("the data in %s are of version %s and were set aside as %s", self.path, version, aside)
        self.set_aside = aside

    def close(self) -> None:
        """Close the file. What was committed is in it."""
        self._database.close()

    # ---------------------------------------------------------------- transactions

    def on_commit(self, before: Callable[[], None], after_rollback: Callable[[], None]) -> None:
        """Let a room write what it keeps in memory before each commit, and forget it after a rollback."""
        self._before_commit.append(before)
        self._after_rollback.append(after_rollback)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of it or none of it; committed when this returns."""
        self._database.execute("BEGIN")
        try:
            yield
            for write in self._before_commit:
                write()
            counters = (self._last_id, self._last_room)
            if counters != self._saved:
                for counter in zip(("last_id", "last_room"), counters, strict=True):
                    self.insert("INSERT OR REPLACE INTO counters VALUES (?, ?)", counter)
            self._flush()
            self._database.execute("COMMIT")
            self._saved = counters
        except BaseException:
            self._rows.clear()
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            for forget in self._after_rollback:
                forget()
            raise

    def insert(self, statement: str, row: Sequence[Any]) -> None:
        """Collect a row; it is written with its like before the next read or the commit."""
        rows = self._rows.get(statement)
        if rows is None:
            rows = self._rows[statement] = []
        rows.append(row)
        if len(rows) >= _COLLECTED:
            self._flush()

    def _flush(self) -> None:
        for statement, rows in self._rows.items():
            if len(rows) == 1:
                self._database.execute(statement, rows[0])
            else:
                self._database.executemany(statement, rows)
        self._rows.clear()

    def execute(self, statement: str, values: Sequence[Any] = ()) -> int:
        """Run a statement that changes something; return how many rows it changed."""
        if self._rows:
            self._flush()
        return self._database.execute(statement, values).rowcount

    def rows(self, statement: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[Any]:
        """Return every row of a query."""
        if self._rows:
            self._flush()
        return self._database.execute(statement, values).fetchall()

    def row(self, statement: str, values: Sequence[Any] = ()) -> Any:
        """Return the first row of a query, or None."""
        if self._rows:
            self._flush()
        return self._database.execute(statement, values).fetchone()

    # ---------------------------------------------------------------- ids and time

    def new_id(self) -> int:
        """Return the next id: 64 bits, growing with time, never given twice, not even across restarts."""
        self._last_id = max(self.clock() << ID_BITS, self._last_id + 1)
        return self._last_id

    def keep_clear(self, message_id: int) -> None:
        """Give out later ids only, whatever the clock says: messages up to this one are there already."""
        self._last_id = max(self._last_id, message_id)

    def new_room_id(self, prefix: str) -> str:
        """Return the id of a new group or thread: digits, as the service's are."""
        self._last_room = max(self.clock(), self._last_room + 1)
        return f"{prefix}{self._last_room:013d}"
