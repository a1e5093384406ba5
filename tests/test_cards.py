"""Cards run nothing that a message contains, and say what they leave out."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from imkit.cards import Picture, card, counted, known
from tests.html_page import HOSTILE, HtmlPage

TEXTS = st.text(st.characters(), max_size=60) | st.just(HOSTILE)


@settings(max_examples=200, derandomize=True, database=None)
@given(what=TEXTS, name=TEXTS, fact=TEXTS, state=TEXTS, text=TEXTS)
def test_a_card_runs_nothing_whatever_it_contains(what: str, name: str, fact: str, state: str, text: str) -> None:
    picture = Picture(b"\xff<>", "image/png")
    shown = card(what, name, [fact, fact], state=state, picture=picture, text=text, struck=True, code=fact)
    shown.encode()
    page = HtmlPage(shown)
    assert set(page.tags) <= {"div", "small", "b", "br", "s", "bdi", "img", "code"}
    assert page.attributes == {"class", "style", "src", "alt"}
    assert page.tags.count("img") == shown.count('<img src="data:image/png;base64,/zw+"') == 1
    assert "\x1b" not in shown
    assert "\u202e" not in shown


def test_a_card_stays_small() -> None:
    shown = card("Thread", "n" * 500, ["f" * 5000], state="s" * 5000, text="t" * 50_000)
    assert len(shown) < 4000
    assert "48,000 characters more" in shown


def test_unknown_facts_are_left_out() -> None:
    assert known("by", None) + known("by", "") + counted(None, "member") == []
    assert known("by", "alice") + counted(0, "member") == ["by alice", "0 members"]
