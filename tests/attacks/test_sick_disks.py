"""A disk that is full, read-only or gone: each call says so with an error of imkit, and the same call works afterwards.

`tests/attacks/sick_disks.py` runs each operation with each fault in a process of its own.
"""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import imkit
from imkit.client import attachments
from imkit.sandbox.process import Sandbox
from tests.attacks.sick_disks import FAULTS
from tests.people import new_name

ROOT = Path(__file__).parents[2]
ERRORS = {"send": "InvalidMessage", "download": "FileError", "export": "FileError"}
IMPOSSIBLE = {("send", "EFBIG")}  # to read a file writes none


def test_every_operation_tells_every_fault_and_works_afterwards(sandbox: Sandbox) -> None:
    settings = {
        "app_key": sandbox.app_key,
        "rest_url": sandbox.rest_url,
        "ws_url": sandbox.ws_url,
        "secret": sandbox.secret,
        "user": new_name("alice"),
    }
    command = [sys.executable, "-m", "tests.attacks.sick_disks", json.dumps(settings)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    results = [json.loads(line) for line in done.stdout.splitlines()]
    happened = set()
    for told in results:
        operation, fault = told["operation"], told["fault"]
        assert told["wrong"] == "", told
        if not told["error"]:
            continue
        happened.add((operation, fault))
        assert told["error"] == ERRORS.get(operation.partition(".")[0], "ArchiveError"), told
        assert "/disk" in told["text"], told  # the file is named
        assert told["hint"].partition(",")[0], told
        assert "run the same call again" in told["hint"] or operation in ("send", "watch"), told
    operations = {told["operation"] for told in results if told["fault"] != "none"}
    at_once = {fault for fault, steps in FAULTS.items() if steps == 1}
    assert {(operation, fault) for operation in operations for fault in at_once} - happened == IMPOSSIBLE
    assert {fault for operation, fault in happened if operation == "sync"} == set(FAULTS)


def test_a_file_that_shrinks_or_grows_while_it_is_read_is_not_sent(
    alice: imkit.Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = alice.create_group("tea")
    photo = tmp_path / "photo.bin"
    photo.write_bytes(b"x" * 1_000)
    real = Path.open

    def changing(size: int) -> None:
        def open_changed(path: Path, mode: str = "r") -> object:
            os.truncate(path, size)
            return real(path, mode)

        monkeypatch.setattr(Path, "open", open_changed)

    changing(500)
    with pytest.raises(imkit.InvalidMessage, match=r"photo\.bin had 1,000 bytes, and 500 when it was read"):
        group.send(imkit.File(photo))
    changing(attachments.ATTACHMENT_BYTES + 1)
    with pytest.raises(imkit.TooLarge, match="photo"):
        group.send(imkit.File(photo))
    monkeypatch.undo()
    assert len(group.history(progress=False)) == 0


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="only Linux can limit the files of another process")
def test_a_full_disk_of_the_sandbox_is_said_and_its_data_stay_whole(tmp_path: Path) -> None:
    path = tmp_path / "server.db"
    with Sandbox(path) as sandbox, imkit.login("alice", app=sandbox.app) as alice:
        group = alice.create_group("tea")
        kept = group.send("before")
        server = vars(sandbox)["_process"].pid
        largest = max(each.stat().st_size for each in tmp_path.glob("server.db*"))
        resource.prlimit(server, resource.RLIMIT_FSIZE, (largest + 4_096, resource.RLIM_INFINITY))

        def fill() -> None:
            for number in range(50):
                alice.create_group(f"tea {number}" * 20)

        with pytest.raises(imkit.ServiceBusy, match="cannot be read or written") as caught:
            fill()
        assert caught.value.status == 500
        resource.prlimit(server, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        after = group.send("after")
        assert group.history(progress=False).message_id.to_list() == [kept.id, after.id]
