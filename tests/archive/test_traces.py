"""What names a person: in JSON, in reactions, in bytes and in words, and what does not."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imkit.archive.traces import ERASED, TEXT_COLUMNS, Traces, upload_path
from imkit.wire.keyvalues import json_text

ANN = Traces("ann", message_ids=frozenset({"1000000000000000007"}), uploads=frozenset({"/o/a/chatfiles/7"}))
EMPTY: dict[str, Any] = dict.fromkeys(("sender", "type", "ext", "payload", "reactions", *TEXT_COLUMNS))


@pytest.mark.parametrize(
    ("ext", "clean"),
    [
        ({"to": "Ann", "tea": "oolong"}, {"to": ERASED, "tea": "oolong"}),
        ({"to": ["ann", "bob"]}, {"to": [ERASED, "bob"]}),
        ({"to": '["ann","bob"]'}, {"to": f'["{ERASED}","bob"]'}),
        ({"Ann": {"likes": "oolong"}}, {ERASED: ERASED}),
        ({"quote": {"from": "ann", "text": "hi", "n": 1}}, {"quote": {"from": ERASED, "text": ERASED, "n": ERASED}}),
        ({"quote": {"id": 1000000000000000007, "text": "hi"}}, {"quote": {"id": ERASED, "text": ERASED}}),
        ({"of": [{"uid": "ann", "nick": "A"}, {"uid": "b"}]}, {"of": [{"uid": ERASED, "nick": ERASED}, {"uid": "b"}]}),
        ({"a": '{"b":"{\\"uid\\":\\"ann\\"}"}'}, {"a": f'{{"b":"{{\\"uid\\":\\"{ERASED}\\"}}"}}'}),
        ({"a": '{"uid":"ann","uid":"x"}'}, {"a": ERASED}),
        ({"a": '{"uid":"\\u0061nn"}'}, {"a": f'{{"uid":"{ERASED}"}}'}),
    ],
)  # fmt: skip
def test_values_that_are_the_id_and_objects_about_the_person(ext: Any, clean: Any) -> None:
    assert json.loads(ANN.without(json_text(ext))) == clean


@pytest.mark.parametrize(
    "text",
    ['{"a":"anna","b":"ann-marie","c":"say ann"}', '{"n": 1.0}', "[1,2]", "not JSON", '{"x":NaN}', '{"x":1e999}', "["],
)
def test_other_values_stay_as_they_were_written(text: str) -> None:
    assert ANN.without(text) == text


def test_an_id_of_digits_is_also_a_number() -> None:
    assert Traces("42").without('{"uid":42,"price":42.5,"ok":true}') == '{"uid":"(erased)","price":42.5,"ok":true}'
    assert Traces("1").without_row({**EMPTY, "payload": '{"level":1}'}, in_bundle=False)["payload"] == '{"level":1}'


def test_reactions_lose_the_person_and_their_count() -> None:
    def left(*reactions: Any) -> Any:
        clean = ANN.without_row({**EMPTY, "reactions": json_text(list(reactions))}, in_bundle=False)["reactions"]
        return clean and json.loads(clean)

    assert left({"reaction": "x", "count": 1, "userList": ["ann"], "state": True}) is None
    assert left({"reaction": "x", "count": 9, "userList": ["ann"]}) == [{"reaction": "x", "count": 8, "userList": []}]
    assert left({"reaction": "ann", "count": 1, "userList": ["bob"]})[0]["reaction"] == "ann"  # a word, and no person
    assert left("ann", {"userList": "ann"}, {"count": "x", "userList": ["ann", 7, "bob"]}) == [
        ERASED,
        {"userList": ERASED},
        {"count": 2, "userList": [7, "bob"]},
    ]


def test_bytes_and_words() -> None:
    assert all(ANN.are_in_bytes(data) for data in (b"\x0a\x03Ann\x12", b'{"a":"ann"}', b'"{\\"a\\":\\"ann\\"}"'))
    assert not any(ANN.are_in_bytes(data) for data in (b"\x0a\x04anna", b'"anna"', b"hello ann"))
    assert all(ANN.are_in_texts({"text": text}) for text in ("@ann", "问ann的", "ann.", '{"a":"x\\nann"}'))
    assert not any(ANN.are_in_texts({"text": text}) for text in ("anna", "joann", "ann_1", "ANNE", None))
    assert Traces("a.b").without_words("a.b axb", always=True) == "(erased) axb"
    address = "from org#app_{}@easemob.com/phone"
    assert ANN.without_words(address.format("Ann"), always=True) == address.format(ERASED)
    assert not ANN.are_in_texts({"text": address.format("joann")})


def test_files_of_the_service_belong_to_their_sender_and_other_urls_to_nobody() -> None:
    forwarded = {**EMPTY, "type": "file", "url": "https://other/o/a/chatfiles/7", "file_name": "x", "file_size": 1}
    assert ANN.without_row(forwarded, in_bundle=False)["file_size"] is None
    assert [upload_path(url) for url in ("https://h/cat.png", "", None, "http://[", "\x00")] == [None] * 5


@pytest.mark.parametrize("kind", ["sender", "operator", "message"])
def test_entries_of_the_live_log(kind: str) -> None:
    own = {
        "sender": {"sender": "Ann", "operator": "bob"},
        "operator": {"operator": "ann"},
        "message": {"sender": None, "operator": "bob", "message_id": "1000000000000000007"},
    }
    assert ANN.without_entry(own[kind]) is None
    others = {
        "event": "edited",
        "sender": "bob",
        "operator": "ANN",
        "text": "ann",
        "ext": '{"a":"ann"}',
        "later": "ann",
    }
    assert ANN.without_entry(others) == {
        **others, "operator": ERASED, "ext": f'{{"a":"{ERASED}"}}', "later": ERASED
    }  # fmt: skip


def test_an_entry_about_a_message_to_the_person_does_not_name_them() -> None:
    entry = {"event": "recalled", "sender": "bob", "operator": "bob", "message_id": "8", "target_id": "Ann"}
    assert ANN.without_entry(entry) == {**entry, "target_id": ERASED}
    of_a_group = {**entry, "target_id": "42"}
    assert Traces("42", conversations={"42"}).without_entry(of_a_group) == of_a_group


TEXTS = st.text() | st.sampled_from(["ann", "Ann", '["ann"]', "{ann", '{"ann":1'])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=8,
)


def values_in(value: Any) -> Iterator[str]:
    """Yield all texts and keys in a JSON value, in lower case, and those in JSON texts."""
    if isinstance(value, dict | list):
        for each in [*value, *value.values()] if isinstance(value, dict) else value:
            yield from values_in(each)
    elif isinstance(value, str):
        yield value.lower()
        if value[:1] in ("{", "["):
            with contextlib.suppress(ValueError):
                yield from values_in(json.loads(value))


@given(VALUES, st.booleans())
def test_no_value_raises_and_none_is_the_id_afterwards(value: Any, texts: bool) -> None:
    text, payload = json.dumps(value), json.dumps({"params": value})
    traces = Traces("ann", texts=texts)
    row = {**EMPTY, "sender": "bob", "type": "custom", "ext": text, "payload": payload, "reactions": text}
    clean = traces.without_row(row, in_bundle=False)
    assert "ann" not in set(values_in(clean))
    assert traces.without_row(clean, in_bundle=False) == clean
    assert not traces.is_own({**row, "type": "unknown"})
    traces.without_row({**row, "type": "combine"}, in_bundle=True)
    if isinstance(value, dict):
        traces.without_entry(value)
