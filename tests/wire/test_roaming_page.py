"""A page of roaming history: an unreadable entry loses none of the others, and the two parsers agree."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imkit.errors import ProtocolError
from imkit.history.columns import to_batch
from imkit.wire import roaming_page
from imkit.wire.roaming_page import RawPage, parse_page
from tests.wire.strategies import JSON, often


def content(*entries: Any, **more: Any) -> bytes:
    return json.dumps({"data": {"msgs": list(entries), "is_last": False, **more}}).encode()


def entry(data: bytes) -> dict[str, str]:
    return {"msg": base64.b64encode(data).decode()}


def test_entries_come_as_bytes_in_order() -> None:
    page = parse_page(content(entry(b"one"), entry(b"two"), next_key="7", is_last=True))
    assert (page.entries, page.cursor, page.is_last, page.is_empty) == ([b"one", b"two"], "7", True, False)


@pytest.mark.parametrize("bad", ["AAA", "茶", "A==="])
def test_an_unreadable_entry_loses_no_other(bad: str) -> None:
    page = parse_page(content(entry(b"one"), {"msg": bad}, None, {}, {"msg": 5}, entry(b"two")))
    assert page.entries == [b"one", b"\xff" + bad.encode(), b"two"]
    assert to_batch(page.entries[1:2]).column("type").to_pylist() == ["unknown"]


@pytest.mark.parametrize(("key", "cursor"), [("", None), (None, None), (7, 7), ("x", "x")])
def test_cursors_are_opaque(key: Any, cursor: Any) -> None:
    assert parse_page(content(next_key=key)).cursor == cursor


def test_an_empty_page() -> None:
    answers: list[dict[str, Any]] = [{}, {"msgs": []}, {"msgs": None}]
    for data in answers:
        page = parse_page(json.dumps({"data": {**data, "is_last": False}}).encode())
        assert (page.entries, page.cursor, page.is_last, page.is_empty) == ([], None, False, True)


@pytest.mark.parametrize("answer", [b"", b"<html>", b"[]", b"{}", b'{"data": []}', b"[" * 100_000, b'{"data": "\xff"}'])
def test_an_answer_without_a_page_is_refused(answer: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_page(answer)


ONE = [entry(b"one")]


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"msgs": []},
        {"msgs": ONE},
        {"msgs": [], "next_key": "7"},
        {"msgs": [], "is_last": None},
        {"msgs": "x", "is_last": True},
        {"msgs": {}, "is_last": True},
        {"msgs": 0, "is_last": True},
        {"msgs": ONE, "is_last": "true"},
        {"msgs": ONE, "is_last": 1},
        {"msgs": ONE, "is_last": False, "next_key": True},
        {"msgs": ONE, "is_last": False, "next_key": 1.5},
        {"msgs": ONE, "is_last": False, "next_key": ["7"]},
        {"msgs": ONE, "is_last": False, "next_key": "x" * 5_000},
        {"msgs": [{}] * 10_001, "is_last": True},
    ],
    ids=lambda data: json.dumps(data)[:40],
)
def test_a_malformed_page_is_not_the_end_of_a_history(data: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError):
        parse_page(json.dumps({"data": data}).encode())


def parsed(parse: Callable[[bytes], RawPage], content: bytes) -> RawPage | str:
    try:
        return parse(content)
    except ProtocolError as error:
        return error.args[0]


ENCODED = st.binary(max_size=12).map(lambda data: base64.b64encode(data).decode())
ENTRIES = st.fixed_dictionaries({}, optional={"msg": ENCODED | st.text(max_size=8) | JSON, "more": JSON}) | JSON
DATA = st.fixed_dictionaries(
    {},
    optional={
        "msgs": st.lists(ENTRIES, max_size=4) | JSON,
        "next_key": JSON,
        "is_last": st.booleans() | JSON,
        "more": JSON,
    },
)


@often(400)
@given(data=DATA | JSON, ascii_only=st.booleans())
def test_both_parsers_return_the_same_page(data: Any, ascii_only: bool) -> None:
    content = json.dumps({"data": data}, ensure_ascii=ascii_only).encode()
    assert parsed(parse_page, content) == parsed(roaming_page._parse_leniently, content)


@often(200)
@given(text=st.text(st.sampled_from("AZaz09+/-_= \n\\"), max_size=12))
def test_both_parsers_read_base64_alike(text: str) -> None:
    assert parse_page(content({"msg": text})) == roaming_page._parse_leniently(content({"msg": text}))
