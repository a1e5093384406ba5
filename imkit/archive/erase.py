"""Erasing a person from an archive, so that no trace is left in its files; `imkit.archive.traces` says what a trace is.

The steps, in an order in which a kill after any of them loses nothing and leaves nothing behind for good:

1. The ids of the person's messages are read: later steps need them, and the tables still have them. A damaged file
   ends the erase here, before it has begun, so that it does not stop later writers too.
2. A marker with the user id is written. As long as it is there, the erasing is unfinished: `Archive.verify` reports it,
   and the next writer (an erase, a sync, a compaction) finishes it before it does anything else.
3. The live log is cleaned, one file after another. Each file changes as a whole.
4. All files of the tables that have traces are written again without them, and one commit puts these in the place of
   the old ones. So a reader finds all of the person's messages in the tables, or none. The old files, and those that
   were kept for readers, are deleted at once.
5. Files of attachments that no row names any more are deleted.
6. The catalogue is written again, and its earlier states are deleted.
7. The marker is deleted.

Memory holds the rows of one file, and the ids of the person's messages.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from imkit.archive import live_log, parquet
from imkit.archive.attachments import content_name, contents_without_row
from imkit.archive.catalogue import FOLDER as CATALOGUE_FOLDER
from imkit.archive.catalogue import CatalogueWriter, Commit, ConversationState, StoredFile
from imkit.archive.storage import Storage
from imkit.archive.traces import ERASED, FILE_COLUMNS, JSON_COLUMNS, TEXT_COLUMNS, Row, Traces, parsed, upload_path
from imkit.cards import Tone, card
from imkit.client.user_ids import user_id
from imkit.errors import ArchiveError
from imkit.escape import for_terminal
from imkit.history.batch_protobuf import BoolArray
from imkit.whole_files import PART
from imkit.wire.keyvalues import json_text

logger = logging.getLogger("imkit.archive")

FOLDER = "unfinished"
MARKER = f"{FOLDER}/erase.json"

EraseProgress = Callable[[int, int], None]
_TEXTS = (*JSON_COLUMNS, *TEXT_COLUMNS)
_COLUMNS = tuple(dict.fromkeys((*_TEXTS, *FILE_COLUMNS)))
_ATTACHMENT_COLUMNS = ("sha256", "size", "file_name", "reason", "final")  # of the table `attachments`


@dataclass(slots=True)
class EraseReport:
    """What an erase has removed. It does not hold the user id, because a notebook may be saved with it.

    Attributes:
        place: path or URL of the archive.
        rows_removed: number of messages that were removed, with earlier versions of messages.
        rows_changed: number of messages of others from which a mention, a quote, a reaction or a file was removed.
        live_removed: number of entries that were removed from the live log.
        live_changed: number of entries of the live log that were changed.
        attachments: number of attached files that were deleted.
        files: number of files that were written again or removed.
        texts_left: number of messages and names of others in whose words the user id still stands.
        seconds: how long it took.
        finished_earlier: whether an erase was finished that had been interrupted before.
    """

    place: str
    rows_removed: int = 0
    rows_changed: int = 0
    live_removed: int = 0
    live_changed: int = 0
    attachments: int = 0
    files: int = 0
    texts_left: int = 0
    seconds: float = 0.0
    finished_earlier: bool = False

    def _facts(self) -> list[str]:
        facts = [
            f"{self.rows_removed:,} messages removed",
            f"{self.rows_changed:,} messages of others changed",
            f"live log: {self.live_removed:,} removed, {self.live_changed:,} changed",
            f"{self.attachments:,} attached files deleted",
            f"{self.files:,} files written again or removed in {self.seconds:,.1f} s",
        ]
        return [*facts, *(["finished an erase that was interrupted"] if self.finished_earlier else [])]

    def _notes(self) -> list[str]:
        left = f"The user id still stands in {self.texts_left:,} texts of others: erase(user, texts=True) replaces it."
        service = "A sync brings back what the service still has: delete it there too."
        return [*([left] if self.texts_left else []), service]

    def __repr__(self) -> str:
        lines = [f"erased a person from {self.place}", *self._facts(), *self._notes()]
        return "\n".join(for_terminal(line) for line in lines)

    def _repr_html_(self) -> str:
        tone: Tone = "busy" if self.texts_left else "good"
        state = "the id is left in texts of others" if self.texts_left else "no trace left"
        return card("Erased from", self.place, self._facts(), state=state, tone=tone, text="\n".join(self._notes()))


@dataclass(frozen=True, slots=True)
class Unfinished:
    """An erase that was begun: the content of the marker."""

    user: str
    texts: bool


def unfinished(storage: Storage) -> Unfinished | None:
    """Return the erase that was begun in an archive and has not been finished.

    Raises:
        ArchiveError: the marker is damaged.
    """
    try:
        content = json.loads(storage.read(MARKER))
        if not isinstance(content["texts"], bool):
            raise TypeError("texts is neither true nor false")
        return Unfinished(user_id(content["user"]), content["texts"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        hint = f"Delete the file {MARKER}, and call archive.erase(user) again."
        raise ArchiveError(f"{MARKER} of the archive {storage.place} is damaged: {error}", hint=hint) from error


def unfinished_parts(storage: Storage) -> list[str]:
    """Return what a killed writer has left of a marker. Nothing had been erased then."""
    return [name for name in storage.names(FOLDER) if name.endswith(PART)]


def open_catalogue(
    storage: Storage, report: EraseReport | None = None, progress: EraseProgress | None = None
) -> CatalogueWriter:
    """Return the writer of the catalogue, after an erase that was interrupted has been finished.

    Args:
        storage: the archive's storage; the caller holds its lock.
        report: gets what that erase has removed.
        progress: called with the number of rows that have been checked, and of how many.
    """
    catalogue = CatalogueWriter(storage)
    for name in unfinished_parts(storage):
        storage.remove(name)
    earlier = unfinished(storage)
    if earlier is not None:
        logger.warning("the archive %s finishes an erase that was interrupted", storage.place)
        _Erasing(storage, catalogue, earlier, report or EraseReport(storage.place), progress).run()
    return catalogue


def erase(storage: Storage, user: str, texts: bool, progress: EraseProgress | None) -> EraseReport:
    """Erase a person; see `Archive.erase`. The caller holds the archive's lock; `user` is in lower case."""
    began = time.monotonic()
    asked, earlier = Unfinished(user, texts), unfinished(storage)
    report = EraseReport(storage.place, finished_earlier=earlier is not None)
    if earlier == asked:
        open_catalogue(storage, report, progress)
    else:
        _Erasing(storage, open_catalogue(storage), asked, report, progress).run()
    report.seconds = time.monotonic() - began
    return report


