"""The README is right: its ten lines run as printed, its tables are complete, and its commands exist."""

import ast
import asyncio
import inspect
import os
import re
import subprocess
import sys
import zipfile
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import mistune
from packaging.metadata import parse_email

import imkit
from imkit.portal import blocking
from tests.installed_imkit import build_wheel

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return re.split(r"^## ", README.split(f"## {title}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def test_the_ten_lines_run_as_printed() -> None:
    code = re.search(r"```python\n(.*?)```", section("Ten lines"), re.DOTALL)
    assert code
    told = "\nprint(type(frame).__name__, len(frame), frame.attrs['imkit']['complete'], sent.text)"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code[1] + told],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout.strip(), done.stderr, done.returncode) == ("DataFrame 1 True Dong Ding, please 🍵", "", 0)


def test_the_code_after_the_ten_lines_runs_from_the_top_to_the_bottom() -> None:
    """As in a notebook: one block after another, with the names of the ten lines."""
    code = re.findall(r"```python\n(.*?)```", README.split("## Without code")[0], re.DOTALL)
    cells = [compile(block, "<cell>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT) for block in code]

    async def notebook() -> dict[str, Any]:
        names: dict[str, Any] = {}
        for cell in cells:
            if asyncio.iscoroutine(running := eval(cell, names)):
                await running
        return names

    names = asyncio.run(notebook())
    assert names["reply"].quote.message_id == names["sent"].id
    assert names["frame"].text.to_list() == ["Dong Ding, please 🍵"]
    for each in ("alice", "bob"):
        names[each].close()


def test_the_table_of_names_is_what_imkit_exports() -> None:
    assert sorted(re.findall(r"`(\w+)`", section("Everything there is").split("Each error")[0])) == sorted(
        imkit.__all__
    )
    for name in imkit.__all__:
        assert getattr(imkit, name).__doc__, name


def test_the_table_of_columns_is_the_frames_schema() -> None:
    from imkit.history.frames import COLUMNS

    table = [line for line in section("The history frame").splitlines() if line.startswith("| `")]
    assert sorted(name for line in table for name in re.findall(r"`(\w+)`", line.split("|")[1])) == sorted(COLUMNS)


def test_the_make_commands_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"\bmake (\w+)", README):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE) or target == "up", target


def test_the_pictures_are_there() -> None:
    for path in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README):
        assert (ROOT / path).is_file(), path


class Links(HTMLParser):
    """The addresses of a page's links and pictures."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name in {"href", "src"}]


def test_the_package_page_is_the_readme_without_links_that_lead_nowhere(tmp_path: Path) -> None:
    with zipfile.ZipFile(build_wheel(tmp_path)) as wheel:
        (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        metadata, unknown = parse_email(wheel.read(name))
    assert unknown == {}
    assert metadata["description_content_type"] == "text/markdown"
    page = metadata["description"]
    assert [link for link in Links(str(mistune.html(page))).found if not link.startswith("https://")] == []
    assert len(Links(str(mistune.html(README))).found) > 10  # so links and pictures are found
    assert re.findall(r"^#+ .*", page, re.MULTILINE) == re.findall(r"^#+ .*", README, re.MULTILINE)
    assert "More on histories and archives." in page
    assert all(address.startswith("https://") for address in metadata["project_urls"].values())


def parity() -> list[list[str]]:
    lines = [line for line in section("The official SDK and imkit").splitlines() if line.startswith(("| `", "| –"))]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_parity_table_names_what_there_is() -> None:
    for _, _, ours, wrong in parity():
        for name in re.findall(r"`([\w.]+)`", ours):
            thing: object = imkit
            for part in name.split("."):
                thing = getattr(thing, part)
        for name in re.findall(r"`(\w+)`", wrong):
            assert issubclass(getattr(imkit, name), imkit.IMError), name


def test_the_parity_table_holds_every_call_that_does_io() -> None:
    named = {name for _, _, ours, _ in parity() for name in re.findall(r"`([\w.]+)`", ours)}
    for holder in (imkit.Session, imkit.Thread, imkit.Group):
        for name in dir(holder):
            if not name.startswith("_") and isinstance(inspect.getattr_static(holder, name), blocking):
                assert {f"{other.__name__}.{name}" for other in (imkit.Session, imkit.Thread, imkit.Group)} & named or (
                    holder is imkit.Thread and name == "parent"  # no call of the SDK's: it is looked for in the history
                ), f"{holder.__name__}.{name}"


def test_the_parity_table_holds_each_error_that_a_call_documents() -> None:
    """Except for those that every call can raise: the page names them above the table."""
    told: dict[str, str] = {}
    usual, _, _ = section("The official SDK and imkit").partition("| SDK 4.x")
    for row in parity():
        for name in re.findall(r"`([\w.]+)`", row[2]):
            told[name] = f"{told.get(name, usual)} {row[3]}"
    for name, text in told.items():
        found: object = imkit
        for part in name.split("."):
            found = getattr(found, part)
        _, _, raises = (inspect.getdoc(found) or "").partition("Raises:\n")
        kinds = [getattr(imkit, kind) for kind in re.findall(r"`(\w+)`", text) if hasattr(imkit, kind)]
        for error in re.findall(r"^ +([A-Z]\w+):", raises.partition("\n\n")[0], re.MULTILINE):
            assert any(issubclass(kind, getattr(imkit, error)) for kind in kinds), (name, error)
