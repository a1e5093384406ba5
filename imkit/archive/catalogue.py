"""The catalogue: which files an archive consists of, and how far each conversation has been read.

The catalogue is a log of small numbered files. Each commit names the data files that it adds and removes, and the
conversations that it changes. Every 16 commits a checkpoint holds the whole state, and older files are removed. The
newest checkpoint and the commits after it *are* the archive: a data file that they do not name is not part of it.

So a writer that is killed at any moment leaves either the state before a commit or the state after it. At worst it also
leaves files that no commit names; the next writer removes them.

Readers may still use a file when a commit removes it. So the writer moves it to `replaced/`, where `Storage.open` finds
it, and the catalogue lists it as retired. A later commit deletes it, after `GRACE_MS`.

A catalogue may come from a stranger, and a writer deletes what it names. So every value is checked when it is read: the
types and patterns of `StoredFile`, `ConversationState`, `Commit` and `_Checkpoint` say what a catalogue may hold.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import date
from typing import Annotated, Any, Literal, TypeVar, get_args

import msgspec

from imkit.archive.storage import REPLACED, Storage, archive_errors
from imkit.errors import ArchiveError
from imkit.times import LAST_MILLISECOND
from imkit.whole_files import PART

FORMAT = 1
GRACE_MS = 10 * 60_000  # how long a file that a commit removed stays for readers that still use it
_LONGEST_STEP_MS = GRACE_MS // 2  # see `State.clock`
_FIRST_MILLISECOND = -62_135_596_800_000  # the first day of the year 1
FOLDER = "catalogue"
CHECKPOINT_EVERY = 16
_COMMIT, _CHECKPOINT = ".commit.json", ".checkpoint.json"
_LOAD_ATTEMPTS = 10
_RESTORE_HINT = "Copy the catalogue back from a backup; the data files are not touched by this."

TableName = Literal["messages", "versions", "attachments"]
ConversationKind = Literal["thread", "group"]
Status = Literal["ok", "vanished", "forbidden"]

# What a catalogue may hold. A data file lies below the archive, and its name is the same in any case of its letters.
FileName = Annotated[
    str,
    msgspec.Meta(
        pattern=r"\A(messages|versions|attachments)/day=[0-9]{4}-[0-9]{2}-[0-9]{2}/"
        r"[0-9][0-9T]{0,20}(-[0-9a-f]{1,64})?\.parquet\Z"
    ),
]
Digest = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]
Text = Annotated[str, msgspec.Meta(pattern="\\A[^\ud800-\udfff]*\\Z")]  # what UTF-8 can encode
MessageId = Annotated[str, msgspec.Meta(pattern=r"\A[0-9]{0,20}\Z")]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
Time = Annotated[int, msgspec.Meta(ge=_FIRST_MILLISECOND, le=LAST_MILLISECOND)]

# The fields of the next classes are the keys of the catalogue's JSON: never rename one. `extra` holds the keys that a
# later version of imkit has written and this one does not know. They are kept when the catalogue is written again.


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A data file, with what a reader needs to choose it and to verify it.

    Args:
        name: relative to the archive.
        kind: the table that its rows belong to.
        day: the UTC day of its rows.
        rows: number of rows.
        size: in bytes.
        sha256: of its bytes.
        first, last: the earliest and the latest time of its rows, in ms since the epoch.
        first_id, last_id: the smallest and the largest message id of its rows; "" if they have none, or if an earlier
            version of imkit wrote the entry.
        extra: keys of a later version.
    """

    name: FileName
    kind: TableName
    day: str
    rows: Count
    size: Count
    sha256: Digest
    first: Time
    last: Time
    first_id: MessageId = ""
    last_id: MessageId = ""
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        date.fromisoformat(self.day)
        if not self.name.startswith(f"{self.kind}/day={self.day}/"):
            raise ValueError(f"{self.name} is not the name of a file of {self.kind} of {self.day}")


