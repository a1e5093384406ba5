"""The catalogue: which files an archive consists of, and how far each conversation has been read.

The catalogue is a log of small numbered files. Each commit names the data files that it adds and removes, and the
conversations that it changes. Every 16 commits a checkpoint holds the whole state, and older files are removed. The
newest checkpoint and the commits after it *are* the archive: a data file that they do not name is not part of it.

So a writer that is killed at any moment leaves either the state before a commit or the state after it. At worst it also
leaves files that no commit names; the next writer removes them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, Self, get_args

from imkit.archive.storage import Storage
from imkit.errors import ArchiveError
from imkit.history.time_ranges import Range
from imkit.whole_files import PART

FORMAT = 1
FOLDER = "catalogue"
CHECKPOINT_EVERY = 16
_COMMIT, _CHECKPOINT = ".commit.json", ".checkpoint.json"
_LOAD_ATTEMPTS = 10
_RESTORE_HINT = "Copy the catalogue back from a backup; the data files are not touched by this."

TableName = Literal["messages", "versions", "attachments"]
ConversationKind = Literal["thread", "group"]
Status = Literal["ok", "vanished", "forbidden"]

# The fields of StoredFile and ConversationState are the keys of the catalogue's JSON: never rename one.


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
    """

    name: str
    kind: TableName
    day: str
    rows: int
    size: int
    sha256: str
    first: int
    last: int


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
    """

    id: str
    kind: ConversationKind = "thread"
    name: str = ""
    group_id: str = ""
    newest_id: str = ""
    newest_at: int = 0
    covered: tuple[Range, ...] = ()
    status: Status = "ok"
    status_since: int = 0
    synced_at: int = 0

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Self:
        """Return the state that a catalogue file holds, without fields that a later version of imkit has added."""
        known = {each.name: entry[each.name] for each in fields(cls) if each.name in entry}
        known["covered"] = tuple((int(first), int(last)) for first, last in known.get("covered", ()))
        return cls(**known)


@dataclass(frozen=True, slots=True)
class Commit:
    """A change of the archive that happens as a whole or not at all.

    Args:
        added: new data files.
        removed: names of data files that are no longer part of the archive.
        conversations: the new state of each conversation that changes.
        app_key: the app that the messages belong to; "" if the commit does not know.
    """

    added: tuple[StoredFile, ...] = ()
    removed: tuple[str, ...] = ()
    conversations: tuple[ConversationState, ...] = ()
    app_key: str = ""


@dataclass(frozen=True, slots=True)
class State:
    """The archive after commit `number`."""

    number: int = 0
    app_key: str = ""
    files: Mapping[str, StoredFile] = field(default_factory=dict)
    conversations: Mapping[str, ConversationState] = field(default_factory=dict)

    def after(self, commit: Commit) -> State:
        """Return the state that a commit leads to."""
        removed = set(commit.removed)
        files = {name: file for name, file in self.files.items() if name not in removed}
        files.update((file.name, file) for file in commit.added)
        return replace(
            self,
            number=self.number + 1,
            app_key=self.app_key or commit.app_key,
            files=files,
            conversations={**self.conversations, **_by_id(commit.conversations)},
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
        state = state.after(_commit_from(_read(storage, commits[number])))
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
            return _state_from(_read(storage, name)), damage
        except ArchiveError as error:
            damage = error
    return State(), damage


def _number_in(name: str) -> int:
    digits = name.rpartition("/")[2].partition(".")[0]
    return int(digits) if digits.isdigit() else 0


def _read(storage: Storage, name: str) -> dict[str, Any]:
    try:
        envelope = json.loads(storage.read(name))
        content: dict[str, Any] = envelope["content"]
        if envelope["sha256"] != _digest(content):
            raise ValueError("its checksum does not match")
    except (ValueError, KeyError, TypeError) as error:
        raise ArchiveError(f"{name} of the archive {storage.place} is damaged: {error}", hint=_RESTORE_HINT) from error
    if content["format"] > FORMAT:
        raise ArchiveError(
            f"the archive {storage.place} was written by a later version of imkit", hint="pip install --upgrade imkit"
        )
    return content


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _with_digest(content: Mapping[str, Any]) -> bytes:
    """Return the bytes of a catalogue file: the content and its checksum."""
    content = {"format": FORMAT, **content}
    return json.dumps({"sha256": _digest(content), "content": content}, sort_keys=True).encode()


def _commit_from(content: Mapping[str, Any]) -> Commit:
    return Commit(
        tuple(StoredFile(**file) for file in content["added"]),
        tuple(content["removed"]),
        tuple(map(ConversationState.from_json, content["conversations"])),
        content["app_key"],
    )


def _state_from(content: Mapping[str, Any]) -> State:
    files = (StoredFile(**file) for file in content["files"])
    return State(
        content["number"],
        content["app_key"],
        {file.name: file for file in files},
        _by_id(map(ConversationState.from_json, content["conversations"])),
    )


class CatalogueWriter:
    """Commits changes to the catalogue, while the caller holds the archive's lock.

    Making one removes what a killed writer has left behind.

    Args:
        storage: the archive's storage; the caller holds its lock.

    Attributes:
        state: the archive after the last commit.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.state = load(storage)
        for name in orphans(storage, self.state):
            storage.remove(name)
        self._remove_old_files()

    def commit(self, commit: Commit) -> None:
        """Write a commit, then remove the data files that it takes out of the archive."""
        state = self.state.after(commit)
        self._storage.write(f"{FOLDER}/{state.number:012d}{_COMMIT}", _with_digest(asdict(commit)))
        self.state = state
        for name in commit.removed:
            self._storage.remove(name)
        if state.number % CHECKPOINT_EVERY == 0:
            self._write_checkpoint()

    def _write_checkpoint(self) -> None:
        state = self.state
        content = {
            "number": state.number,
            "app_key": state.app_key,
            "files": [asdict(file) for file in state.files.values()],
            "conversations": [asdict(each) for each in state.conversations.values()],
        }
        self._storage.write(f"{FOLDER}/{state.number:012d}{_CHECKPOINT}", _with_digest(content))
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
    names = [name for name in storage.names(FOLDER) if name.endswith(PART)]
    for kind in get_args(TableName):
        names += [name for name in storage.names(kind) if name not in state.files and not _is_attachment(name)]
    return names


def _is_attachment(name: str) -> bool:
    """Whether this is the content of an attachment: the catalogue does not list those, their names are their hashes."""
    return name.startswith("attachments/") and not name.endswith((".parquet", PART))
