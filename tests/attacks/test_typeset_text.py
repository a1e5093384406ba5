"""What a stranger wrote is shown as it was written: no formula is typeset, nothing is reordered, nothing is a formula.

`tests/browser/test_typeset_text.py` shows the same in a real JupyterLab.
"""

from __future__ import annotations

import ast
import csv
import io
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import pytest
from IPython.core.interactiveshell import InteractiveShell
from nbconvert import HTMLExporter

import imkit
from imkit.archive.sync_report import SyncReport
from imkit.archive.verify import Verification
from imkit.cards import card
from imkit.escape import NOT_TYPESET
from imkit.history import export, summary
from imkit.history.frames import frame_of
from imkit.times import from_milliseconds

PRICES = "It costs $5 here and $6 there"
REORDERED = "safe\u202egnp.exe\u2067\u200f"


def history(*texts: str) -> pd.DataFrame:
    messages = [
        imkit.Message(str(number), "alice", "42", from_milliseconds(number), imkit.Text(text, ext={"price": text}))
        for number, text in enumerate(texts)
    ]
    return frame_of(messages, {"rows": len(messages), "thread_ids": ["42"], "complete": True})


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> InteractiveShell:
    """IPython, as a notebook has it, with imkit's formatters."""
    shell = InteractiveShell()
    monkeypatch.setattr("IPython.get_ipython", lambda: shell)
    summary.install()
    return shell


def shown(shell: InteractiveShell, value: Any) -> dict[str, str]:
    formatted: dict[str, str] = shell.display_formatter.format(value)[0]
    return formatted


FRAMES = {
    "as loaded": lambda frame: frame,
    "head": lambda frame: frame.head(1),
    "some rows": lambda frame: frame[frame["sender"] == "alice"],
    "some columns": lambda frame: frame[["time", "text"]],
    "attributes": lambda frame: frame.im.ext("price"),
    "another zone": lambda frame: frame.im.local("Asia/Shanghai"),
    "merged": lambda frame: frame.merge(frame[["message_id"]], on="message_id"),
    "joined": lambda frame: pd.concat([frame, frame]),
    "styled": lambda frame: frame.style.hide(),
}


@pytest.mark.parametrize("derived", FRAMES)
def test_no_history_frame_is_typeset(shell: InteractiveShell, derived: str) -> None:
    page = shown(shell, FRAMES[derived](history(PRICES)))["text/html"]
    table = page[page.index("<table") :]
    assert PRICES in table
    assert all(name in table[: table.index(">")] for name in NOT_TYPESET.split())


def test_no_other_frame_of_imkit_is_typeset(
    shell: InteractiveShell, alice: imkit.Session, thread: imkit.Thread, tmp_path: Path
) -> None:
    alice.wire()
    thread.send(PRICES)
    archive = imkit.Archive(tmp_path / "kept")
    archive.sync(alice, [thread])
    frames = [archive.frame(), archive.threads(), archive.live(), archive.sql("FROM messages"), alice.wire()]
    assert all(NOT_TYPESET in shown(shell, frame)["text/html"] for frame in frames)


def test_the_users_own_frames_look_as_before(shell: InteractiveShell) -> None:
    own = pd.DataFrame({"text": [r"$\pi$", "\x1b"]})
    assert shown(shell, own) == {"text/html": own._repr_html_(), "text/plain": repr(own)}
    shown(shell, history(PRICES))
    assert pd.get_option("display.html.use_mathjax") is True
    assert type(history(PRICES)) is pd.DataFrame


@pytest.mark.parametrize(
    "page",
    [
        card("Thread", PRICES, [PRICES], state=PRICES, text=PRICES),
        SyncReport(PRICES)._repr_html_(),
        Verification(PRICES)._repr_html_(),
    ],
)
def test_no_card_and_no_report_is_typeset(page: str) -> None:
    assert PRICES in page
    assert page.startswith(f'<div class="{NOT_TYPESET}"')
    assert page.endswith("</div>")
    assert page.count("<div") == 1


