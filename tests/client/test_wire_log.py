"""The wire log: decoded entries without secrets, and how much of them it keeps."""

import json
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imkit.client.redaction import HIDDEN
from imkit.client.wire_log import MAX_ENTRIES, WireLog, decode_frame
from imkit.wire import schema
from imkit.wire.envelope import Identity
from imkit.wire.protocol import ClientProtocol, Transmit
from tests.stand_ins import envelope, text_meta

SECRET = "hunter2-s3cret"
SECRET_KEYS = ["password", "token", "access_token", "secret", "share-secret", "secretKey", "Authorization", "auth"]
# JSON in which the secret stands under a secret's name, at any depth.
HIDING = st.recursive(
    st.builds(lambda key: {key: SECRET}, st.sampled_from(SECRET_KEYS)),
    lambda inner: st.one_of(
        st.builds(lambda value: [1, value], inner),
        st.builds(lambda key, value: {key: value, "user": "alice"}, st.sampled_from(["data", "entities", "a"]), inner),
    ),
    max_leaves=5,
)


@pytest.fixture
def log() -> WireLog:
    found = WireLog()
    found.is_on = True
    return found


def decoded(log: WireLog) -> list[Any]:
    return [json.loads(entry.decoded) for entry in log.entries_after(0)]


def test_nothing_is_noted_until_it_is_on() -> None:
    log = WireLog()
    log.note_frame("up", b"\x08\x00")
    log.note_request("GET /thread/42", None)
    log.note_answer("GET /thread/42", 200, b"{}")
    assert (log.total, log.entries_after(0)) == (0, [])


@given(content=HIDING)
def test_secrets_are_hidden_at_any_depth(content: dict[str, Any] | list[Any]) -> None:
    log = WireLog()
    log.is_on = True
    log.note_request("POST /token", {"body": content})
    log.note_answer("POST /token", 200, json.dumps(content).encode())
    for entry in log.entries_after(0):
        assert SECRET not in entry.decoded
        assert HIDDEN in entry.decoded


def test_the_token_of_a_login_is_hidden(log: WireLog) -> None:
    [login] = ClientProtocol(Identity("org#app", "alice", "phone")).connect(SECRET, 0.0)
    assert isinstance(login, Transmit)
    assert SECRET.encode() in login.data
    log.note_frame("up", login.data)
    [entry] = log.entries_after(0)
    assert entry.command == "PROVISION"
    assert SECRET not in entry.decoded
    assert HIDDEN in entry.decoded


def test_a_share_secret_in_a_url_is_hidden(log: WireLog) -> None:
    log.note_answer("GET /x", 200, json.dumps({"url": f"https://host/7?share-secret={SECRET}&thumbnail=1"}).encode())
    assert decoded(log) == [{"url": f"https://host/7?share-secret={HIDDEN}&thumbnail=1"}]


def test_a_frame_is_decoded_down_to_the_text_of_a_message(log: WireLog) -> None:
    page = schema.LooseSyncDL(status=schema.Status(errorCode=0), nextKey=7)
    page.metas.append(text_meta(7, "冻顶"))
    log.note_frame("down", envelope("SYNC", page))
    [entry] = log.entries_after(0)
    assert (entry.direction, entry.command) == ("down", "SYNC")
    assert "冻顶" in entry.decoded
    assert entry.size == len(envelope("SYNC", page))


@pytest.mark.parametrize("data", [b"\xff\xff\xff", b"\x08", "ö".encode() * 50])
def test_an_unreadable_frame_is_noted_as_hex(log: WireLog, data: bytes) -> None:
    log.note_frame("down", data)
    [entry] = log.entries_after(0)
    assert entry.command == "unreadable"
    assert json.loads(entry.decoded) == {"hex": data.hex()}


@given(data=st.binary(max_size=300), direction=st.sampled_from(["up", "down"]))
def test_no_bytes_break_the_decoder(data: bytes, direction: Any) -> None:
    command, content = decode_frame(data, direction)
    assert command
    json.dumps(content)


def test_an_answer_that_is_not_json_is_noted_as_text(log: WireLog) -> None:
    log.note_answer("GET /thread/42", 502, b"<html>\xff")
    [entry] = log.entries_after(0)
    assert entry.command == "502 GET /thread/42"
    assert json.loads(entry.decoded) == {"not JSON": "<html>�"}


def test_it_keeps_the_last_two_thousand_entries(log: WireLog) -> None:
    for number in range(MAX_ENTRIES + 5):
        log.note_request(f"GET /{number}", None)
    assert log.total == MAX_ENTRIES + 5
    commands = [entry.command for entry in log.entries_after(0)]
    assert commands == [f"GET /{number}" for number in range(5, MAX_ENTRIES + 5)]


@given(kept=st.integers(1, 5), noted=st.integers(0, 8), known=st.integers(0, 8))
def test_entries_after_are_those_that_a_reader_has_not_seen(kept: int, noted: int, known: int) -> None:
    log = WireLog(kept)
    log.is_on = True
    for number in range(noted):
        log.note_request(f"GET /{number}", None)
    expected = [f"GET /{number}" for number in range(max(known, noted - kept), noted)]
    assert [entry.command for entry in log.entries_after(known)] == expected


@pytest.mark.parametrize(("characters", "is_cut"), [(19_000, False), (1_000_000, True)])
def test_a_long_entry_is_cut(log: WireLog, characters: int, is_cut: bool) -> None:
    log.note_request("POST /x", {"text": "x" * characters})
    [entry] = log.entries_after(0)
    content = json.loads(entry.decoded)
    assert set(content) == ({"cut", "begins"} if is_cut else {"text"})
    assert len(entry.decoded) <= 20_000
    assert entry.size > characters  # the size is that of the request, not that of the entry


def test_to_dataframe_has_the_same_types_with_and_without_entries(log: WireLog) -> None:
    empty = log.to_dataframe(10)
    for number in range(3):
        log.note_request(f"GET /{number}", {"user": "alice"})
    log.note_answer("GET /2", 200, b"{}")
    frame = log.to_dataframe(3)
    assert list(frame["command"]) == ["GET /1", "GET /2", "200 GET /2"]
    assert list(frame["direction"]) == ["up", "up", "down"]
    assert frame.dtypes.equals(empty.dtypes)
    assert isinstance(frame["time"].dtype, pd.DatetimeTZDtype)
    assert frame["time"].dtype.unit == "ms"
    assert frame["direction"].dtype == pd.CategoricalDtype(["up", "down"])
    assert (str(frame["command"].dtype), str(frame["decoded"].dtype), str(frame["bytes"].dtype)) == (
        "string",
        "string",
        "Int64",
    )
