"""An archive that a stranger made: its catalogue and its links lead nowhere outside, and all errors are imkit's."""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imkit.archive import Archive
from imkit.archive.catalogue import CatalogueWriter, Commit
from imkit.archive.storage import storage_at
from imkit.errors import ArchiveError, IMError
from tests.archive.conftest import fill

VICTIM = "victim.parquet"
HOSTILE_NAMES = [
    f"../{VICTIM}",
    f"messages/../../{VICTIM}",
    f"messages/day=2026-11-23/../../../{VICTIM}",
    f"messages/day=2026-11-23/..\\..\\..\\{VICTIM}",
    f"messages/day=2026-11-23//{VICTIM}",
    f"/tmp/{VICTIM}",
    f"C:\\{VICTIM}",
    f"messages/day=2026-11-23/C:{VICTIM}",
    f"file:///tmp/{VICTIM}",
    f"memory://{VICTIM}",
    "messages/day=2026-11-23/1.parquet\0",
    "messages/day=2026-11-23/1.parquet\n",
    "messages/day=2026-11-23/\ud800.parquet",
    "messages/day=2026-11-23/1.PARQUET",
    "Messages/day=2026-11-23/1.parquet",
    "messages/day=2026-11-23/CON.parquet",
    "messages/day=2026-11-23",
    "messages/day=２０２６-11-23/1.parquet",
    "messages/day=2026-99-99/1.parquet",
    "versions/day=2026-11-23/1.parquet",
    "live/day=2026-11-23/1.json",
    "writer.lock",
    "",
    "/",
    ".",
]
GOOD_NAME = "messages/day=2026-11-23/1.parquet"
ENTRY = {
    "name": GOOD_NAME,
    "kind": "messages",
    "day": "2026-11-23",
    "rows": 1,
    "size": 1,
    "sha256": "0" * 64,
    "first": 1,
    "last": 2,
}
CONVERSATION = {"id": "42", "covered": [[0, 9]], "synced_at": 1}


def forge(folder: Path, kind: str = "commit", **changes: Any) -> None:
    """Write a catalogue of one file, with the right checksum."""
    content = {"format": 1, "added": [], "removed": [], "conversations": [], "app_key": "org#app", **changes}
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    path = folder / "catalogue" / f"000000000001.{kind}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"sha256": digest, "content": content}))


def use_everything(folder: Path) -> list[BaseException]:
    """Call all that a user may call on an archive, and return the errors. An error that is not imkit's is raised."""
    archive = Archive(folder, timeout=0)
    calls: list[Callable[[], object]] = [
        lambda: repr(archive),
        lambda: archive.frame(gone=True),
        lambda: archive.threads(),
        lambda: archive.files(),
        lambda: archive.live(),
        lambda: archive.verify(),
        lambda: archive.sql("select * from all_messages"),
        lambda: archive.sql("select * from threads"),
        lambda: archive.compact(),
        lambda: archive.compact(),
    ]
    errors: list[BaseException] = []
    for call in calls:
        try:
            call()
        except IMError as error:
            errors.append(error)
    return errors


