"""`FeedRows`: order, limit, changes and speed; `as_row`: escaped text."""

import time
from dataclasses import replace
from datetime import UTC, datetime

import imkit
from imkit.events import MessageRecalled
from imkit.times import from_milliseconds
from imkit.widgets.feed_rows import MAX_MESSAGES, FeedRows, as_row


def message(number: int, text: str = "tea?", sender: str = "alice") -> imkit.Message:
    body = imkit.Text(text)
    return imkit.Message(str(10**18 + number), sender, "42", from_milliseconds(1_795_390_000_000 + number), body)


def test_rows_are_sorted_limited_and_returned_once() -> None:
    rows = FeedRows("alice")
    rows.add(message(number) for number in range(MAX_MESSAGES + 500))
    assert len(rows) == MAX_MESSAGES
    changes = rows.take_changes()
    assert (len(changes["rows"]), changes["oldest"][1]) == (MAX_MESSAGES, str(10**18 + 500))
    assert not rows.has_changes
    rows.add([message(3), message(700)])  # too old; known already
    assert not rows.has_changes
    rows.edit(replace(message(700), body=imkit.Text("now"), edit_count=1))
    rows.recall(MessageRecalled(str(10**18 + 900), "42", "bob", datetime.now(UTC)))
    assert [row["key"] for row in rows.take_changes()["rows"]] == [str(10**18 + 700), str(10**18 + 900)]
    assert len(rows.all_rows()["rows"]) == MAX_MESSAGES
    rows.recall(MessageRecalled("2" * 19, "42", "bob", datetime.now(UTC)))  # never seen before the recall
    (unseen,) = rows.take_changes()["rows"]
    assert (unseen["text"], unseen["recalled_by"]) == ("…", "bob")


def test_4000_messages_a_second_can_be_added() -> None:
    rows = FeedRows("alice")
    began = time.perf_counter()
    for update in range(50):
        rows.add(message(update * 400 + number) for number in range(400))
        rows.take_changes()
    assert 20_000 / (time.perf_counter() - began) > 4_000


def test_control_and_bidirectional_characters_are_escaped() -> None:
    row = as_row(message(1, "a\u202eb\x1b[2J\nc", sender="e\u202evil"))
    assert row["text"] == "a\\u202eb\\x1b[2J\nc"
    assert "\u202e" not in row["sender"]