@dataclass(frozen=True, slots=True)
class ConversationState:
    """How far the history of a thread or group has been read.

    Args:
        id: of the thread or group.
        kind: thread or group.
        name: the last name that the service gave.
        group_id: the group of a thread; "" for a group.
        newest_id: the newest message, as the service gave it when the history was last read to its end; "" if none.
        newest_at: the time of that message, in ms since the epoch.
        covered: time ranges that have been read: the archive holds every message in them.
        status: "ok"; "vanished": the service has no such thread any more; "forbidden": this user may no longer read it.
        status_since: when imkit found that status, in ms since the epoch.
        synced_at: when a sync last looked at the conversation, in ms since the epoch.
        extra: keys of a later version.
    """

    id: Text
    kind: ConversationKind = "thread"
    name: Text = ""
    group_id: Text = ""
    newest_id: Text = ""
    newest_at: Time = 0
    covered: tuple[tuple[Time, Time], ...] = ()
    status: Status = "ok"
    status_since: Time = 0
    synced_at: Time = 0
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Commit:
    """A change of the archive that happens as a whole or not at all.

    Args:
        added: new data files.
        removed: names of data files that are no longer part of the archive.
        conversations: the new state of each conversation that changes.
        app_key: the app that the messages belong to; "" if the commit does not know.
        at: when it was written, in ms since the epoch; `CatalogueWriter.commit` sets it.
        at_once: whether the removed files, and all that were retired before, are deleted although readers may use them.
        extra: keys of a later version.
    """

    added: tuple[StoredFile, ...] = ()
    removed: tuple[FileName, ...] = ()
    conversations: tuple[ConversationState, ...] = ()
    app_key: Text = ""
    at: Time = 0
    at_once: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Checkpoint:
    """The content of a checkpoint; the attributes of `State` say what it means."""

    number: Count
    app_key: Text
    files: tuple[StoredFile, ...]
    conversations: tuple[ConversationState, ...]
    retired: Mapping[FileName, Count] = field(default_factory=dict)
    clock: Count = 0
    at: Time = 0
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Version:
    """Which version of this module a catalogue file needs: to be read, and to be written again."""

    format: Count
    write_format: Count = 0


@dataclass(frozen=True, slots=True)
class State:
    """The archive after commit `number`.

    Attributes:
        number: of the last commit.
        app_key: the app that the messages belong to; "" if that is not known.
        files: name → data file.
        conversations: id → how far it has been read.
        retired: name → the `clock` at which a commit removed the file; it is still in `replaced/` for readers.
        clock: ms between the commits so far. One step counts for 5 minutes at the most, and never backwards. So a
            single jump of the machine's clock does not delete a file before its time.
        at: the time of the last commit, in ms since the epoch.
        write_format: the version of this module that may write the catalogue.
        extra: keys of a later version.
    """

    number: int = 0
    app_key: str = ""
    files: Mapping[str, StoredFile] = field(default_factory=dict)
    conversations: Mapping[str, ConversationState] = field(default_factory=dict)
    retired: Mapping[str, int] = field(default_factory=dict)
    clock: int = 0
    at: int = 0
    write_format: int = FORMAT
    extra: Mapping[str, Any] = field(default_factory=dict)

    def after(self, commit: Commit) -> State:
        """Return the state that a commit leads to."""
        removed = set(commit.removed)
        files = {name: file for name, file in self.files.items() if name not in removed}
        files.update((file.name, file) for file in commit.added)
        clock = self.clock + min(max(commit.at - self.at, 0), _LONGEST_STEP_MS)
        retired = {
            **{name: since for name, since in self.retired.items() if clock - since < GRACE_MS},
            **{name: clock for name in removed if name in self.files},
        }
        return replace(
            self,
            number=self.number + 1,
            app_key=self.app_key or commit.app_key,
            files=files,
            conversations={**self.conversations, **_by_id(commit.conversations)},
            retired={} if commit.at_once else {name: since for name, since in retired.items() if name not in files},
            clock=clock,
            at=commit.at,
            extra={**self.extra, **commit.extra},
        )

    def files_of(self, kind: TableName) -> list[StoredFile]:
        """Return the files of one table, the oldest day first."""
        return sorted(
            (file for file in self.files.values() if file.kind == kind), key=lambda file: (file.day, file.name)
        )


def _by_id(conversations: Iterable[ConversationState]) -> dict[str, ConversationState]:
    return {conversation.id: conversation for conversation in conversations}


def load(storage: Storage) -> State:
    """Return the state of an archive. A writer may be at work meanwhile.

    Raises:
        ArchiveError: a catalogue file is damaged or missing, or a later version of imkit wrote it.
    """
    with archive_errors(storage, "read"):
        for _ in range(_LOAD_ATTEMPTS - 1):
            try:
                return _load_once(storage)
            except FileNotFoundError:  # a writer has replaced a file that was just listed by a checkpoint
                continue
        try:
            return _load_once(storage)
        except FileNotFoundError as error:
            raise ArchiveError(f"the archive {storage.place} is damaged: {error}", hint=_RESTORE_HINT) from error


