"""Untrusted text cannot control a terminal or a page, and a file name made of it is safe."""

from __future__ import annotations

import html
import unicodedata
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imkit.escape import file_name_for_disk, for_html, for_terminal

ANY_TEXT = st.text(st.characters()) | st.text(st.sampled_from("a<>&\"'\x1b\x00\n\r\t\u202e\u2028\ud83c\x9b茶🍵\\"))
CHECKED = settings(max_examples=300, derandomize=True, database=None)
REORDERING = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff\ufff9\ufffa\ufffb"


def is_harmless(text: str) -> bool:
    kinds = {unicodedata.category(character) for character in text}
    return not kinds & {"Cc", "Cs", "Zl", "Zp"} and not set(text) & set(REORDERING)


@CHECKED
@given(text=ANY_TEXT)
def test_text_for_a_terminal_is_one_line_without_control_characters(text: str) -> None:
    shown = for_terminal(text)
    assert is_harmless(shown)
    shown.encode()
    if is_harmless(text):
        assert shown == text
    assert for_terminal(shown) == shown


@CHECKED
@given(text=ANY_TEXT, limit=st.integers(1, 20))
def test_a_limit_cuts_the_text_and_marks_the_cut(text: str, limit: int) -> None:
    shown = for_terminal(text, limit)
    assert is_harmless(shown)
    if len(text) > limit:
        assert shown == for_terminal(text[: limit - 1]) + "…"
    else:
        assert shown == for_terminal(text)


@CHECKED
@given(text=ANY_TEXT)
def test_text_for_a_page_contains_no_markup(text: str) -> None:
    shown = for_html(text)
    shown.encode()
    assert not set(shown) & set("<>\"'")
    seen: list[str] = []

    class Parser(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            pytest.fail(tag)

        def handle_data(self, data: str) -> None:
            seen.append(data)

    parser = Parser(convert_charrefs=True)
    parser.feed(shown)
    parser.close()
    lines = html.unescape(shown).split("\n")
    assert lines == [for_terminal(line) for line in text.split("\n")]
    assert "".join(seen) == html.unescape(shown)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text", "plain text"),
        ("茶 🍵 café", "茶 🍵 café"),
        ("👩\u200d🚀", "👩\u200d🚀"),  # a joined emoji stays as it is
        ("two\nlines\ttabbed", "two\\nlines\\ttabbed"),
        ("\x1b]0;title\x07\x9b2J", "\\x1b]0;title\\x07\\x9b2J"),
        ("evil\u202egnp.exe", "evil\\u202egnp.exe"),
        ("\u2028\u2029\ufeff", "\\u2028\\u2029\\ufeff"),
        ("\ud83c", "\\ud83c"),
        ("", ""),
    ],
)
def test_examples_of_text_for_a_terminal(text: str, shown: str) -> None:
    assert for_terminal(text) == shown


def test_an_example_of_text_for_a_page() -> None:
    hostile = "<script>alert('x')</script>\n\x1b[31m\" onload=\"&amp;"
    assert for_html(hostile) == (
        "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;\n\\x1b[31m&quot; onload=&quot;&amp;amp;"
    )


NAMES = ANY_TEXT | st.text(st.sampled_from("abC.. /\\:*?<>|~-1conCOM茶é\u0301\x00\u202e"), max_size=300)


@CHECKED
@given(
    name=NAMES
    | st.sampled_from(["con", "a/nul.tar.gz", "COM1.", "com².txt", "CONOUT$", " .bashrc", "..", "", "."])
    | st.sampled_from(["a." + "b" * 300, "茶" * 300])
)
def test_any_file_name_is_safe_in_a_folder(name: str) -> None:
    safe = file_name_for_disk(name, "file")
    assert safe
    assert is_harmless(safe)
    assert not set(safe) & set('<>:"/\\|?*\0')
    assert not safe.startswith((".", " "))
    assert not safe.endswith((".", " "))
    assert len(safe.encode()) <= 200
    assert safe.lower().partition(".")[0].strip() not in {"con", "prn", "aux", "nul", "com1", "lpt9", "com²", "conout$"}
    assert file_name_for_disk(safe, "file") == safe
