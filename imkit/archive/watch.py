"""Writing the live log: `Archive.watch` returns a `Watch`.

Events that come while a file is being written go into the next file together. So the log keeps up with the session,
with one write for many events in a burst and without a delay. While the disk is full, events wait; see `Watch`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from imkit.archive import parquet
from imkit.archive.live_log import FOLDER, MISSED, MISSED_SUFFIX
from imkit.archive.storage import Storage
from imkit.client.event_store import EventStream
from imkit.errors import ArchiveError
from imkit.escape import for_terminal
from imkit.events import Dropped, Event, MessageEdited, MessageRecalled
from imkit.file_errors import advice
from imkit.messages import Message, Streamed
from imkit.portal import Worker, portal, short_tracebacks, to_its_end
from imkit.session import Session
from imkit.times import to_milliseconds, wall_seconds
from imkit.wire.keyvalues import json_text

logger = logging.getLogger("imkit.archive")

MAX_WAITING_BYTES = 64 * 2**20  # of events that wait for the disk; further ones are missed
RETRY_SECONDS = 5.0  # between two attempts to write


class Watch:
    """A live log that is being written, until `close()`, the end of a `with` block or the end of the session.

    If the log cannot be written (the disk is full), the session goes on. The log keeps up to 64 MB of events and tries
    again every 5 seconds. `failure`, the representation and Python's log say so, and `close()` raises an error.
    """

    def __init__(self, storage: Storage, session: Session) -> None:
        session.account.check_open()
        self._session = session
        stream: EventStream[Event] = EventStream(session.account.events, (MessageEdited, MessageRecalled), replay=False)
        self._log = _LogWriter(storage, stream, session.account.connection.service_time)
        self._end = portal().submit(self._log.run())

    @property
    def count(self) -> int:
        """How many events it has written."""
        return self._log.count

    @property
    def failure(self) -> ArchiveError | None:
        """Why the log cannot be written at the moment; `None` if it can."""
        return self._log.failure

    def close(self) -> None:
        """Write the events that wait, and stop logging.

        Raises:
            ArchiveError: events could not be written.
        """
        self._session.account.process.check()
        with short_tracebacks:
            portal().call(self._close())
            if self._log.failure is not None:
                raise self._log.failure

    async def _close(self) -> None:
        self._log.stop()
        await asyncio.shield(asyncio.wrap_future(self._end))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._session.account.process.is_current:
            return  # a forked child that leaves the block: its parent writes the log
        try:
            self.close()
        except ArchiveError:
            if error is None:
                raise

    def __repr__(self) -> str:
        state = f"; {self.failure}" if self.failure is not None else ""
        return for_terminal(f"<live log of {self._session.user} in {self._log.place}: {self.count:,} events{state}>")


@dataclass(frozen=True, slots=True)
class _LogFile:
    """A file of the log that must be written. An attempt that failed may have written it all the same."""

    name: str
    entries: Sequence[dict[str, Any]]

    @property
    def events(self) -> int:
        return sum(entry["event"] != MISSED for entry in self.entries)

    def write(self, storage: Storage) -> None:
        """Write the file, unless an earlier attempt has written it."""
        with contextlib.suppress(FileExistsError):
            storage.write(self.name, "\n".join(map(json_text, self.entries)).encode(errors="backslashreplace"))


class _LogWriter:
    """Writes the live log. It does not refer to the session, so that an unused session can close itself.

    Args:
        storage: the archive's storage.
        stream: the edits and recalls.
        service_time: returns the time on the service's clock in ms, or `None` if it is not known.

    Attributes:
        place: of the archive.
        count: number of events written.
        failure: why the last attempt to write failed; `None` if it did not.
    """

    def __init__(self, storage: Storage, stream: EventStream[Event], service_time: Callable[[], int | None]) -> None:
        self.place = storage.place
        self.count = 0
        self.failure: ArchiveError | None = None
        self._storage = storage
        self._stream = stream
        self._service_time = service_time
        self._complete_until = self._now()
        self._waiting: list[dict[str, Any]] = []  # entries that are in no file
        self._unwritten: _LogFile | None = None  # the file that is being written, or could not be
        self._waiting_bytes = 0  # of both
        self._worker = Worker("imkit-live-log")
        self._has_news, self._is_over = asyncio.Event(), asyncio.Event()

    def _now(self) -> int:
        return self._service_time() or int(wall_seconds() * 1000)

    async def run(self) -> None:
        """Write the log until the session is over or `stop` is called."""
        self._reading = asyncio.create_task(self._read(), name="imkit live log")
        await self._worker.run(int)  # starts its thread: an interpreter that is ending cannot start one
        try:
            await to_its_end(self._write_all(), self.stop)
        finally:
            self._worker.close()

    def stop(self) -> None:
        """Take the events that have come, and end when they are written. Only imkit's loop may call this."""
        if not self._is_over.is_set():
            self._note(self._stream.take_ready())
        self._is_over.set()
        self._has_news.set()

    # ----------------------------------------------------------------- the events

    async def _read(self) -> None:
        try:
            while events := await self._stream.next_events():
                self._note(events)
                self._has_news.set()
        finally:
            self.stop()

    def _note(self, events: Sequence[Event]) -> None:
        now = self._now()
        for event in events:
            if isinstance(event, Dropped):
                self._miss(event.count, now)
            elif self._waiting_bytes >= MAX_WAITING_BYTES:
                self._miss(1, now)
            elif (entry := _entry_of(event)) is not None:
                self._waiting.append(entry)
                self._waiting_bytes += _size_of(entry)
        self._complete_until = now

    def _miss(self, count: int, now: int) -> None:
        if not self._waiting or self._waiting[-1]["event"] != MISSED:
            logger.error("the live log in %s has begun to miss events", self.place)
            self._waiting.append({"event": MISSED, "since": self._complete_until, "at": now, "missed": 0})
            self._waiting_bytes += _size_of(self._waiting[-1])
        self._waiting[-1]["at"] = now
        self._waiting[-1]["missed"] += count

    # ------------------------------------------------------------------ the files

    async def _write_all(self) -> None:
        """Write what waits, again and again, until the end; after it there is one more attempt."""
        while True:
            was_over = self._is_over.is_set()
            await self._write_waiting()
            if was_over:
                break
            if self.failure is not None:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(RETRY_SECONDS):
                        await self._is_over.wait()
            else:
                await self._has_news.wait()
                self._has_news.clear()
        self._reading.cancel()

    async def _write_waiting(self) -> None:
        """Write the files of all entries that wait, until one cannot be written."""
        while self._unwritten is not None or self._waiting:
            if self._unwritten is None:
                self._unwritten = self._next_file()
            file = self._unwritten
            try:
                await self._worker.run(file.write, self._storage)
            except Exception as error:
                self._fail(error)
                return
            self._unwritten = None
            self._waiting_bytes -= sum(map(_size_of, file.entries))
            self.count += file.events
            if self.failure is not None:
                logger.warning("the live log in %s is written again", self.place)
                self.failure = None

    def _next_file(self) -> _LogFile:
        entries, self._waiting = self._waiting, []
        at = entries[0]["at"]
        suffix = MISSED_SUFFIX if any(entry["event"] == MISSED for entry in entries) else ".json"
        name = f"{FOLDER}/day={parquet.utc_day(at)}/{at}-{self.count:09}-{secrets.token_hex(6)}{suffix}"
        return _LogFile(name, entries)

    def _fail(self, error: Exception) -> None:
        events = len(self._waiting) + (len(self._unwritten.entries) if self._unwritten is not None else 0)
        is_new, was_last = self.failure is None, self._is_over.is_set()
        fate, then = ("are lost", "") if was_last else ("wait", f" It tries again every {RETRY_SECONDS:g} s.")
        message = f"the live log in {self.place} cannot be written, and {events:,} events {fate}: {error}"
        remedy = advice(error) if isinstance(error, OSError) else "Repair that"
        self.failure = ArchiveError(message, hint=f"{remedy}.{then}")
        if is_new or was_last:
            logger.error("%s", self.failure)


