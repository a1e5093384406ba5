"""The tutorials: find them, and copy them to a folder where the reader may edit them.

A copy that the reader has changed is never overwritten. A small file beside the copies records the hash of each copy as
imkit wrote it. A copy that still has this hash is unchanged, and the next version replaces it.
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
class Copied:
    """The outcome of `copy_tutorials` for one tutorial.

    Attributes:
        name: the file's name.
        outcome: "new" (copied), "updated" (an unchanged copy was replaced), "same" (nothing to do) or "kept" (the
            reader has changed the copy, so it stays).
        new_version: the name of the file that holds the new version of a kept copy; None if there is no new version, or
            if the reader has changed that file as well.
        is_outdated: whether the copy is kept although there is a newer version.
    """

    name: str
    outcome: Literal["new", "updated", "same", "kept"]
    new_version: str | None = None
    is_outdated: bool = False


def folder_of_tutorials() -> Path:
    """Return the folder of the tutorials: in the installed package, or beside the package in a checkout.

    Raises:
        FileNotFoundError: there is no such folder: the installation is not complete.
    """
    package = Path(__file__).parent
    for folder in (package / "notebooks", package.parent / "notebooks"):
        if (folder / START).is_file():
            return folder
    raise FileNotFoundError(f"the tutorials are missing from the installation: {package / 'notebooks'}")


def copy_tutorials(folder: Path) -> list[Copied]:
    """Copy the tutorials into a folder, but leave the copies alone that the reader has changed.

    Args:
        folder: where the copies go; it is made if it does not exist.

    Returns:
        What happened to each tutorial, in the order of their names.

    Raises:
        OSError: the folder cannot be made, or nothing can be written there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    originals = folder_of_tutorials()
    tutorials = sorted(originals.glob("*.ipynb"))
    if folder.samefile(originals):  # a checkout: its owner edits the tutorials themselves
        return [Copied(tutorial.name, "same") for tutorial in tutorials]
    record = _read_record(folder)
    copied = [_copy(tutorial, folder, record) for tutorial in tutorials]
    _write(folder / _RECORD, json.dumps(record, indent=1, sort_keys=True).encode())
    return copied


def _copy(original: Path, folder: Path, record: dict[str, str]) -> Copied:
    """Copy one tutorial; if the reader has changed the copy, put the new version beside it."""
    data, name = original.read_bytes(), original.name
    recorded = record.get(name)
    outcome = _place(folder / name, data, recorded)
    if outcome != "kept":
        record[name] = _hash(data)
        return Copied(name, outcome)
    if recorded == _hash(data):
        return Copied(name, "kept")
    new_version = f"{original.stem}-new{original.suffix}"
    if _place(folder / new_version, data, record.get(new_version)) == "kept":
        return Copied(name, "kept", is_outdated=True)
    record[new_version] = _hash(data)
    return Copied(name, "kept", new_version, is_outdated=True)


def _place(target: Path, data: bytes, recorded: str | None) -> Literal["new", "updated", "same", "kept"]:
    """Write a file if there is none, or if the file there still has the recorded hash."""
    try:
        present = _hash(target.read_bytes())
    except FileNotFoundError:
        _write(target, data)
        return "new"
    if present == _hash(data):
        return "same"
    if present != recorded:
        return "kept"
    _write(target, data)
    return "updated"


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _read_record(folder: Path) -> dict[str, str]:
    """Return the hash of each copy by its name. Without a readable record every copy counts as changed."""
    try:
        record = json.loads((folder / _RECORD).read_bytes())
    except (OSError, ValueError):
        return {}
    return {str(name): str(value) for name, value in record.items()} if isinstance(record, dict) else {}


def _write(target: Path, data: bytes) -> None:
    with whole_file(target) as file:
        file.write(data)
