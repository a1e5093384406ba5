"""Quotes and mentions in attributes: what is read of them, and that no value of a stranger raises."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imkit.messages import Message, Text
from imkit.quotes import ALL, Quote, mentions_of, quote_of
from imkit.times import from_milliseconds
from imkit.widgets.feed_rows import as_row
from tests.html_page import HOSTILE, HtmlPage

CHECKED = settings(max_examples=60, derandomize=True, database=None)
TEXTS = st.text(st.characters(), max_size=12) | st.sampled_from([HOSTILE, "ALL", "all", "7", "{", "[", '["bob"]', "{}"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=8,
)
ENTRIES = st.dictionaries(st.sampled_from(["msgID", "msgPreview", "msgSender", "msgType"]), VALUES) | VALUES
ANYTHING = ENTRIES | ENTRIES.map(json.dumps)
QUOTED = {"msgID": "7", "msgPreview": "tea?", "msgSender": "bob", "msgType": "txt"}


def message(ext: dict[str, Any]) -> Message:
    return Message("8", "alice", "42", from_milliseconds(0), Text("two bags", ext=ext))


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (QUOTED, Quote("7", "bob", "txt", "tea?")),
        (json.dumps(QUOTED), Quote("7", "bob", "txt", "tea?")),
        (f"  {json.dumps(QUOTED)}", Quote("7", "bob", "txt", "tea?")),
        ({**QUOTED, "msgType": "image"}, Quote("7", "bob", "img", "tea?")),
        ({**QUOTED, "msgType": "poll"}, Quote("7", "bob", "poll", "tea?")),
        ({"msgID": 1882603211714461703}, Quote("1882603211714461703", "", "", "")),
        ({**QUOTED, "msgPreview": ["tea?"], "msgSender": None}, Quote("7", "", "txt", "")),
        ({**QUOTED, "msgPreview": "half \ud83c"}, Quote("7", "bob", "txt", "half �")),
        ({**QUOTED, "msgID": ""}, None),
        ({**QUOTED, "msgID": True}, None),
        ({**QUOTED, "msgID": 1.5}, None),
        ({"msgPreview": "tea?"}, None),
        ([QUOTED], None),
        ("tea?", None),
        ('{"msgID": ', None),
        ("{" * 100_000, None),
        ('{"a":' * 100_000, None),
        (None, None),
    ],
)
def test_a_quote_is_an_object_or_json_text_of_one(entry: object, expected: Quote | None) -> None:
    assert quote_of({"msgQuote": entry}) == message({"msgQuote": entry}).quote == expected


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        (["bob", "carol"], ("bob", "carol")),
        ('["bob", "carol"]', ("bob", "carol")),
        (["bob", "bob", "", None, 7, ["x"], "BOB"], ("bob", "BOB")),
        ("ALL", (ALL,)),
        ("All", (ALL,)),
        (["all", "bob", "ALL"], (ALL, "bob")),
        ('["all"]', (ALL,)),
        ("bob", ()),
        ('"bob"', ()),
        ("[" * 100_000, ()),
        ({"bob": 1}, ()),
        ([], ()),
        ("", ()),
        (None, ()),
        (7, ()),
        (["half \ud83c"], ("half �",)),
    ],
)
def test_mentions_are_a_list_json_text_of_one_or_all(named: object, expected: tuple[str, ...]) -> None:
    assert mentions_of({"em_at_list": named}) == message({"em_at_list": named}).mentions == expected
    assert mentions_of({}) == ()


@CHECKED
@given(quoted=ANYTHING, named=ANYTHING)
def test_whatever_a_stranger_writes_is_read_and_shown(quoted: Any, named: Any) -> None:
    told = message({"msgQuote": quoted, "em_at_list": named})
    if (quote := told.quote) is not None:
        assert quote.message_id
        "".join((quote.message_id, quote.sender, quote.type, quote.preview)).encode()
    assert len(set(told.mentions)) == len(told.mentions)
    "".join(told.mentions).encode()
    assert not {"\n", "\x1b", "\u202e"} & set(repr(told))
    repr(told).encode()
    page = HtmlPage(told._repr_html_())
    assert set(page.tags) <= {"div", "small", "b", "br", "bdi"}
    json.dumps(as_row(told), allow_nan=False).encode()


def test_a_message_shows_what_it_quotes_and_mentions() -> None:
    told = message({"msgQuote": {**QUOTED, "msgPreview": "<b>tea?</b>\x1b[2J"}, "em_at_list": ["carol", "all"]})
    assert ", replies to 7:" in repr(told)
    card = told._repr_html_()
    assert card.index("bob: &lt;b&gt;tea?") < card.index("two bags") < card.index("mentions carol, ALL")
    row = as_row(told)
    assert (row["quote"], row["mentions"]) == ("bob: <b>tea?</b>\\x1b[2J", ["carol", "ALL"])
    without_preview = as_row(message({"msgQuote": {"msgID": "7", "msgType": "img"}, "em_at_list": []}))
    assert without_preview["quote"] == "?: [img]"
    assert "mentions" not in without_preview
    assert len(as_row(message({"em_at_list": [f"u{number}" for number in range(1000)]}))["mentions"]) == 20