def _load_once(storage: Storage) -> State:
    names = [name for name in storage.names(FOLDER) if not name.endswith(PART)]
    checkpoints = sorted((name for name in names if name.endswith(_CHECKPOINT)), reverse=True)
    commits = {_number_in(name): name for name in names if name.endswith(_COMMIT)}
    state, damage = _newest_readable(storage, checkpoints)
    for number in range(state.number + 1, max(commits, default=0) + 1):
        if number not in commits:
            if number == state.number + 1:
                # Either a checkpoint replaced the commit while we listed, or the commit is lost.
                raise damage or FileNotFoundError(f"commit {number} is missing from the catalogue of {storage.place}")
            break
        version, commit = _read(storage, commits[number], Commit)
        state = replace(state.after(commit), write_format=max(state.write_format, version.write_format))
    if damage is not None and state.number < max(map(_number_in, checkpoints)):
        raise damage
    return state


def _newest_readable(storage: Storage, checkpoints: Iterable[str]) -> tuple[State, ArchiveError | None]:
    """Return the state of the newest checkpoint that can be read, and the error of one that cannot, if any.

    A writer keeps the last two checkpoints, so that one may be damaged.
    """
    damage = None
    for name in checkpoints:
        try:
            version, checkpoint = _read(storage, name, _Checkpoint)
            return _state_of(checkpoint, max(FORMAT, version.write_format)), damage
        except ArchiveError as error:
            damage = error
    return State(), damage


def _state_of(checkpoint: _Checkpoint, write_format: int) -> State:
    files = {file.name: file for file in checkpoint.files}
    return State(
        checkpoint.number,
        checkpoint.app_key,
        files,
        _by_id(checkpoint.conversations),
        {name: since for name, since in checkpoint.retired.items() if name not in files},
        checkpoint.clock,
        checkpoint.at,
        write_format,
        checkpoint.extra,
    )


def _number_in(name: str) -> int:
    digits = name.rpartition("/")[2].partition(".")[0]
    return int(digits) if digits.isascii() and digits.isdigit() else 0


# ------------------------------------------------------------------- JSON

_Content = TypeVar("_Content", Commit, _Checkpoint)
_ENTRIES: dict[str, type[StoredFile | ConversationState]] = {
    "added": StoredFile,
    "files": StoredFile,
    "conversations": ConversationState,
}


def _read(storage: Storage, name: str, kind: type[_Content]) -> tuple[_Version, _Content]:
    """Return the checked content of a catalogue file.

    Raises:
        ArchiveError: it is damaged, or a later version of imkit wrote it.
    """
    try:
        envelope = json.loads(storage.read(name))
        content = envelope["content"]
        if envelope["sha256"] != _digest(content):
            raise ValueError("its checksum does not match")
        version = msgspec.convert(content, _Version)
        if version.format > FORMAT:
            hint = "pip install --upgrade imkit"
            raise ArchiveError(f"the archive {storage.place} was written by a later version of imkit", hint=hint)
        checked = _checked(content, kind)
        if isinstance(checked, _Checkpoint) and checked.number != _number_in(name):
            raise ValueError(f"it is checkpoint {checked.number}")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ArchiveError(f"{name} of the archive {storage.place} is damaged: {error}", hint=_RESTORE_HINT) from error
    return version, checked


def _checked(content: dict[str, Any], kind: type[_Content]) -> _Content:
    """Return the content of a catalogue file as an object.

    Raises:
        msgspec.ValidationError: a value is not one that a catalogue may hold; also a ValueError. The text says where.
    """
    content = {key: value for key, value in content.items() if key not in ("format", "write_format")}
    for key, entry_kind in _ENTRIES.items():
        if isinstance(content.get(key), list):
            content[key] = [_without_unknown(entry, _KEYS[entry_kind]) for entry in content[key]]
    return msgspec.convert(_without_unknown(content, _KEYS[kind]), kind)


_KEYS: dict[type, frozenset[str]] = {
    kind: frozenset(each.name for each in fields(kind)) - {"extra"}
    for kind in (StoredFile, ConversationState, Commit, _Checkpoint)
}


def _without_unknown(entry: Any, known: frozenset[str]) -> Any:
    """Return a JSON object with the keys that this version does not know in an object of their own, `extra`."""
    if not isinstance(entry, dict) or entry.keys() <= known:
        return entry
    extra = {key: value for key, value in entry.items() if key not in known}
    return {**{key: value for key, value in entry.items() if key in known}, "extra": extra}


def _as_json(entry: StoredFile | ConversationState | Commit | _Checkpoint) -> dict[str, Any]:
    """Return an object as `_checked` reads it."""
    known = {each.name: getattr(entry, each.name) for each in fields(entry) if each.name != "extra"}
    for key in _ENTRIES.keys() & known.keys():
        known[key] = [_as_json(each) for each in known[key]]
    return {**entry.extra, **known}


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _with_digest(content: Mapping[str, Any]) -> bytes:
    """Return the bytes of a catalogue file: the content and its checksum."""
    content = {**content, "format": FORMAT}
    return json.dumps({"sha256": _digest(content), "content": content}, sort_keys=True).encode()


