"""The SQLite file of a sandbox: its schema and version, transactions, and ids that only grow.

Writes are fast for two reasons: inserted rows are collected and written many at a time, and all that arrives together
is committed in one `transaction`. Each read first writes the collected rows, so a read never misses a row.
After `transaction` has returned, killing the process loses nothing; a power failure may (WAL, synchronous=NORMAL).

Some tables and columns have older names than the code: `members.room` is the id of a conversation (a group or a
thread), the counter `last_room` counts conversations, and `passing` holds the items that are not part of the history.
They stay, because existing data must open.
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

from imkit.sandbox.limits import Limits

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
CREATE TABLE read_acks (
    message INTEGER NOT NULL, user TEXT NOT NULL, time INTEGER NOT NULL, content TEXT NOT NULL,
    PRIMARY KEY (message, user)) WITHOUT ROWID;
-- Items that are delivered but not part of the history: notices, commands, recalls, acks. An item is deleted after it
-- has left every queue.
CREATE TABLE passing (id INTEGER PRIMARY KEY, meta BLOB NOT NULL);
CREATE TABLE devices (
    id INTEGER PRIMARY KEY, user TEXT NOT NULL, resource TEXT NOT NULL, seen INTEGER NOT NULL,
    UNIQUE (user, resource));
-- Device 0 stands for the user: items that arrived while no device was online.
CREATE TABLE pending (
    user TEXT NOT NULL, queue TEXT NOT NULL, device INTEGER NOT NULL, item INTEGER NOT NULL,
    acknowledged INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (user, queue, device, item)) WITHOUT ROWID;
CREATE TABLE attachments (
    uuid TEXT PRIMARY KEY, secret TEXT NOT NULL, owner TEXT NOT NULL, file_name TEXT NOT NULL,
    content_type TEXT NOT NULL, created INTEGER NOT NULL, body BLOB NOT NULL) WITHOUT ROWID;
"""

# SQL that turns version n into n + 1. Data of a version without a migration are renamed, never deleted.
_MIGRATIONS: dict[int, str] = {}

