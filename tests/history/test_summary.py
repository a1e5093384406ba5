"""The line above a frame says what was loaded, also after pandas has made another frame of it."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest

import imkit
from imkit.history.frames import frame_of
from imkit.history.summary import _print, as_html, line_above
from imkit.times import from_milliseconds
from tests.html_page import HOSTILE, HtmlPage


def loaded(rows: int = 3, **source: object) -> pd.DataFrame:
    body = imkit.Text("tea")
    messages = [imkit.Message(str(number), "alice", "42", from_milliseconds(number), body) for number in range(rows)]
    return frame_of(messages, {"rows": rows, "thread_ids": ["42"], "complete": True, **source})


def test_the_line_says_what_was_loaded_and_whether_it_is_complete() -> None:
    assert line_above(loaded()) == "3 messages of 42: complete"
    stopped = loaded(complete=False, reason="stopped")
    assert line_above(stopped) == "3 messages of 42: not complete (stopped)"
    assert "⚠ 3 messages of 42: not complete (stopped)" in (as_html(stopped) or "")
    assert "⚠" not in (as_html(loaded()) or "")


def test_the_note_stands_in_the_line_without_a_warning_sign() -> None:
    noted = loaded(note="the service counts 2 more")
    assert line_above(noted) == "3 messages of 42: complete; the service counts 2 more"
    assert "⚠" not in (as_html(noted) or "")
    assert "img" not in HtmlPage(as_html(loaded(note=HOSTILE)) or "").tags
    assert "\x1b" not in (as_html(loaded(note=HOSTILE)) or "")


@pytest.mark.parametrize(
    ("derive", "line"),
    [
        (lambda frame: frame[frame.sender == "bob"], "0 rows, made from 3 messages of 42: complete"),
        (lambda frame: frame.head(1), "1 row, made from 3 messages of 42: complete"),
        (lambda frame: pd.concat([frame, frame]), "6 rows, made from 3 messages of 42: complete"),
        (lambda frame: frame.sort_values("time"), "3 messages of 42: complete"),
        (lambda frame: frame[["time", "text"]], None),
        (lambda frame: frame.groupby("sender", observed=True).size().reset_index(), None),
        (lambda frame: pd.DataFrame({"message_id": ["1"]}), None),
    ],
)
def test_the_line_above_a_derived_frame_says_from_what_it_was_made(
    derive: Callable[[pd.DataFrame], pd.DataFrame], line: str | None
) -> None:
    assert line_above(derive(loaded())) == line


def test_a_reason_from_the_service_is_escaped() -> None:
    shown = as_html(loaded(complete=False, reason=HOSTILE)) or ""
    assert "img" not in HtmlPage(shown).tags
    assert "\x1b" not in shown


def report() -> pd.DataFrame:
    """A report as `imkit.doctor` makes it: one line as assumed, one that differs, one that was not asked."""
    long = "A sentence that has many more than the 50 characters after which pandas cuts a cell."
    lines = [
        ("pages", long, long, True, ""),
        ("ends", "It is so.", "<img src=x>\x1b[2J", False, "Do $this$."),
        ("x", "", "", None, ""),
    ]
    columns = ["check", "assumed", "seen", "agrees", "follows"]
    made = pd.DataFrame(lines, columns=columns).astype({"agrees": "boolean"})
    made.attrs["imkit"] = {"report": "doctor"}
    return made


def test_a_report_of_the_doctor_is_shown_whole_with_its_differing_lines_in_colour() -> None:
    assert line_above(report()) == "1 as assumed, 1 differs, 1 not known or not asked"
    shown = as_html(report()) or ""
    assert "after which pandas cuts a cell." in shown
    assert [row.count("background") for row in shown.split("<tr")[2:]] == [0, 1, 0]
    assert "img" not in HtmlPage(shown).tags
    assert "table-layout: fixed; width: 100%" in shown  # no long cell makes the other columns narrow
    assert "mathjax_ignore" in shown
    assert (as_html(report().query("agrees == False")) or "").count("<tr") == 2
    assert "dataframe" in (as_html(report()[["check", "seen"]]) or "")  # the user's own choice of columns


def test_a_report_is_printed_whole() -> None:
    class Printer:
        def text(self, text: str) -> None:
            self.printed = text

    printer = Printer()
    _print(report(), printer, False)
    assert "after which pandas cuts a cell." in printer.printed
    assert "✗ differs ends: " in printer.printed
    assert "  → Do $this$." in printer.printed
    assert "\x1b" not in printer.printed