def test_each_object_is_shown_by_the_module_of_cards() -> None:
    """So that no new class makes its HTML in a way of its own."""
    sources = {path: path.read_text(encoding="utf-8") for path in Path(imkit.__file__).parent.rglob("*.py")}
    for path, source in sources.items():
        if "_repr_html_" not in source:
            continue
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef) and node.name == "_repr_html_":
                returned = [one.value for one in ast.walk(node) if isinstance(one, ast.Return)]
                made_by = {
                    one.func.id for one in returned if isinstance(one, ast.Call) and isinstance(one.func, ast.Name)
                }
                assert len(made_by) > 0, f"{path.name}: {ast.unparse(node)}"
                assert made_by <= {"card", "message_card", "report"}, f"{path.name}: {made_by}"
                assert all(isinstance(one, ast.Call) for one in returned), path.name


def test_the_page_of_nbconvert_leaves_it_alone(shell: InteractiveShell) -> None:
    """Its MathJax is another version, which looks for the other class; both stand where the text stands."""
    message = imkit.Message("1", "alice", "42", from_milliseconds(0), imkit.Text(PRICES))
    outputs = [nbformat.v4.new_output("display_data", shown(shell, one)) for one in (history(PRICES), message)]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(outputs=outputs)])
    page, _ = HTMLExporter().from_notebook_node(notebook)
    assert page.count(PRICES) == 3  # text and attributes in the frame, and the card
    assert page.count(NOT_TYPESET) == 3  # the table, the line above it, and the card


def test_text_that_reorders_stays_in_its_place(shell: InteractiveShell) -> None:
    controls = set("\u202e\u2067\u200f")
    frame = history(REORDERED, "\x1b[2J")
    for value in (frame[["message_id", "time", "text"]], frame["text"], frame[["text"]].head()):
        plain = shown(shell, value)["text/plain"]
        assert not set(plain) & (controls | {"\x1b"})
        assert r"\u202e" in plain
    message = imkit.Message("1", REORDERED, "42", from_milliseconds(0), imkit.Text(REORDERED))
    assert not set(repr(message) + card("Message", REORDERED, [REORDERED], text=REORDERED)) & controls
    # Letters that are written from right to left stay as they are, each in an element of its own.
    assert card("Thread", "אבג", ["דהו"], text="זחט").count("<bdi") == 3


@pytest.mark.parametrize("cell", ["a;b", "a\tb", 'say "tea"', "two\nlines", "two\rlines", "=1;2", "＝1", "plain"])
def test_a_cell_that_another_locale_would_split_is_quoted(cell: str, tmp_path: Path) -> None:
    path = export.write(pd.DataFrame({"text": [cell], "number": [1]}), tmp_path / "x.csv")
    header, rest = path.read_bytes().decode("utf-8-sig").split("\r\n", 1)
    assert header == '"text","number"'
    assert rest.startswith('"')
    assert rest.endswith('",1\r\n')
    row = next(csv.reader(io.StringIO(rest, newline="")))
    assert row[0].removeprefix("'") == cell


@pytest.mark.parametrize("separator", [";", "\t", "\n", "\r\n"])
@pytest.mark.parametrize(
    "formula",
    ["=cmd|'/c calc'!A1", '"=HYPERLINK(1)"', " @SUM(1)", "＝HYPERLINK(1)", "-2+cmd|x!A", "\u3000\u200b﹦H(1)"],
)
def test_no_part_of_a_cell_becomes_a_formula(separator: str, formula: str, tmp_path: Path) -> None:
    path = export.write(pd.DataFrame({"text": [f"tea{separator}{formula}"]}), tmp_path / "x.csv")
    text = path.read_text(encoding="utf-8-sig")
    assert "'" + formula.replace('"', '""') in text


@pytest.mark.parametrize(
    "start", ["=", " =", "\u00a0=", "\u3000＝", "\ufeff=", "\u200b+", "\0@", "\v-", "﹦", "﹢", "﹣", "﹫"]
)
def test_no_cell_becomes_a_formula(start: str, tmp_path: Path) -> None:
    path = export.write(pd.DataFrame({"text": [f"{start}HYPERLINK(1)"]}), tmp_path / "x.csv")
    assert path.read_text(encoding="utf-8-sig").splitlines()[1:][0].startswith("\"'")


def test_a_smiley_stays_as_it_is(tmp_path: Path) -> None:
    path = export.write(pd.DataFrame({"text": ["well ;-) two:\n- tea\n- cups"]}), tmp_path / "x.csv")
    assert pd.read_csv(path)["text"][0] == "well ;-) two:\n- tea\n- cups"
