"""A writer killed at any moment leaves the archive before or after a commit: no message is lost or stored twice."""

import json
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

import imkit
from imkit.archive import Archive
from imkit.sandbox.process import Sandbox
from tests.archive.conftest import Tea
from tests.archive.killed import digest

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def killed(*arguments: str) -> list[str]:
    command = [sys.executable, "-m", "tests.archive.killed", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def test_a_kill_at_every_step_of_merging_compacting_and_checkpoints() -> None:
    steps = killed("merge")
    assert len(steps) > 40
    assert steps[-1].endswith("finished")


def test_a_kill_at_every_step_of_a_sync(tea: Tea, sandbox: Sandbox, tmp_path: Path) -> None:
    oolong, sencha = tea.thread("Oolong", *"abc"), tea.thread("Sencha", *"de")
    base = Archive(tmp_path / "base")
    base.sync(tea.alice, tea.group)
    edited, recalled = list(oolong.messages())[:2]
    oolong.edit(edited, "A")
    oolong.recall(recalled)
    sencha.send("f")
    tea.thread("Pu'er", *"ghijk")
    shutil.copytree(base.path, tmp_path / "whole")
    whole = Archive(tmp_path / "whole")
    report = whole.sync(tea.alice, tea.group)
    assert (report.rows_added, report.rows_changed, report.rows_gone) == (7, 1, 1)
    settings = {
        "app_key": sandbox.app_key,
        "rest_url": sandbox.rest_url,
        "ws_url": sandbox.ws_url,
        "secret": sandbox.secret,
        "user": tea.alice.user,
        "group": tea.group.id,
        "base": base.path,
        "digest": digest(whole),
    }
    assert len(killed("sync", json.dumps(settings))) > 10


def test_kills_of_a_slow_first_sync_lose_no_more_than_the_last_seconds(tmp_path: Path) -> None:
    with (
        imkit.Sandbox.demo(threads=30, messages=3_000, path=tmp_path / "demo.db") as demo,
        imkit.login("reader", app=demo.app) as reader,
    ):
        settings = {
            "app_key": demo.app_key,
            "rest_url": demo.rest_url,
            "ws_url": demo.ws_url,
            "secret": demo.secret,
            "user": "reader",
            "folder": str(tmp_path / "archive"),
        }
        kept = [0, *map(int, killed("slow", json.dumps(settings)))]
        assert all(later - earlier >= 200 for earlier, later in pairwise(kept)), kept
        archive = Archive(tmp_path / "archive")
        report = archive.sync(reader, reader)
        assert report.reasons == []
    whole = archive.frame(gone=True)
    assert whole.message_id.is_unique
    assert kept[-1] + report.rows_added == len(whole)
    verification = archive.verify()
    assert verification.ok, verification
    assert not verification.notes, verification
