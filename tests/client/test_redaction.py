"""Redaction: secrets are hidden in JSON and in URLs; everything else stays."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imkit.client.redaction import HIDDEN, redacted, without_share_secrets

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["user", "data", "ext", "tokens"]), inner),
)


@pytest.mark.parametrize("key", ["password", "token", "TOKEN", "access_token", "share-secret", "Authorization"])
@pytest.mark.parametrize("secret", ["hunter2", 7, ["hunter2"], {"inner": "hunter2"}])
def test_a_value_under_a_secrets_name_is_hidden_whole(key: str, secret: object) -> None:
    assert redacted({"data": [{key: secret, "user": "alice"}]}) == {"data": [{key: HIDDEN, "user": "alice"}]}


@pytest.mark.parametrize("empty", [None, "", 0])
def test_an_empty_secret_is_shown_as_empty(empty: object) -> None:
    assert redacted({"token": empty}) == {"token": empty}


def test_a_secret_in_a_json_text_is_hidden() -> None:
    """The lists of conversations and of pinned messages have the payload of a message as text."""
    bodies = '"bodies": [{"type": "file", "secret": "hunter2"}], "half": "\\ud800", "sum": 1e999'
    for text in (f"{{{bodies}}}", f" [{{{bodies}}}]"):
        hidden = redacted({"message": {"payload": text}})["message"]["payload"]
        assert "hunter2" not in hidden
        assert json.loads(hidden) is not None
        hidden.encode()
    for text in ('{"secret": "cut off', "{not JSON}", '{"user": "alice",  "n": 1.50}', "[" * 100_000):
        assert redacted([text]) == [text]


@given(value=PLAIN)
def test_json_without_secrets_stays_as_it_is(value: Any) -> None:
    before = copy.deepcopy(value)
    assert redacted(value) == before
    assert value == before


def test_each_share_secret_in_a_text_is_hidden() -> None:
    text = 'GET /a?share-secret=abc&x=1 and "/b?x=1&share-secret=def"'
    hidden = f'GET /a?share-secret={HIDDEN}&x=1 and "/b?x=1&share-secret={HIDDEN}"'
    assert without_share_secrets(text) == hidden
    assert without_share_secrets(hidden) == hidden


@given(text=st.text())
def test_a_text_without_a_share_secret_stays_as_it_is(text: str) -> None:
    assert without_share_secrets(text) == text or "share-secret=" in text
