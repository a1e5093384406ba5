"""Cards are inert and say what they leave out; the line above a frame tells the truth of whatever pandas made of it."""

from __future__ import annotations

from html.parser import HTMLParser

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import imkit
from imkit.cards import card, counted, known
from imkit.history.frames import frame_of
from imkit.history.summary import as_html, line_above
from imkit.times import from_milliseconds

HOSTILE = "</div><img src=x onerror=alert(1)>\x1b[2J\u202e\ud83c'\"&"
TEXTS = st.text(st.characters(), max_size=60) | st.just(HOSTILE)


class Page(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(what=TEXTS, name=TEXTS, fact=TEXTS, state=TEXTS, text=TEXTS)
def test_a_card_is_inert_whatever_is_on_it(what: str, name: str, fact: str, state: str, text: str) -> None:
    shown = card(what, name, [fact, fact], state=state, text=text, struck=True)
    shown.encode()
    page = Page(shown)
    assert set(page.tags) <= {"div", "small", "b", "br", "s", "span"}
    assert page.attributes == {"style"}
    assert "\x1b" not in shown
    assert "\u202e" not in shown


def test_a_card_stays_small() -> None:
    shown = card("Thread", "n" * 500, ["f" * 5000], state="s" * 5000, text="t" * 50_000)
    assert len(shown) < 4000
    assert "48,000 characters more" in shown


def test_facts_are_left_out_where_nobody_told_them() -> None:
    assert known("by", None) + known("by", "") + counted(None, "member") == []
    assert known("by", "alice") + counted(0, "member") == ["by alice", "0 members"]


# --------------------------------------------------------------- a history frame


def loaded(rows: int = 3, **source: object) -> pd.DataFrame:
    body = imkit.Text("tea")
    some = [imkit.Message(str(number), "alice", "42", from_milliseconds(number), body) for number in range(rows)]
    return frame_of(some, {"rows": rows, "thread_ids": ["42"], "complete": True, **source})


def test_the_line_says_what_was_loaded_and_whether_all_of_it_came() -> None:
    assert line_above(loaded()) == "3 messages of 42: complete"
    stopped = loaded(complete=False, reason="stopped")
    assert line_above(stopped) == "3 messages of 42: not complete (stopped)"
    assert "⚠ 3 messages of 42: not complete (stopped)" in (as_html(stopped) or "")
    assert "⚠" not in (as_html(loaded()) or "")


def test_the_note_on_what_the_service_counts_more_stands_in_the_line_quietly() -> None:
    noted = loaded(note="the service counts 2 more")
    assert line_above(noted) == "3 messages of 42: complete; the service counts 2 more"
    assert "⚠" not in (as_html(noted) or "")
    assert "img" not in Page(as_html(loaded(note=HOSTILE)) or "").tags
    assert "\x1b" not in (as_html(loaded(note=HOSTILE)) or "")


@pytest.mark.parametrize(
    ("made", "line"),
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
def test_the_line_does_not_pass_a_part_off_as_the_whole(made: object, line: str | None) -> None:
    assert line_above(made(loaded())) == line


def test_a_strangers_reason_is_inert_above_a_frame() -> None:
    shown = as_html(loaded(complete=False, reason=HOSTILE)) or ""
    assert "img" not in Page(shown).tags
    assert "\x1b" not in shown