def everything_below(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_name_that_leads_out_is_refused_when_the_catalogue_is_read(tmp_path: Path, name: str) -> None:
    victim = tmp_path / VICTIM
    victim.write_bytes(b"precious")
    folder = tmp_path / "archive"
    forge(folder, added=[{**ENTRY, "name": name}])
    for use in (Archive(folder).frame, Archive(folder).compact):
        with pytest.raises(ArchiveError, match=r"000000000001\.commit\.json of the archive .* is damaged"):
            use()
    assert "000000000001.commit.json" in repr(Archive(folder).verify())
    forge(folder, removed=[name])
    with suppress(ArchiveError):
        Archive(folder).compact()
    assert victim.read_bytes() == b"precious"


HOSTILE_NUMBERS = st.sampled_from(
    [-1, 0, True, 1.5, 2**62, 2**63, 2**64, 10**30, float("nan"), float("inf"), "1", None]
)
HOSTILE_TEXTS: st.SearchStrategy[Any] = st.sampled_from(
    [*HOSTILE_NAMES, "\ud800", "\x1b[2J", "a" * 5000, None, 7, [], {}]
)
NAMES = st.sampled_from([GOOD_NAME, *HOSTILE_NAMES])
JUNK = st.recursive(HOSTILE_NUMBERS | HOSTILE_TEXTS, lambda inner: st.lists(inner, max_size=3), max_leaves=5)


def changed(good: dict[str, Any]) -> st.SearchStrategy[Any]:
    """An entry of the catalogue with some hostile values, or something else."""
    changes = st.fixed_dictionaries({}, optional=dict.fromkeys([*good, "new"], HOSTILE_NUMBERS | HOSTILE_TEXTS | JUNK))
    return st.just(good) | changes.map(lambda some: {**good, **some}) | JUNK


CONTENTS = st.fixed_dictionaries(
    {},
    optional={
        "format": st.just(1) | HOSTILE_NUMBERS,
        "write_format": HOSTILE_NUMBERS,
        "added": st.lists(changed(ENTRY), max_size=3) | JUNK,
        "files": st.lists(changed(ENTRY), max_size=3) | JUNK,
        "removed": st.lists(NAMES, max_size=3) | JUNK,
        "conversations": st.lists(changed(CONVERSATION), max_size=3) | JUNK,
        "retired": st.dictionaries(NAMES, HOSTILE_NUMBERS, max_size=3) | JUNK,
        "number": st.just(1) | HOSTILE_NUMBERS,
        "clock": HOSTILE_NUMBERS,
        "at": HOSTILE_NUMBERS,
        "at_once": st.booleans() | JUNK,
        "app_key": HOSTILE_TEXTS,
    },
)


@settings(max_examples=60)
@given(CONTENTS, st.sampled_from(["commit", "checkpoint"]))
def test_no_catalogue_touches_a_file_outside_or_raises_another_error(content: dict[str, Any], kind: str) -> None:
    with tempfile.TemporaryDirectory() as home:
        (Path(home) / VICTIM).write_bytes(b"precious")
        (Path(home) / "outside" / "day=2026-11-23").mkdir(parents=True)
        (Path(home) / "outside" / "day=2026-11-23" / "1.parquet").write_bytes(b"precious")
        before = everything_below(Path(home))
        forge(Path(home) / "archive", kind=kind, **content)
        use_everything(Path(home) / "archive")
        after = everything_below(Path(home))
        assert {path: data for path, data in after.items() if not path.startswith(f"{home}/archive/")} == before


@pytest.mark.skipif(os.name == "nt", reason="a link needs a privilege on Windows")
@pytest.mark.parametrize(
    "linked",
    ["messages", "messages/day=2026-11-23", "versions", "attachments", "live", "replaced", "catalogue", "writer.lock"],
)
def test_a_link_in_an_archive_is_not_followed(tmp_path: Path, linked: str) -> None:
    folder = tmp_path / "archive"
    fill(folder)
    outside = tmp_path / "outside"
    (outside / "day=2026-11-23").mkdir(parents=True)
    for name in (
        "1.parquet",
        "day=2026-11-23/1.parquet",
        "000000000001.commit.json",
        ".1.part",
        "day=2026-11-23/1.json",
    ):
        (outside / name).write_bytes(b"precious")
    link = folder / linked
    with suppress(FileNotFoundError):
        link.rename(tmp_path / "moved")
    link.symlink_to(outside / "1.parquet" if linked == "writer.lock" else outside)
    before = everything_below(outside)
    errors = use_everything(folder)
    assert everything_below(outside) == before
    assert errors
    for error in errors:
        assert "precious" not in str(error)


@pytest.mark.skipif(os.name == "nt", reason="a link needs a privilege on Windows")
def test_a_data_file_that_is_a_link_or_a_pipe_is_not_opened(tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    archive = fill(folder)
    first, second, _ = map(Path, sorted(archive.files()))
    outside = first.rename(tmp_path / VICTIM)
    first.symlink_to(outside)
    second.unlink()
    os.mkfifo(second)  # opening it would wait for ever
    data = outside.read_bytes()
    for read in (archive.frame, archive.threads, archive.files, lambda: archive.sql("from messages")):
        with pytest.raises(ArchiveError, match=r"is not a file: a link, a folder or a device"):
            read()
    assert len(archive.verify().problems) == 2
    assert outside.read_bytes() == data


@pytest.mark.skipif(os.name == "nt", reason="a link needs a privilege on Windows")
def test_the_description_of_the_writer_does_not_overwrite_the_target_of_a_link(tmp_path: Path) -> None:
    victim = tmp_path / VICTIM
    victim.write_bytes(b"precious")
    folder = tmp_path / "archive"
    folder.mkdir()
    (folder / "writer.json").symlink_to(victim)
    with pytest.raises(ArchiveError):
        Archive(folder).compact()
    assert victim.read_bytes() == b"precious"


def test_an_archive_that_is_reached_through_a_link_works(tmp_path: Path) -> None:
    """Only links below the archive are refused."""
    fill(tmp_path / "archive")
    (tmp_path / "link").symlink_to(tmp_path / "archive", target_is_directory=True)
    archive = Archive(tmp_path / "link")
    assert len(archive.frame()) == len(archive.sql("from messages")) == 71
    assert archive.verify().ok


def test_a_storage_takes_no_name_that_leads_out(tmp_path: Path) -> None:
    for place in (tmp_path / "archive", "memory://forged/archive"):
        storage = storage_at(place)
        for name in (f"../{VICTIM}", f"/{VICTIM}", "a//b", "a/./b", "", "a\0b"):
            for call in (storage.read, storage.open, storage.remove):
                with pytest.raises(ArchiveError, match="is not a file of the archive"):
                    call(name)
            with pytest.raises(ArchiveError, match="is not a file of the archive"):
                storage.write(name, b"")


def test_a_commit_that_nobody_could_read_is_not_written(tmp_path: Path) -> None:
    writer = CatalogueWriter(storage_at(tmp_path))
    with pytest.raises(ArchiveError, match="was not made"):
        writer.commit(Commit(removed=("../x",)))
    assert CatalogueWriter(storage_at(tmp_path)).state.number == 0
