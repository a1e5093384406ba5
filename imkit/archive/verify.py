"""Checking an archive: every file that the catalogue names is there, is whole, and holds each message once."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from imkit.archive import catalogue, parquet
from imkit.archive.attachments import content_name
from imkit.archive.catalogue import State, StoredFile
from imkit.archive.read import unread
from imkit.archive.storage import Storage
from imkit.errors import ArchiveError
from imkit.escape import for_html, for_terminal
from imkit.history.columns import SCHEMA_VERSION


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong with an archive: where, what, and what to do."""

    where: str
    what: str
    do: str


@dataclass(slots=True)
class Verification:
    """What `Archive.verify` has found.

    Attributes:
        problems: what is wrong; empty for a sound archive.
        notes: what is not wrong, but worth knowing: conversations not read to their end, remains of a killed writer.
        files, rows, conversations: how many there are.
    """

    place: str
    files: int = 0
    rows: int = 0
    conversations: int = 0
    problems: list[Problem] = field(default_factory=list)
    notes: list[Problem] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def _lines(self) -> Iterator[str]:
        verdict = "sound" if self.ok else f"{len(self.problems):,} problems"
        counts = f"{self.rows:,} messages of {self.conversations:,} conversations in {self.files:,} files"
        yield f"archive {self.place}: {verdict}; {counts}"
        for mark, found in (("!", self.problems), ("·", self.notes)):
            yield from (f"{mark} {one.where}: {one.what}. {one.do}" for one in found)

    def __repr__(self) -> str:
        return "\n".join(for_terminal(line) for line in self._lines())

    def _repr_html_(self) -> str:
        first, *others = (for_html(line) for line in self._lines())
        points = "".join(f"<li>{line}</li>" for line in others)
        return f"<b>{first}</b>" + (f"<ul>{points}</ul>" if points else "")


_RESTORE = "Copy it back from a backup; or delete the archive and sync it anew, as far as the service still has it."


def verify(storage: Storage) -> Verification:
    """Read everything, and say what is wrong."""
    found = Verification(storage.place)
    try:
        state = catalogue.load(storage)
    except (ArchiveError, FileNotFoundError) as error:
        found.problems.append(Problem("catalogue", str(error), "Nothing else can be told without it."))
        return found
    found.conversations = len(state.conversations)
    days: defaultdict[str, list[pa.ChunkedArray]] = defaultdict(list)
    for kind, schema in parquet.SCHEMAS.items():
        for file in state.of(kind):
            found.files += 1
            try:
                table = _checked(storage, file, schema)
            except (ValueError, OSError, pa.ArrowException) as error:
                if catalogue.load(storage).files.get(file.name) == file:  # else a writer has merged it away meanwhile
                    found.problems.append(Problem(file.name, str(error), _RESTORE))
                continue
            if kind == "messages":
                found.rows += file.rows
                days[file.day].append(parquet.keys(table))
            elif kind == "attachments":
                _check_contents(storage, table, found)
    for day, parts in days.items():
        keys = pa.chunked_array([chunk for part in parts for chunk in part.chunks], pa.string())
        twice = len(keys) - pc.count_distinct(keys).as_py()
        if twice:
            what, do = f"{twice:,} messages stand in it twice", "Please report it: imkit never writes that."
            found.problems.append(Problem(f"messages/day={day}", what, do))
    _note(storage, state, found)
    return found


def _checked(storage: Storage, file: StoredFile, schema: pa.Schema) -> pa.Table:
    """Return the rows of a file that is as the catalogue says.

    Raises:
        ValueError: it is not.
        OSError: it cannot be read.
    """
    try:
        data = storage.read(file.name)
    except FileNotFoundError:
        raise ValueError("the file is missing") from None
    if hashlib.sha256(data).hexdigest() != file.sha256:
        raise ValueError("its bytes are not those that were written")
    table = pq.read_table(pa.py_buffer(data))
    version = (table.schema.metadata or {}).get(b"imkit.schema", SCHEMA_VERSION.encode()).decode()
    if version != SCHEMA_VERSION or table.schema.names != schema.names:
        raise ValueError(f"its columns are those of schema {version}, not {SCHEMA_VERSION}")
    if table.num_rows != file.rows:
        raise ValueError(f"it has {table.num_rows:,} rows, not {file.rows:,}")
    moments = (parquet.milliseconds(table["time"]).min(), file.first, file.last)
    days = {parquet.day_name(int(moment)) for moment in moments}
    if days != {file.day}:
        raise ValueError(f"its rows are of {', '.join(sorted(days))}, not of {file.day} alone")
    return table


def _check_contents(storage: Storage, table: pa.Table, found: Verification) -> None:
    for sha256 in pc.unique(table["sha256"].drop_null()).to_pylist():
        name = content_name(sha256)
        try:
            whole = hashlib.sha256(storage.read(name)).hexdigest() == sha256
        except OSError:
            whole = False
        if not whole:
            found.problems.append(Problem(name, "the attachment is missing or damaged", _RESTORE))


def _note(storage: Storage, state: State, found: Verification) -> None:
    for conversation in state.conversations.values():
        where = f"{conversation.kind} {conversation.id}"
        lack = unread(conversation, None, None)
        if lack and conversation.status == "ok":
            found.notes.append(Problem(where, lack.partition(": ")[2], "The next sync goes on with it."))
        elif conversation.status != "ok":
            since = parquet.day_name(conversation.status_since)
            found.notes.append(Problem(where, f"{conversation.status} since {since}", "What was read of it is kept."))
    for name in catalogue.orphans(storage, state):
        found.notes.append(Problem(name, "no part of the archive", "The next sync removes it."))
