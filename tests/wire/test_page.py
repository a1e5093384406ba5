"""A page of roaming history: whatever is in it, a bad entry costs none of its neighbours."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from imkit.errors import ProtocolError
from imkit.wire.page import parse_page


def content(*entries: Any, **more: Any) -> bytes:
    return json.dumps({"data": {"msgs": list(entries), **more}}).encode()


def entry(data: bytes) -> dict[str, str]:
    return {"msg": base64.b64encode(data).decode()}


def test_entries_come_as_bytes_in_order() -> None:
    page = parse_page(content(entry(b"one"), entry(b"two"), next_key="7", is_last=True))
    assert (page.entries, page.cursor, page.is_last, page.is_empty) == ([b"one", b"two"], "7", True, False)


@pytest.mark.parametrize("bad", ["AAA", "茶", "A==="])
def test_a_bad_entry_costs_no_other(bad: str) -> None:
    page = parse_page(content(entry(b"one"), {"msg": bad}, None, {}, {"msg": 5}, entry(b"two")))
    assert page.entries == [b"one", b"\xff", b"two"]


@pytest.mark.parametrize(("key", "cursor"), [("", None), (None, None), (True, None), (1.5, None), (7, 7), ("x", "x")])
def test_cursors_are_opaque(key: Any, cursor: Any) -> None:
    assert parse_page(content(next_key=key)).cursor == cursor


def test_an_empty_page() -> None:
    for data in ({}, {"msgs": []}, {"msgs": None}, {"msgs": {}}):
        page = parse_page(json.dumps({"data": data}).encode())
        assert (page.entries, page.cursor, page.is_last, page.is_empty) == ([], None, False, True)


@pytest.mark.parametrize("answer", [b"", b"<html>", b"[]", b"{}", b'{"data": []}', b"[" * 100_000, b'{"data": "\xff"}'])
def test_what_is_no_page_is_refused(answer: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_page(answer)
