"""Verifying an archive: every file that the catalogue names exists, is undamaged, and no message is stored twice."""

from __future__ import annotations

import contextlib
import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from imkit.archive import catalogue, parquet
from imkit.archive.attachments import content_name, contents_without_row
from imkit.archive.catalogue import State, StoredFile
from imkit.archive.erase import MARKER, unfinished, unfinished_parts
from imkit.archive.live_log import missed_events
from imkit.archive.read import why_incomplete
from imkit.archive.storage import Storage
from imkit.cards import report
from imkit.errors import ArchiveError
from imkit.escape import for_terminal
from imkit.history.columns import SCHEMA_VERSION


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong with an archive, or worth knowing.

    Attributes:
        where: the file, day or conversation.
        what: what is wrong.
        do: what the user can do about it.
    """

    where: str
    what: str
    do: str


@dataclass(slots=True)
class Verification:
    """The result of `Archive.verify`.

    Attributes:
        place: path or URL of the archive.
        files: number of files.
        rows: number of messages.
        conversations: number of threads and groups.
        problems: what is wrong; empty for a sound archive.
        notes: what is not wrong but worth knowing: conversations not read completely, files that a killed writer left.
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
        for mark, findings in (("!", self.problems), ("·", self.notes)):
            yield from (f"{mark} {one.where}: {one.what}. {one.do}" for one in findings)

    def __repr__(self) -> str:
        return "\n".join(for_terminal(line) for line in self._lines())

    def _repr_html_(self) -> str:
        return report(self._lines())


_RESTORE = "Copy it back from a backup. Or delete the archive and sync again what the service still has."


def verify(storage: Storage) -> Verification:
    """Read everything, and say what is wrong."""
    result = Verification(storage.place)
    try:
        state = catalogue.load(storage)
    except (ArchiveError, FileNotFoundError) as error:
        result.problems.append(Problem("catalogue", str(error), "Nothing else can be checked without it."))
        return result
    result.conversations = len(state.conversations)
    result.problems += _unfinished_erase(storage)
    keys_by_day: defaultdict[str, list[pa.ChunkedArray]] = defaultdict(list)
    for kind, schema in parquet.SCHEMAS.items():
        for file in state.files_of(kind):
            result.files += 1
            try:
                table = _checked_rows(storage, file, schema)
            except (ValueError, OSError, pa.ArrowException, ArchiveError) as error:
                if catalogue.load(storage).files.get(file.name) == file:  # no writer has removed it meanwhile
                    result.problems.append(Problem(file.name, str(error), _RESTORE))
                continue
            if kind == "messages":
                result.rows += file.rows
                keys_by_day[file.day].append(parquet.row_keys(table))
            elif kind == "attachments":
                result.problems += _attachment_problems(storage, table)
    result.problems += _duplicate_problems(keys_by_day)
    result.notes += _notes(storage, state)
    return result


def _unfinished_erase(storage: Storage) -> Iterator[Problem]:
    try:
        begun = unfinished(storage)
    except ArchiveError as error:
        yield Problem(MARKER, str(error), error.hint)
        return
    if begun is not None:
        do = f"Call archive.erase({begun.user!r}) again. The next sync or compact() finishes it too."
        yield Problem(MARKER, f"the erasing of {begun.user} was interrupted or is at work", do)


def _checked_rows(storage: Storage, file: StoredFile, schema: pa.Schema) -> pa.Table:
    """Return the rows of a file that matches its entry in the catalogue.

    Raises:
        ValueError: the file does not match.
        OSError: the file cannot be read.
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
    times = (parquet.milliseconds(table["time"]).min(), file.first, file.last)
    days = {parquet.utc_day(int(time)) for time in times}
    if days != {file.day}:
        raise ValueError(f"its rows belong to {', '.join(sorted(days))}, not to {file.day} alone")
    return table


def _attachment_problems(storage: Storage, table: pa.Table) -> Iterator[Problem]:
    for sha256 in pc.unique(table["sha256"].drop_null()).to_pylist():
        name = content_name(sha256)
        try:
            intact = hashlib.sha256(storage.read(name)).hexdigest() == sha256
        except (OSError, ArchiveError):
            intact = False
        if not intact:
            yield Problem(name, "the attachment is missing or damaged", _RESTORE)


def _duplicate_problems(keys_by_day: Mapping[str, Sequence[pa.ChunkedArray]]) -> Iterator[Problem]:
    for day, keys_of_files in keys_by_day.items():
        keys = pa.chunked_array([chunk for one in keys_of_files for chunk in one.chunks], pa.string())
        duplicates = len(keys) - pc.count_distinct(keys).as_py()
        if duplicates:
            what = f"{duplicates:,} messages are stored twice"
            yield Problem(f"messages/day={day}", what, "Please report this: imkit never writes a message twice.")


def _notes(storage: Storage, state: State) -> Iterator[Problem]:
    for conversation in state.conversations.values():
        where = f"{conversation.kind} {conversation.id}"
        reason = why_incomplete(conversation, None, None)
        if reason and conversation.status == "ok":
            yield Problem(where, reason.partition(": ")[2], "The next sync goes on with it.")
        elif conversation.status != "ok":
            since = parquet.utc_day(conversation.status_since)
            yield Problem(where, f"{conversation.status} since {since}", "The archive keeps its messages.")
    for missed in missed_events(storage):
        yield Problem("live log", str(missed), "The next sync of a conversation reads that time of it again.")
    for name in [*catalogue.orphans(storage, state), *unfinished_parts(storage)]:
        yield Problem(name, "not part of the archive", "The next sync removes it.")
    with contextlib.suppress(OSError, pa.ArrowException, ArchiveError):  # of a file that is a problem already
        for name in contents_without_row(storage, state):
            yield Problem(name, "no message has this attachment", "An erase removes it. A running sync may need it.")
