"""The catalogue: which files an archive consists of, and what is known of its threads.

A log of small numbered files. Each commit names the data files that come and go with it, and says how far its threads
have been read; every so often a checkpoint holds all of it, and what is older goes. What the newest checkpoint and the
commits behind it say *is* the archive: a data file that none of them names is not a part of it.

So a writer that is killed at any moment leaves either the state before a commit or the one after it, and at worst some
files that nobody names, which the next writer removes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
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
_ATTEMPTS = 10
_RESTORE = "Copy the catalogue back from a backup; the data files are not touched by this."

Kind = Literal["messages", "versions", "attachments"]
Room = Literal["thread", "group"]
Status = Literal["ok", "vanished", "forbidden"]


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A data file: its name, and what verifying and reading only what is needed take.

    Args:
        name: relative to the archive.
        kind: which table its rows belong to.
        day: the UTC day of its rows.
        rows: how many.
        size: in bytes.
        sha256: of its bytes.
        first, last: the times of its rows, in ms since the epoch.
    """

    name: str
    kind: Kind
    day: str
    rows: int
    size: int
    sha256: str
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Conversation:
    """How far a thread's or group's history has been read.

    Args:
        id: the thread's or group's.
        kind: which of the two.
        name: as last heard.
        group_id: of a thread: its group.
        newest_id: the newest message's id when it was last read to its end, as the service told; "" for none.
        newest_at: that message's time, in ms since the epoch.
        covered: the time ranges that have been read: every message of theirs is in the archive.
        status: "ok"; "vanished": there is no such thread any more; "forbidden": this user may not read it any more.
        status_since: when that was found, in ms since the epoch.
        synced_at: when it was last looked at, likewise.
    """

    id: str
    kind: Room = "thread"
    name: str = ""
    group_id: str = ""
    newest_id: str = ""
    newest_at: int = 0
    covered: tuple[Range, ...] = ()
    status: Status = "ok"
    status_since: int = 0
    synced_at: int = 0

    @classmethod
    def read(cls, entry: Mapping[str, Any]) -> Self:
        """Return what a catalogue file holds; what a later version has added is left out."""
        known = {each.name: entry[each.name] for each in fields(cls) if each.name in entry}
        known["covered"] = tuple((int(first), int(last)) for first, last in known.get("covered", ()))
        return cls(**known)


@dataclass(frozen=True, slots=True)
class Commit:
    """What changes at once.

    Args:
        added, removed: data files; the removed by name.
        conversations: those that have changed, as they are from now on.
        app_key: whose messages these are, with the first commit that knows.
    """

    added: tuple[StoredFile, ...] = ()
    removed: tuple[str, ...] = ()
    conversations: tuple[Conversation, ...] = ()
    app_key: str = ""


@dataclass(frozen=True, slots=True)
class State:
    """An archive as of one commit."""

    number: int = 0
    app_key: str = ""
    files: Mapping[str, StoredFile] = field(default_factory=dict)
    conversations: Mapping[str, Conversation] = field(default_factory=dict)

    def after(self, commit: Commit) -> State:
        """Return the state that a commit leads to."""
        removed = set(commit.removed)
        files = {name: file for name, file in self.files.items() if name not in removed}
        files.update((file.name, file) for file in commit.added)
        conversations = {**self.conversations, **{each.id: each for each in commit.conversations}}
        return replace(
            self,
            number=self.number + 1,
            app_key=self.app_key or commit.app_key,
            files=files,
            conversations=conversations,
        )

    def of(self, kind: Kind) -> list[StoredFile]:
        """Return the files of one table, oldest day first."""
        return sorted(
            (file for file in self.files.values() if file.kind == kind), key=lambda file: (file.day, file.name)
        )


def load(storage: Storage) -> State:
    """Return the state of an archive, while others may write to it.

    Raises:
        ArchiveError: a catalogue file is damaged or missing, or a later version of imkit has written it.
    """
    for _ in range(_ATTEMPTS - 1):
        try:
            return _load(storage)
        except FileNotFoundError:  # a writer has put a checkpoint in the place of what was just listed
            continue
    try:
        return _load(storage)
    except FileNotFoundError as error:
        raise ArchiveError(f"the archive {storage.place} is damaged: {error}", hint=_RESTORE) from error


