"""`imkit lab` and `imkit export`, run as a shell runs them. The tests of `imkit sandbox` are in tests/sandbox."""

import json
import os
import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import imkit
from imkit import tutorials
from imkit.sandbox.demo import FACTS
from imkit.sandbox.endpoints import version
from imkit.tutorials import START, copy_tutorials
from tests.started_lab import started_lab
from tests.test_notebooks import NOTEBOOKS, read

ROOT = Path(__file__).parents[1]
WAIT = 60.0


def imkit_command(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "imkit", *arguments],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"} | environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=WAIT,
        check=False,
    )


def test_the_version_is_that_of_the_package(tmp_path: Path) -> None:
    done = imkit_command("--version", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"imkit {version()}\n", "")


# ---------------------------------------------------------------- imkit lab


def test_lab_copies_the_tutorials_to_a_folder_for_the_user(tmp_path: Path) -> None:
    done = imkit_command("lab", "--copy-only", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    copies = sorted((tmp_path / "imkit-tutorials").glob("*.ipynb"))
    assert [copy.name for copy in copies] == [path.name for path in NOTEBOOKS]
    assert [copy.read_bytes() for copy in copies] == [path.read_bytes() for path in NOTEBOOKS]
    again = imkit_command("lab", "--copy-only", cwd=tmp_path)
    assert "new" not in again.stdout.replace(str(tmp_path), "")


def test_lab_says_in_one_line_why_it_cannot_copy(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    done = imkit_command("lab", "taken", "--copy-only", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "taken" in done.stderr


def body_of(url: str) -> Any:
    """Load a page, and try again for a while: JupyterLab prints its address a moment before it listens."""
    open_url = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
    again, until = threading.Event(), time.monotonic() + WAIT
    while True:
        try:
            with open_url(url, timeout=WAIT) as answer:
                return answer.read()
        except urllib.error.HTTPError:
            raise
        except OSError:
            if again.wait(0.1) or time.monotonic() > until:
                raise


@pytest.mark.timeout(120)
def test_lab_opens_jupyterlab_at_the_start_page(tmp_path: Path) -> None:
    with started_lab(tmp_path) as address:
        assert f"/lab/tree/{START}" in address
        host, token = re.findall(r"(http://[^/]+)/.*token=(\w+)", address)[0]
        page = body_of(address)
        assert b"<title>JupyterLab</title>" in page
        # The history form needs this to put its code into the next cell.
        assert re.search(rb'"exposeAppInBrowser":\s*true', page)
        # JupyterLab's news are off: it neither loads them nor asks for permission to load them.
        disabled = re.search(rb'"disabledExtensions":\s*\[(.*?)\]', page, re.DOTALL)
        assert disabled
        assert b"@jupyterlab/apputils-extension:announcements" in disabled[1]
        served = {entry["name"] for entry in json.loads(body_of(f"{host}/api/contents/?token={token}"))["content"]}
        assert {path.name for path in NOTEBOOKS} <= served


def test_in_a_checkout_lab_works_on_the_tutorials_themselves() -> None:
    folder = tutorials.folder_of_tutorials()
    before = sorted(folder.iterdir())
    assert {tutorial.outcome for tutorial in copy_tutorials(folder)} == {"same"}
    assert sorted(folder.iterdir()) == before


def test_the_start_page_lists_the_tutorials_in_order() -> None:
    page = "\n".join(cell.source for cell in read(tutorials.folder_of_tutorials() / START).cells)
    listed = re.findall(r"\]\(([\w.-]+\.ipynb)\)", page)
    assert listed == [path.name for path in NOTEBOOKS if path.name != START]


@pytest.fixture
def originals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two small files in place of the tutorials of the installed imkit."""
    originals = tmp_path / "originals"
    originals.mkdir()
    monkeypatch.setattr(tutorials, "folder_of_tutorials", lambda: originals)
    for name in ("one.ipynb", "two.ipynb"):
        (originals / name).write_text(f"{name}, version 1")
    return originals


def outcomes(folder: Path) -> dict[str, Any]:
    return {tutorial.name: (tutorial.outcome, tutorial.new_version) for tutorial in copy_tutorials(folder)}


def test_an_unchanged_copy_is_updated_and_a_changed_copy_stays(originals: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    assert outcomes(folder) == {"one.ipynb": ("new", None), "two.ipynb": ("new", None)}
    (folder / "one.ipynb").write_text("my notes")
    assert outcomes(folder) == {"one.ipynb": ("kept", None), "two.ipynb": ("same", None)}
    for path in originals.iterdir():
        path.write_text(f"{path.name}, version 2")
    assert outcomes(folder) == {"one.ipynb": ("kept", "one-new.ipynb"), "two.ipynb": ("updated", None)}
    assert (folder / "one.ipynb").read_text() == "my notes"
    assert (folder / "one-new.ipynb").read_text() == "one.ipynb, version 2"
    # A new version that the reader has changed is not overwritten either.
    (folder / "one-new.ipynb").write_text("more notes")
    (originals / "one.ipynb").write_text("version 3")
    (again,) = [tutorial for tutorial in copy_tutorials(folder) if tutorial.name == "one.ipynb"]
    assert (again.outcome, again.new_version, again.is_outdated) == ("kept", None, True)
    assert (folder / "one-new.ipynb").read_text() == "more notes"
    assert sorted(path.name for path in folder.iterdir()) == [
        *(".imkit-tutorials.json", "one-new.ipynb", "one.ipynb", "two.ipynb"),
    ]


@pytest.mark.parametrize("record", ["", "[]", "{", '{"one.ipynb": 7}'])
def test_without_a_record_every_copy_counts_as_changed(originals: Path, tmp_path: Path, record: str) -> None:
    folder = tmp_path / "mine"
    copy_tutorials(folder)
    (folder / ".imkit-tutorials.json").write_text(record)
    (originals / "one.ipynb").write_text("version 2")
    assert outcomes(folder)["one.ipynb"] == ("kept", "one-new.ipynb")
    assert (folder / "one.ipynb").read_text() == "one.ipynb, version 1"


# ---------------------------------------------------------------- imkit export


@pytest.fixture(scope="module")
def community(_isolated_session: None) -> Iterator[imkit.Sandbox]:
    with imkit.Sandbox.demo(threads=10, messages=700) as running:
        yield running


@pytest.fixture(scope="module")
def environment(community: imkit.Sandbox) -> dict[str, str]:
    return {
        "IMKIT_APP_KEY": community.app_key,
        "IMKIT_REST_URL": community.rest_url,
        "IMKIT_WS_URL": community.ws_url,
        "IMKIT_USER": "reader",
        "IMKIT_PASSWORD": community.demo_password or "",
    }


@pytest.fixture(scope="module")
def threads(community: imkit.Sandbox) -> dict[str, imkit.Thread]:
    with imkit.login("reader", app=community.app) as reader:
        return {thread.name or "": thread for thread in reader.threads()}


def test_export_writes_the_same_rows_as_history(
    threads: dict[str, imkit.Thread], environment: dict[str, str], tmp_path: Path
) -> None:
    wanted = [threads[FACTS.busiest_thread].id, threads[FACTS.cards_thread].id]
    done = imkit_command("export", *wanted, "--out", "said.parquet", cwd=tmp_path, **environment)
    assert (done.returncode, done.stdout) == (0, "")
    frame = pd.read_parquet(tmp_path / "said.parquet")
    assert set(frame.thread_id) == set(wanted)
    assert done.stderr == f"imkit: {len(frame)} messages of 2 threads: complete → said.parquet\n"
    assert environment["IMKIT_PASSWORD"] not in done.stderr
    assert [path.name for path in tmp_path.iterdir() if path.suffix] == ["said.parquet"]  # no incomplete file beside it


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "html"])
def test_export_filters(
    threads: dict[str, imkit.Thread], environment: dict[str, str], tmp_path: Path, suffix: str
) -> None:
    thread, out = threads[FACTS.busiest_thread], tmp_path / f"orders.{suffix}"
    filters = ["--since=2026-03-14T00:00+08:00", "--until=2026-03-15T00:00+08:00", "--types=custom", "--limit=5"]
    done = imkit_command("export", thread.id, f"--out={out}", *filters, cwd=tmp_path, **environment)
    assert done.returncode == 0, done.stderr
    text = out.read_text(encoding="utf-8-sig")
    if suffix == "jsonl":
        rows = [json.loads(line) for line in text.splitlines()]
        assert {(row["type"], row["time"][:10]) for row in rows} <= {("custom", "2026-03-13"), ("custom", "2026-03-14")}
        assert len(rows) == 5
    assert FACTS.busiest_thread in text


def test_export_says_which_argument_or_setting_is_wrong(
    community: imkit.Sandbox, threads: dict[str, imkit.Thread], environment: dict[str, str], tmp_path: Path
) -> None:
    thread = threads[FACTS.unanswered_thread].id
    wrong: list[tuple[list[str], dict[str, str], int, str]] = [
        ([thread, "--out=x.xlsx"], environment, 2, ".parquet, .csv, .jsonl, .html"),
        ([thread, "--out=nowhere/x.csv"], environment, 2, "there is no folder"),
        ([thread, "--out=x.csv", "--since=yesterday"], environment, 2, "'yesterday' is not an ISO time"),
        ([thread, "--out=x.csv", "--types=tea"], environment, 2, "'tea' is not a message type"),
        ([thread, "--out=x.csv"], environment | {"IMKIT_USER": ""}, 2, "IMKIT_USER"),
        ([thread, "--out=x.csv"], environment | {"IMKIT_TOKEN": "YWMtx"}, 2, "a password and a token"),
        ([thread, "--out=x.csv"], environment | {"IMKIT_PASSWORD": "s3cret-guess"}, 1, "invalid password"),
        (["21000", "--out=x.csv"], environment, 1, "21000"),
    ]
    (tmp_path / "x.csv").write_text("as it was")
    done = imkit_command("export", thread, "--out=x.csv", cwd=tmp_path, **environment)
    assert (done.returncode, "--force replaces it" in done.stderr) == (2, True)
    for arguments, settings, code, words in wrong:
        done = imkit_command("export", "--force", *arguments, cwd=tmp_path, **settings)
        assert (done.returncode, done.stdout) == (code, ""), (arguments, done.stderr)
        assert words in done.stderr
        assert "Traceback" not in done.stderr
        assert "s3cret-guess" not in done.stderr
    assert (tmp_path / "x.csv").read_text() == "as it was"


def test_export_uses_the_env_file_and_the_shared_sandbox(tmp_path: Path, imkit_home: Path) -> None:
    with imkit.login("alice") as alice:
        group = alice.create_group("tea")
        group.send("=1+1")
    (tmp_path / ".env").write_text("IMKIT_USER=alice\n")
    done = imkit_command("export", group.id, "--out=tea.csv", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "'=1+1" in (tmp_path / "tea.csv").read_text(encoding="utf-8-sig")


def test_export_from_an_archive_does_not_ask_the_service(
    community: imkit.Sandbox, threads: dict[str, imkit.Thread], tmp_path: Path
) -> None:
    thread = threads[FACTS.busiest_thread]
    with imkit.login("reader", app=community.app) as reader:
        imkit.Archive(tmp_path / "kept").sync(reader, [thread, threads[FACTS.cards_thread]])
    done = imkit_command("export", "--archive=kept", "--out=all.parquet", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    whole = pd.read_parquet(tmp_path / "all.parquet")
    assert whole.thread_id.nunique() == 2
    one = [thread.id, "--types=custom", "--newest", "--limit=3"]
    assert imkit_command("export", "--archive=kept", *one, "--out=one.parquet", cwd=tmp_path).returncode == 0
    expected = whole[(whole.thread_id == thread.id) & (whole["type"] == "custom")].message_id.iloc[::-1].head(3)
    assert pd.read_parquet(tmp_path / "one.parquet").message_id.tolist() == expected.tolist()
    for arguments, code, words in (
        (["--archive=nowhere"], 2, "there is no archive at nowhere"),
        (["--archive=kept", "--types=tea"], 2, "not a message type"),
        (["--archive=kept", "21000"], 3, "nothing has been read"),
        ([], 2, "name a THREAD"),
    ):
        done = imkit_command("export", *arguments, "--out=x.csv", cwd=tmp_path)
        assert done.returncode == code, done.stderr
        assert words in done.stderr
        assert "Traceback" not in done.stderr
