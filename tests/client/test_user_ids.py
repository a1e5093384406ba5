"""User ids are checked before any request, and are lower case."""

from typing import Any

import pytest

import imkit
from imkit.client.user_ids import user_id


def test_user_ids_are_lower_case() -> None:
    assert user_id("Alice.B-c_9") == "alice.b-c_9"


@pytest.mark.parametrize("user", ["", ".", "..", "a b", "a/b", "ä", "x" * 65, "a\n", None, 7, ["alice"], b"alice"])
def test_a_malformed_user_id(user: Any) -> None:
    with pytest.raises(imkit.InvalidMessage, match="not a user id"):
        user_id(user)
