"""Unread counts and the one-way delete, with two devices of one user and a real sandbox."""

import pandas as pd

import imkit
from imkit.sandbox.process import Sandbox
from tests.waits import WAIT


def test_unread_counts_and_what_other_devices_are_told(
    sandbox: Sandbox, alice: imkit.Session, bob: imkit.Session, thread: imkit.Thread
) -> None:
    group = alice.group(thread.group_id or "")
    second = imkit.login(bob.user, app=sandbox.app, resource="second")
    group.send("two")
    (info,) = bob.conversations()
    assert (info.conversation, info.unread, info.pinned_at) == (bob.group(group.id), 2, None)
    assert info.last_message is not None
    assert (info.last_message.text, info.last_message.sender) == ("two", alice.user)
    bob.group(group.id).mark_read()
    bob.thread(thread.id).mark_read()
    read = [second.events(imkit.ConversationChanged).next(timeout=WAIT)]
    read.append(second.events(imkit.ConversationChanged).next(timeout=WAIT, where=lambda event: event != read[0]))
    assert [(event.operation, event.conversation_id, event.by, event.chat) for event in read] == [
        ("read", group.id, bob.user, "group"),
        ("read", thread.id, bob.user, "group"),
    ]
    assert [info.unread for info in bob.conversations()] == [0]

    sent = [thread.send(f"message {number}") for number in range(3)]
    of_bob = bob.thread(thread.id)
    of_bob.forget(sent[:1])
    forgotten = second.events(imkit.HistoryForgotten).next(timeout=WAIT)
    assert forgotten == imkit.HistoryForgotten(thread.id, (sent[0].id,))
    assert list(of_bob.history().text) == ["message 1", "message 2"]
    of_bob.forget(before="2100-01-01T00:00:00Z")
    later = second.events(imkit.HistoryForgotten).next(timeout=WAIT, where=lambda event: event.before is not None)
    assert later.message_ids == ()
    assert of_bob.history().empty
    assert of_bob.last_message() is None
    assert [message.text for message in thread.messages()] == ["message 0", "message 1", "message 2"]
    second.close()


def test_lists_of_a_session_go_into_a_dataframe(bob: imkit.Session, thread: imkit.Thread) -> None:
    sent = thread.send("Dong Ding")
    thread.react(sent, "👍")
    frame = pd.DataFrame(bob.conversations())  # it copies the group in each entry
    assert frame.conversation[0] == bob.group(thread.group_id or "")
    assert frame.conversation[0].account is bob.account
    assert pd.DataFrame(thread.reactions(sent)).reaction.tolist() == ["👍"]
