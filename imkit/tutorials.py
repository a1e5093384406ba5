"""The tutorials: where they are, and copies of them where a reader may edit them.

Nothing a reader has changed is ever written over. What was handed out is remembered by its hash, in a small file
beside the copies: a copy that still has that hash is the reader's no more than ours, and follows the next version.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from imkit.whole_files import whole_file

START = "00-start.ipynb"
_RECORD = ".imkit-tutorials.json"


@dataclass(frozen=True)
class Handed:
    """What became of one tutorial.

    Attributes:
        name: the file's name.
        what: "new" (copied), "updated" (an untouched copy replaced), "same" (nothing to do), "kept" (the reader has
            changed it, and it stays).
        beside: where the new version of a kept one is; None if there is none, or the reader has changed that, too.
        outdated: it is kept, and there is a newer version.
    """

    name: str
    what: Literal["new", "updated", "same", "kept"]
    beside: str | None = None
    outdated: bool = False


def folder_of_tutorials() -> Path:
    """Return where the tutorials are: in the package, or beside it in a checkout.

    Raises:
        FileNotFoundError: neither; this imkit was installed in parts.
    """
    package = Path(__file__).parent
    for folder in (package / "notebooks", package.parent / "notebooks"):
        if (folder / START).is_file():
            return folder
    raise FileNotFoundError(f"the tutorials are not where they should be: {package / 'notebooks'}")


def hand_out(folder: Path) -> list[Handed]:
    """Copy the tutorials into a folder, made if need be, and leave alone what its reader has changed there.

    Raises:
        OSError: the folder cannot be made, or not be written to.

    Example:
        >>> [one.what for one in hand_out(Path("imkit-tutorials"))]  # doctest: +SKIP
        ['new', 'new', 'new', 'new', 'new']
    """
    folder.mkdir(parents=True, exist_ok=True)
    shelf = folder_of_tutorials()
    tutorials = sorted(shelf.glob("*.ipynb"))
    if folder.samefile(shelf):  # a checkout, whose owner works on the tutorials themselves
        return [Handed(tutorial.name, "same") for tutorial in tutorials]
    record = _read_record(folder)
    handed = [_hand_out(tutorial, folder, record) for tutorial in tutorials]
    _write(folder / _RECORD, json.dumps(record, indent=1, sort_keys=True).encode())
    return handed


def _hand_out(source: Path, folder: Path, record: dict[str, str]) -> Handed:
    data, name = source.read_bytes(), source.name
    given = record.get(name)
    what = _place(folder / name, data, given)
    if what != "kept":
        record[name] = _hash(data)
        return Handed(name, what)
    if given == _hash(data):
        return Handed(name, "kept")
    beside = f"{source.stem}-new{source.suffix}"
    if _place(folder / beside, data, record.get(beside)) == "kept":
        return Handed(name, "kept", outdated=True)
    record[beside] = _hash(data)
    return Handed(name, "kept", beside, outdated=True)


def _place(target: Path, data: bytes, given: str | None) -> Literal["new", "updated", "same", "kept"]:
    """Put a file where nothing is, or where what is there is as it was given."""
    try:
        there = _hash(target.read_bytes())
    except FileNotFoundError:
        _write(target, data)
        return "new"
    if there == _hash(data):
        return "same"
    if there != given:
        return "kept"
    _write(target, data)
    return "updated"


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _read_record(folder: Path) -> dict[str, str]:
    """Return what was handed out; nothing if nobody can tell, and then every copy counts as the reader's."""
    try:
        found = json.loads((folder / _RECORD).read_bytes())
    except (OSError, ValueError):
        return {}
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}


def _write(target: Path, data: bytes) -> None:
    with whole_file(target) as file:
        file.write(data)