# Not part of the version: data with and without them are the same data, and an earlier version ignores them.
_ADDITIONS = """
CREATE TABLE IF NOT EXISTS reactions (
    message INTEGER NOT NULL, reaction TEXT NOT NULL, user TEXT NOT NULL, id INTEGER NOT NULL,
    PRIMARY KEY (message, reaction, user)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS reactions_by_id ON reactions (message, reaction, id);
-- What is about a message goes with it: after a recall, and with its thread or group.
CREATE TRIGGER IF NOT EXISTS remove_reactions AFTER DELETE ON messages BEGIN
    DELETE FROM reactions WHERE message = OLD.id; END;
-- Which attachments a message holds. A recall removes those that no other message holds.
CREATE TABLE IF NOT EXISTS attachment_uses (
    message INTEGER NOT NULL, attachment TEXT NOT NULL, PRIMARY KEY (message, attachment)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS attachment_uses_by_attachment ON attachment_uses (attachment);
CREATE TRIGGER IF NOT EXISTS remove_attachment_uses AFTER DELETE ON messages BEGIN
    DELETE FROM attachment_uses WHERE message = OLD.id; END;
-- Which items in `passing` repeat what a message says: its edits, the pieces of a streamed text, and thread notices. A
-- device that has not got them when the message is recalled does not get them.
CREATE TABLE IF NOT EXISTS copies (
    message INTEGER NOT NULL, item INTEGER NOT NULL, PRIMARY KEY (message, item)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS copies_by_item ON copies (item);
CREATE TRIGGER IF NOT EXISTS remove_copies AFTER DELETE ON messages BEGIN
    DELETE FROM passing WHERE id IN (SELECT item FROM copies WHERE message = OLD.id); END;
CREATE TRIGGER IF NOT EXISTS forget_copy AFTER DELETE ON passing BEGIN
    DELETE FROM copies WHERE item = OLD.id; END;
CREATE INDEX IF NOT EXISTS groups_by_owner ON groups (owner);
-- With the sender, so that unread messages are counted without reading them.
CREATE INDEX IF NOT EXISTS messages_by_conversation_and_sender ON messages (conversation, id, sender);
DROP INDEX IF EXISTS messages_by_conversation;
CREATE INDEX IF NOT EXISTS tokens_by_user ON tokens (user, expires);
-- What one user has of one conversation: ids up to which it has read, forgotten and deleted the messages; its pin (ms)
-- and its marks, a bit each.
CREATE TABLE IF NOT EXISTS conversation_views (
    conversation TEXT NOT NULL, user TEXT NOT NULL, read_to INTEGER NOT NULL DEFAULT 0,
    forgotten_to INTEGER NOT NULL DEFAULT 0, deleted_to INTEGER NOT NULL DEFAULT 0,
    pinned_at INTEGER NOT NULL DEFAULT 0, marks INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (conversation, user)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS conversation_views_by_user ON conversation_views (user);
-- Messages that one user has deleted for itself, besides those up to `forgotten_to`.
CREATE TABLE IF NOT EXISTS forgotten_messages (
    conversation TEXT NOT NULL, user TEXT NOT NULL, message INTEGER NOT NULL,
    PRIMARY KEY (conversation, user, message)) WITHOUT ROWID;
-- A report stays when its message is recalled.
CREATE TABLE IF NOT EXISTS reports (
    message INTEGER NOT NULL, user TEXT NOT NULL, kind TEXT NOT NULL, reason TEXT NOT NULL, time INTEGER NOT NULL,
    PRIMARY KEY (message, user)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS reports_by_user ON reports (user);
-- Pinned messages of groups and threads; by whom, and an id (`new_id`) that gives their order and the time.
CREATE TABLE IF NOT EXISTS pinned_messages (
    message INTEGER PRIMARY KEY, conversation TEXT NOT NULL, operator TEXT NOT NULL, pin INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS pinned_messages_by_conversation ON pinned_messages (conversation, pin);
CREATE TRIGGER IF NOT EXISTS unpin_with_message AFTER DELETE ON messages
BEGIN
    DELETE FROM pinned_messages WHERE message = OLD.id;
END;
CREATE TABLE IF NOT EXISTS user_attributes (
    user TEXT PRIMARY KEY, attributes TEXT NOT NULL, modified INTEGER NOT NULL) WITHOUT ROWID;
"""

_LOCKED_SECONDS = 1.0  # how long to wait for another program that has the file; no client is served meanwhile
_FULL = 0.95  # with so much of the largest size in use, nothing new is stored; the rest is for logins and acks

_COLLECTED_ROWS = 5000  # the most rows of one statement that are kept in memory

ID_BITS = 20  # an id is its time in milliseconds, shifted left by this, plus a count: 19 digits


def now_ms() -> int:
    """Return the time in milliseconds since 1970, the unit of every time on the wire."""
    return time.time_ns() // 1_000_000


def id_time(message_id: int) -> int:
    """Return the time (ms) of an id: its upper bits. A range of time is therefore a range of ids."""
    return message_id >> ID_BITS