def _load(storage: Storage) -> State:
    names = [name for name in storage.names(FOLDER) if not name.endswith(PART)]
    checkpoints = sorted((name for name in names if name.endswith(_CHECKPOINT)), reverse=True)
    commits = {_number(name): name for name in names if name.endswith(_COMMIT)}
    state, damage = State(), None
    for name in checkpoints:  # the one before the newest is kept, for the day a disk forgets
        try:
            state = _state_of(_read(storage, name))
            break
        except ArchiveError as error:
            damage = error
    for number in range(state.number + 1, max(commits, default=0) + 1):
        if number not in commits:
            # A checkpoint made while we listed has taken its place, or it is gone for good.
            if number == state.number + 1:
                raise damage or FileNotFoundError(f"commit {number} is missing from the catalogue of {storage.place}")
            break
        state = state.after(_commit_of(_read(storage, commits[number])))
    if damage is not None and state.number < max(map(_number, checkpoints)):
        raise damage
    return state


def _number(name: str) -> int:
    digits = name.rpartition("/")[2].partition(".")[0]
    return int(digits) if digits.isdigit() else 0


def _read(storage: Storage, name: str) -> dict[str, Any]:
    try:
        found = json.loads(storage.read(name))
        content: dict[str, Any] = found["content"]
        if found["sha256"] != _digest(content):
            raise ValueError("its checksum is another")
    except (ValueError, KeyError, TypeError) as error:
        raise ArchiveError(f"{name} of the archive {storage.place} is damaged: {error}", hint=_RESTORE) from error
    if content["format"] > FORMAT:
        raise ArchiveError(
            f"the archive {storage.place} was written by a later version of imkit", hint="pip install --upgrade imkit"
        )
    return content


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _packed(content: Mapping[str, Any]) -> bytes:
    content = {"format": FORMAT, **content}
    return json.dumps({"sha256": _digest(content), "content": content}, sort_keys=True).encode()


def _commit_of(content: Mapping[str, Any]) -> Commit:
    return Commit(
        tuple(StoredFile(**file) for file in content["added"]),
        tuple(content["removed"]),
        tuple(Conversation.read(each) for each in content["conversations"]),
        content["app_key"],
    )


def _state_of(content: Mapping[str, Any]) -> State:
    files = (StoredFile(**file) for file in content["files"])
    conversations = (Conversation.read(each) for each in content["conversations"])
    return State(
        content["number"],
        content["app_key"],
        {file.name: file for file in files},
        {each.id: each for each in conversations},
    )


class Ledger:
    """The catalogue in the hands of the one who writes.

    Args:
        storage: the archive's; its lock is held.

    Attributes:
        state: as of the last commit.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.state = load(storage)
        self._tidy()

    def commit(self, commit: Commit) -> None:
        """Make a change the archive's, then remove the files that are no part of it any more."""
        state = self.state.after(commit)
        self._storage.write(f"{FOLDER}/{state.number:012d}{_COMMIT}", _packed(asdict(commit)))
        self.state = state
        for name in commit.removed:
            self._storage.remove(name)
        if state.number % CHECKPOINT_EVERY == 0:
            self._checkpoint()

    def _checkpoint(self) -> None:
        state = self.state
        content = {
            "number": state.number,
            "app_key": state.app_key,
            "files": [asdict(file) for file in state.files.values()],
            "conversations": [asdict(each) for each in state.conversations.values()],
        }
        self._storage.write(f"{FOLDER}/{state.number:012d}{_CHECKPOINT}", _packed(content))
        self._forget()

    def _forget(self) -> None:
        """Remove what the checkpoint before the newest makes superfluous."""
        names = self._storage.names(FOLDER)
        checkpoints = sorted(_number(name) for name in names if name.endswith(_CHECKPOINT))
        if len(checkpoints) < 2:
            return
        for name in names:
            number, is_checkpoint = _number(name), name.endswith(_CHECKPOINT)
            if number < checkpoints[-2] or (number == checkpoints[-2] and not is_checkpoint):
                self._storage.remove(name)

    def _tidy(self) -> None:
        """Remove what a killed writer has left behind."""
        for name in orphans(self._storage, self.state):
            self._storage.remove(name)
        self._forget()


def orphans(storage: Storage, state: State) -> list[str]:
    """Return the files that a killed writer has left behind: they are no part of the archive."""
    found = [name for name in storage.names(FOLDER) if name.endswith(PART)]
    for kind in get_args(Kind):
        found += [name for name in storage.names(kind) if name not in state.files and not _is_content(name)]
    return found


def _is_content(name: str) -> bool:
    """Whether this is an attachment: named by what is in it, it stands for itself."""
    return name.startswith("attachments/") and not name.endswith((".parquet", PART))