def check_exists(storage: Storage) -> None:
    """Check that there is an archive: after a wrong path, nobody must believe that a person was erased.

    Raises:
        ArchiveError: there is none.
    """
    if not storage.names(CATALOGUE_FOLDER) and not storage.names(live_log.FOLDER):
        raise ArchiveError(f"there is no archive at {storage.place}", hint="Check the path. Nothing was erased.")


@dataclass(slots=True)
class _Erasing:
    """One erase, while the caller holds the archive's lock.

    Attributes:
        message_ids: the ids of the person's messages.
        uploads: the files in them, as `upload_path` gives them.
        traces: finds and removes the traces, once the person's messages are known.
        bundles: the ids of bundles of others → the sha256 of the bundle's file, if the archive has it.
        without_file: ids of messages of others whose file must go.
        ids_in_attachments: both kinds of ids, once all messages have been read.
    """

    storage: Storage
    catalogue: CatalogueWriter
    what: Unfinished
    report: EraseReport
    progress: EraseProgress | None
    traces: Traces = field(init=False)
    message_ids: frozenset[str] = frozenset()
    uploads: frozenset[str] = frozenset()
    bundles: dict[str, str] = field(default_factory=dict)
    without_file: set[str] = field(default_factory=set)
    ids_in_attachments: pa.Array | None = None

    def run(self) -> None:
        """Take all steps."""
        self._find_own_messages()
        if unfinished(self.storage) is None:
            marker = {"user": self.what.user, "texts": self.what.texts}
            self.storage.write(MARKER, json_text(marker).encode())
        self._clean_live_log()
        self._clean_tables()
        for name in contents_without_row(self.storage, self.catalogue.state):
            self.storage.remove(name)
            self.report.attachments += 1
        self.catalogue.forget_earlier_states()
        self.storage.remove(MARKER)

    # ---------------------------------------------------------------- what is theirs

    def _find_own_messages(self) -> None:
        """Find the ids and the uploads of the person's messages, and the bundles of others."""
        message_ids: set[str | None] = set()
        uploads: set[str | None] = set()
        bundles: set[str | None] = set()
        is_own = pc.utf8_lower(ds.field("sender")) == self.what.user
        is_bundle = ds.field("type") == "combine"
        for kind in ("messages", "versions"):
            for file in self.catalogue.state.files_of(kind):
                rows = parquet.dataset(self.storage, [file], parquet.SCHEMAS[kind])
                own = rows.to_table(["message_id", "url"], filter=is_own)
                message_ids.update(own["message_id"].to_pylist())
                uploads.update(map(upload_path, own["url"].drop_null().to_pylist()))
                bundles.update(rows.to_table(["message_id"], filter=is_bundle)["message_id"].to_pylist())
        self.message_ids = frozenset(each for each in message_ids if each)
        self.uploads = frozenset(path for path in uploads if path)
        self.traces = Traces(
            self.what.user,
            texts=self.what.texts,
            message_ids=self.message_ids,
            uploads=self.uploads,
            conversations=self.catalogue.state.conversations.keys(),
        )
        if bundles:
            wanted = ds.field("message_id").isin(pa.array(bundles, pa.string())) & ds.field("sha256").is_valid()
            files = self.catalogue.state.files_of("attachments")
            entries = parquet.dataset(self.storage, files, parquet.ATTACHMENTS)
            columns = entries.to_table(["message_id", "sha256"], filter=wanted).to_pydict()
            self.bundles = dict(zip(columns["message_id"], columns["sha256"], strict=True))

    # ----------------------------------------------------------------- the live log

    def _clean_live_log(self) -> None:
        for name in self.storage.names(live_log.FOLDER):
            try:
                data = self.storage.read(name)
            except FileNotFoundError:  # a live log is written without the lock
                continue
            self._clean_live_file(name, data)

    def _clean_live_file(self, name: str, data: bytes) -> None:
        """Write a file of the live log again without the traces, if it has any. Each line is one entry."""
        left: list[bytes] = []
        removed = changed = 0
        for line in data.splitlines():
            try:
                entry = parsed(line)
                clean = self.traces.without_entry(entry)
                text = json_text(clean).encode(errors="backslashreplace")
            except (ValueError, AttributeError, RecursionError):
                # Not an entry: of a file that a killed writer has left nobody can say whose words it holds.
                if name.endswith(PART) or self.what.user.encode() in line.lower():
                    removed += 1
                else:
                    left.append(line)
                continue
            if clean is None:
                removed += 1
                continue
            left.append(line if clean == entry else text)
            changed += clean != entry
            self.report.texts_left += self.traces.are_in_texts(clean)
        if not removed and not changed:
            return
        if left:
            self.storage.replace(name, b"\n".join(left))
        else:
            self.storage.remove(name)
        self.report.files += 1
        self.report.live_removed += removed
        self.report.live_changed += changed

    # ------------------------------------------------------------------- the tables

    def _clean_tables(self) -> None:
        """Write the files that have traces again, and commit all of them at once."""
        state = self.catalogue.state
        files = [file for kind in ("messages", "versions", "attachments") for file in state.files_of(kind)]
        total, done = sum(file.rows for file in files), 0
        added: list[StoredFile] = []
        removed: list[str] = []
        for file in files:  # attachments come last: the messages say which files must go
            table = parquet.read(self.storage, [file], parquet.SCHEMAS[file.kind])
            try:
                clean = self._clean_attachments(table) if file.kind == "attachments" else self._clean_rows(table)
            except UnicodeDecodeError as error:
                raise ArchiveError(f"{file.name} of the archive {self.storage.place} is damaged: {error}") from error
            if clean is not None:
                added += parquet.write(self.storage, file.kind, clean) if clean.num_rows else []
                removed.append(file.name)
            done += file.rows
            if self.progress is not None:
                self.progress(done, total)
        self.report.files += len(removed)
        conversations = tuple(self._clean_conversations())
        # A commit even if nothing has changed: it deletes the files that were kept for readers.
        self.catalogue.commit(Commit(tuple(added), tuple(removed), conversations, at_once=True))

    def _clean_rows(self, table: pa.Table) -> pa.Table | None:
        """Return the rows of a file of messages or versions without the traces; `None` if there are none."""
        suspects = _is_in(table["type"], pa.array(["unknown", "combine"]))
        for name in ("sender", *_TEXTS):
            suspects |= self._has_id(table[name])
        for name in JSON_COLUMNS:  # JSON text inside of JSON text may have letters of the id as escapes
            suspects |= _flags(pc.match_substring(table[name], "\\u00"))
        if self.message_ids:  # a quote may name only the message
            for name in ("ext", "payload"):
                suspects |= _flags(pc.match_substring_regex(table[name], "[0-9]{17}"))
        if self.uploads:
            suspects |= _flags(pc.match_substring(table["url"], "/chatfiles/"))
        return self._cleaned(table, suspects, _COLUMNS, self._without_row)

    def _without_row(self, row: Row) -> Row | None:
        if self.traces.is_own(row):
            self.report.rows_removed += 1
            return None
        clean = self.traces.without_row(row, self._is_in_bundle(row))
        self.report.rows_changed += clean != row
        self.report.texts_left += self.traces.are_in_texts({name: clean[name] for name in _TEXTS})
        if row["url"] and not clean["url"]:
            self.without_file.add(row["message_id"])
        return clean

    def _is_in_bundle(self, row: Row) -> bool:
        """Return whether the archive has the file of this bundle, and messages of the person are in it."""
        sha256 = self.bundles.get(row["message_id"]) if row["type"] == "combine" else None
        if sha256 is None:
            return False
        try:
            return self.traces.are_in_bytes(self.storage.read(content_name(sha256)))
        except FileNotFoundError:
            return False

    def _clean_attachments(self, table: pa.Table) -> pa.Table | None:
        """Return the rows of a file of attachments without the traces; `None` if there are none."""
        if self.ids_in_attachments is None:
            self.ids_in_attachments = pa.array([*self.message_ids, *self.without_file], pa.string())
        suspects = _is_in(table["message_id"], self.ids_in_attachments)
        suspects |= self._has_id(table["file_name"]) | self._has_id(table["reason"])
        return self._cleaned(table, suspects, _ATTACHMENT_COLUMNS, self._without_attachment)

    def _without_attachment(self, row: Row) -> Row | None:
        if row["message_id"] in self.message_ids:
            return None
        if row["message_id"] in self.without_file:
            return {**row, "sha256": None, "size": None, "file_name": None, "reason": ERASED, "final": True}
        file_name, reason = row["file_name"], row["reason"]
        return {
            **row,
            "file_name": file_name and self.traces.without_words(file_name),
            "reason": reason and self.traces.without_words(reason, always=True),  # words of the service, of nobody
        }

    def _has_id(self, column: pa.ChunkedArray) -> BoolArray:
        """Return in which rows a text has the letters of the id: few, so that only these are looked at one by one."""
        return _flags(pc.match_substring(column, self.what.user, ignore_case=True))

    def _cleaned(
        self, table: pa.Table, suspects: BoolArray, names: Sequence[str], clean: Callable[[Row], Row | None]
    ) -> pa.Table | None:
        """Return a table without the traces, or `None` if it has none.

        Args:
            table: the rows of a file.
            suspects: the rows that may have traces.
            names: the columns in which `clean` may change a row.
            clean: returns a row without the traces; `None` if the row must be removed.
        """
        kept = np.ones(table.num_rows, dtype=bool)
        is_changed = np.zeros(table.num_rows, dtype=bool)
        changed: list[Row] = []
        positions = np.flatnonzero(suspects)
        without_times = [column.name for column in table.schema if not pa.types.is_timestamp(column.type)]
        rows = table.select(without_times).take(pa.array(positions)).to_pylist()
        for position, row in zip(positions, rows, strict=True):
            new = clean(row)
            if new is None:
                kept[position] = False
            elif new != row:
                is_changed[position] = True
                changed.append(new)
        if kept.all() and not changed:
            return None
        for name in names if changed else ():
            index = table.schema.get_field_index(name)
            values = pa.array([row[name] for row in changed], table.schema.field(index).type)
            column = pc.replace_with_mask(table[name].combine_chunks(), pa.array(is_changed), values)
            table = table.set_column(index, table.schema.field(index), column)
        return table.filter(pa.array(kept))

    def _clean_conversations(self) -> Iterator[ConversationState]:
        for known in self.catalogue.state.conversations.values():
            newest_id = "" if known.newest_id in self.message_ids else known.newest_id
            name = self.traces.without_words(known.name)
            self.report.texts_left += self.traces.are_in_texts({"name": name})
            if (newest_id, name) != (known.newest_id, known.name):
                yield replace(known, newest_id=newest_id, name=name)


def _is_in(column: pa.ChunkedArray, values: pa.Array) -> BoolArray:
    return np.asarray(pc.is_in(column, value_set=values))


def _flags(column: pa.ChunkedArray) -> BoolArray:
    """Return booleans; NA is false."""
    return np.asarray(pc.fill_null(column, False))