def _now() -> int:
    return int(time.time() * 1000)


class CatalogueWriter:
    """Commits changes to the catalogue, while the caller holds the archive's lock.

    Making one removes what a killed writer has left behind.

    Args:
        storage: the archive's storage; the caller holds its lock.
        clock: returns the time in ms since the epoch.

    Attributes:
        state: the archive after the last commit.

    Raises:
        ArchiveError: the catalogue is damaged, or only a later version of imkit may write it.
    """

    def __init__(self, storage: Storage, clock: Callable[[], int] = _now) -> None:
        self._storage = storage
        self._clock = clock
        self.state = load(storage)
        if self.state.write_format > FORMAT:
            what = f"a later version of imkit wrote the archive {storage.place}; this one can read it, not write it"
            raise ArchiveError(what, hint="pip install --upgrade imkit")
        for name in orphans(storage, self.state):
            storage.remove(name)
        # A killed writer may not have set aside what its last commit removed.
        self._set_aside(name for name, since in self.state.retired.items() if since == self.state.clock)
        self._remove_old_files()

    def commit(self, commit: Commit) -> None:
        """Write a commit, then set the removed files aside, and delete those that were retired long enough ago.

        Raises:
            ArchiveError: the commit holds what no catalogue may hold, so nobody could read it.
        """
        commit = replace(commit, at=min(max(self._clock(), 0), LAST_MILLISECOND))
        content = _as_json(commit)
        try:
            _checked(content, Commit)
        except ValueError as error:
            what = f"a change of the archive {self._storage.place} is not valid, and was not made: {error}"
            raise ArchiveError(what, hint="Please report this.") from error
        before, state = self.state, self.state.after(commit)
        self._storage.write(f"{FOLDER}/{state.number:012d}{_COMMIT}", _with_digest(content))
        self.state = state
        self._set_aside(state.retired.keys() - before.retired.keys())
        for name in (before.files.keys() | before.retired.keys()) - state.files.keys() - state.retired.keys():
            self._storage.remove(name)
            self._storage.remove(f"{REPLACED}/{name}")
        if state.number % CHECKPOINT_EVERY == 0:
            self._write_checkpoint()

    def forget_earlier_states(self) -> None:
        """Delete every catalogue file that says how the archive was before its present state."""
        for _ in range(2):  # two checkpoints, so that one may be damaged
            self.commit(Commit())
            if self.state.number % CHECKPOINT_EVERY:  # otherwise the commit has written one
                self._write_checkpoint()

    def _set_aside(self, names: Iterable[str]) -> None:
        """Move files to where only readers that had begun before look for them."""
        for name in names:
            self._storage.move(name, f"{REPLACED}/{name}")

    def _write_checkpoint(self) -> None:
        state = self.state
        checkpoint = _Checkpoint(
            state.number,
            state.app_key,
            tuple(state.files.values()),
            tuple(state.conversations.values()),
            state.retired,
            state.clock,
            state.at,
            state.extra,
        )
        self._storage.write(f"{FOLDER}/{state.number:012d}{_CHECKPOINT}", _with_digest(_as_json(checkpoint)))
        self._remove_old_files()

    def _remove_old_files(self) -> None:
        """Remove catalogue files that are older than the last checkpoint but one."""
        names = self._storage.names(FOLDER)
        checkpoints = sorted(_number_in(name) for name in names if name.endswith(_CHECKPOINT))
        if len(checkpoints) < 2:
            return
        for name in names:
            number, is_checkpoint = _number_in(name), name.endswith(_CHECKPOINT)
            if number < checkpoints[-2] or (number == checkpoints[-2] and not is_checkpoint):
                self._storage.remove(name)


def orphans(storage: Storage, state: State) -> list[str]:
    """Return the files that a killed writer has left behind. They are not part of the archive."""
    known = state.files.keys() | state.retired.keys()
    names = [name for name in storage.names(FOLDER) if name.endswith(PART)]
    names += [name for name in storage.names(REPLACED) if name.removeprefix(f"{REPLACED}/") not in state.retired]
    for kind in get_args(TableName):
        names += [name for name in storage.names(kind) if name not in known and not _is_attachment(name)]
    return names


def _is_attachment(name: str) -> bool:
    """Whether this is the content of an attachment: the catalogue does not list those, their names are their hashes."""
    return name.startswith("attachments/") and not name.endswith((".parquet", PART))