class Store:
    """The database, with one connection that one thread uses.

    Args:
        path: the file; None keeps everything in memory.
        most_bytes: the largest size; SQLite refuses to go beyond it.
        clock: returns the time in ms; tests pass their own.

    Example:
        >>> store = Store(None)
        >>> with store.transaction():
        ...     first, second = store.new_id(), store.new_id()
        >>> first < second
        True
    """

    def __init__(
        self, path: Path | None, *, most_bytes: int = Limits().store_bytes, clock: Callable[[], int] = now_ms
    ) -> None:
        self.path = path
        self.clock = clock
        self._most_bytes = most_bytes
        self._has_room: bool | None = None  # None: not known in this transaction
        self.set_aside: Path | None = None
        self._database = self._open()
        weakref.finalize(self, self._database.close)
        self._rows: dict[str, list[Sequence[Any]]] = {}
        self._before_commit: list[Callable[[], None]] = []
        self._after_rollback: list[Callable[[], None]] = []
        counters: dict[str, int] = dict(self._database.execute("SELECT name, value FROM counters").fetchall())
        self._last_id = counters.get("last_id", 0)
        self._last_conversation = counters.get("last_room", 0)  # the older name: see the module's docstring
        self._saved = (self._last_id, self._last_conversation)

    def _open(self) -> sqlite3.Connection:
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        database = self._connect()
        try:
            version = database.execute("PRAGMA user_version").fetchone()[0]
            empty = database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
        except sqlite3.DatabaseError:
            version, empty = -1, False  # not a database: renamed, as one of another version is
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
        # A checkpoint waits for the disk, so do it rarely; SQLite's default is every 1,000 pages.
        database.execute("PRAGMA wal_autocheckpoint = 8000")
        database.execute("PRAGMA temp_store = MEMORY")
        database.execute("PRAGMA cache_size = -65536")
        if empty:
            database.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
        database.executescript(_ADDITIONS)
        page_bytes = database.execute("PRAGMA page_size").fetchone()[0]
        self._most_pages = database.execute(f"PRAGMA max_page_count = {self._most_bytes // page_bytes}").fetchone()[0]
        return database

    def _connect(self) -> sqlite3.Connection:
        where = ":memory:" if self.path is None else str(self.path)
        return sqlite3.connect(
            where, timeout=_LOCKED_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=256
        )

    def _set_aside(self, version: int) -> None:
        assert self.path is not None
        aside = self.path.with_name(f"{self.path.name}.version-{version}.{now_ms()}")
        for suffix in ("-wal", "-shm", ""):  # the database itself last: after a crash before that, this runs again
            part = self.path.with_name(self.path.name + suffix)
            if part.exists():
                part.rename(aside.with_name(aside.name + suffix))
        logger.warning("the data in %s are of version %s and were set aside as %s", self.path, version, aside)
        self.set_aside = aside

    def has_room(self) -> bool:
        """Return whether the store is far enough from its largest size for new messages, files, groups and users.

        It looks once in each transaction: all that arrives together is small beside what is left.
        """
        if self._has_room is None:
            used = self.row("PRAGMA page_count")[0] - self.row("PRAGMA freelist_count")[0]
            self._has_room = used < _FULL * self._most_pages
        return self._has_room

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    # ---------------------------------------------------------------- transactions

    def on_commit(self, before: Callable[[], None], after_rollback: Callable[[], None]) -> None:
        """Register two callbacks of an object that keeps data in memory.

        Args:
            before: called before each commit; writes what the object has not written yet.
            after_rollback: called after each rollback; drops what the object keeps in memory.
        """
        self._before_commit.append(before)
        self._after_rollback.append(after_rollback)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Run a block in one transaction: commit at its end, roll back if it raises."""
        self._database.execute("BEGIN")
        self._has_room = None
        try:
            yield
            for write in self._before_commit:
                write()
            counters = (self._last_id, self._last_conversation)
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
        """Collect a row for a statement; the rows are written before the next read or the commit."""
        rows = self._rows.get(statement)
        if rows is None:
            rows = self._rows[statement] = []
        rows.append(row)
        if len(rows) >= _COLLECTED_ROWS:
            self._flush()

    def _flush(self) -> None:
        for statement, rows in self._rows.items():
            if len(rows) == 1:
                self._database.execute(statement, rows[0])
            else:
                self._database.executemany(statement, rows)
        self._rows.clear()

    def execute(self, statement: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> int:
        """Run a statement that changes data; return the number of changed rows."""
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
        """Return the next id: 64 bits, larger than every id before it, also after a restart."""
        self._last_id = max(self.clock() << ID_BITS, self._last_id + 1)
        return self._last_id

    def skip_ids_to(self, message_id: int) -> None:
        """Make every later id larger than this one, whatever the clock says."""
        self._last_id = max(self._last_id, message_id)

    def new_conversation_id(self, prefix: str) -> str:
        """Return the id of a new group or thread: the prefix and 13 more digits; the service's ids are digits too."""
        self._last_conversation = max(self.clock(), self._last_conversation + 1)
        return f"{prefix}{self._last_conversation:013d}"