def _size_of(entry: dict[str, Any]) -> int:
    """Return about how many bytes an entry takes in memory; the same number at each call."""
    return 500 + len(entry.get("text") or "") + len(entry.get("ext") or "")


def _entry_of(event: Event) -> dict[str, Any] | None:
    """Return the log entry of an event; `None` if it is neither an edit nor a recall."""
    match event:
        case MessageRecalled():
            return {
                "event": "recalled",
                "operator": event.by,
                "message_id": event.message_id,
                "at": to_milliseconds(event.at),
                "target_id": event.to,
                "seconds_after": event.seconds_after,
                **_message_fields(event.message),
            }
        case MessageEdited(Message(body=Streamed(), edit_count=0)):
            return None  # the text has grown, nobody has edited it
        case MessageEdited():
            return {
                "event": "edited",
                "operator": event.operator,
                "message_id": event.message.id,
                "at": to_milliseconds(event.at),
                "target_id": event.message.to,
                **_message_fields(event.message),
            }
    return None


def _message_fields(message: Message | None) -> dict[str, Any]:
    if message is None:
        return {}
    return {
        "sender": message.sender,
        "time": to_milliseconds(message.time),
        "text": message.text,
        "ext": json_text(message.ext) if message.ext else None,
        "edit_count": message.edit_count,
    }
