"""Replies and mentions between real clients and a real sandbox."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

import imkit
from imkit.client.quotes import PREVIEW_CHARACTERS, SENT_MESSAGES, SentMessages
from imkit.client.roaming import PAGE_SIZE
from imkit.sandbox.process import Sandbox
from imkit.times import from_milliseconds
from tests.people import new_name

WAIT = 10.0


@dataclass
class Tea:
    """A group with a thread, and two users in both."""

    alice: imkit.Session
    bob: imkit.Session
    group: imkit.Group
    thread: imkit.Thread
    bobs: imkit.Thread

    def heard_by_bob(self, sent: imkit.Message) -> imkit.Message:
        received = self.bob.events(imkit.MessageReceived)
        return received.next(timeout=WAIT, where=lambda event: event.message.id == sent.id).message


@pytest.fixture(scope="module")
def tea(sandbox: Sandbox) -> Iterator[Tea]:
    with ExitStack() as stack:
        alice, bob = (stack.enter_context(imkit.login(new_name(name), app=sandbox.app)) for name in ("alice", "bob"))
        group = alice.create_group("tea", members=[bob.user])
        thread = group.create_thread("Oolong", group.send("Which oolong?"))
        yield Tea(alice, bob, group, thread, bob.thread(thread.id).join())


def test_a_reply_says_what_it_quotes_and_whom_it_mentions(tea: Tea) -> None:
    asked = tea.thread.send("Dong Ding 🍵", mention=tea.bob.user.upper())
    heard = tea.heard_by_bob(asked)
    assert heard.mentions == asked.mentions == (tea.bob.user,)
    reply = tea.bobs.send(imkit.Text("two bags", ext={"mood": "good"}), reply_to=heard, mention=imkit.ALL)
    # The attributes are those that the official kits write and read.
    assert reply.ext == {
        "mood": "good",
        "em_at_list": "ALL",
        "msgQuote": {"msgID": asked.id, "msgPreview": "Dong Ding 🍵", "msgSender": tea.alice.user, "msgType": "txt"},
    }
    assert reply.quote == imkit.Quote(asked.id, tea.alice.user, "txt", "Dong Ding 🍵")
    (newest,) = tea.thread.messages(order="newest", limit=1)
    assert (newest.id, newest.ext, newest.quote, newest.mentions) == (reply.id, reply.ext, reply.quote, (imkit.ALL,))

    # By id: of a message that this session received, and of one that it sent; any body can reply and be replied to.
    by_id = tea.bob.send(tea.bobs, imkit.Location(25.03, 121.56, "Taipei"), reply_to=asked.id, mention=iter(["Carol"]))
    assert (by_id.quote, by_id.mentions) == (reply.quote, ("carol",))
    own = tea.bobs.send("there", reply_to=by_id.id, mention=["dave", "all"])
    assert own.quote == imkit.Quote(by_id.id, tea.bob.user, "loc", "[loc]")
    assert own.ext["em_at_list"] == "ALL"

    long = tea.group.send("茶" * 500)
    quote = tea.group.send("indeed", reply_to=long.id).quote
    assert quote is not None
    assert (len(quote.preview), quote.preview[-2:]) == (PREVIEW_CHARACTERS, "茶…")
    edited = tea.group.edit(long, "short")
    assert tea.group.send("better", reply_to=edited.id).quote == imkit.Quote(long.id, tea.alice.user, "txt", "short")


def test_a_session_replies_to_an_id_that_it_has_only_read(
    tea: Tea, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = tea.thread.send("the first of many")
    for number in range(PAGE_SIZE):
        tea.thread.send(f"message {number}")
    monkeypatch.setattr("imkit.client.send.LOOKED_UP", 2 * PAGE_SIZE)
    with imkit.login(tea.alice.user, app=sandbox.app, resource="another") as another:
        thread = another.thread(tea.thread.id)
        frame = thread.history(limit=PAGE_SIZE + 1, order="newest", progress=False)
        assert frame.message_id.iloc[-1] == first.id
        reply = thread.send("I read that", reply_to=frame.message_id.iloc[-1])
        assert reply.quote == imkit.Quote(first.id, tea.alice.user, "txt", "the first of many")
        monkeypatch.setattr("imkit.client.send.LOOKED_UP", PAGE_SIZE)
        with pytest.raises(imkit.InvalidMessage, match="not among the newest"):
            thread.send("and that", reply_to=first.id)
        (found,) = thread.messages(since=frame.time.iloc[-1], limit=1)  # what the hint says
        assert found.id == first.id


def test_an_edit_keeps_the_quote_and_the_mentions(tea: Tea) -> None:
    asked = tea.thread.send("Dong Ding?")
    reply = tea.bobs.send("two bags", reply_to=asked, mention=[tea.alice.user])
    edited = tea.bobs.edit(reply, "three bags")
    edits = tea.alice.events(imkit.MessageEdited)
    heard = edits.next(timeout=WAIT, where=lambda event: event.message.id == reply.id).message
    (stored,) = tea.thread.messages(order="newest", limit=1)
    for message in (edited, heard, stored):
        assert (message.text, message.quote, message.mentions) == ("three bags", reply.quote, reply.mentions)


def test_what_cannot_be_quoted_or_mentioned_is_not_sent(tea: Tea) -> None:
    sent = tea.thread.send("Dong Ding")
    in_group = tea.group.send("Which cups?")
    refused: list[tuple[dict[str, Any], str]] = [
        ({"reply_to": in_group}, "is of conversation"),
        ({"reply_to": in_group.id}, "is of conversation"),
        ({"reply_to": "1234567890123456789"}, "not among the newest 1,000"),
        ({"reply_to": "the last one"}, "is not a message to reply to"),
        ({"reply_to": 7}, "is not a message to reply to"),
        ({"reply_to": imkit.Message("", "bob", tea.thread.id, sent.time, sent.body)}, "is not a message to reply to"),
        ({"mention": "not a user"}, "not a user id"),
        ({"mention": [""]}, "not a user id"),
        ({"mention": [None]}, "not a user id"),
        ({"mention": None}, "cannot be mentioned"),
        ({"mention": 7}, "cannot be mentioned"),
    ]
    for arguments, why in refused:
        with pytest.raises(imkit.InvalidMessage, match=why) as error:
            tea.thread.send("two bags", **arguments)
        assert error.value.hint
    with pytest.raises(imkit.InvalidMessage, match="same thing twice"):
        tea.thread.send(imkit.Text("two", ext={"msgQuote": {"msgID": "7"}}), reply_to=sent)
    with pytest.raises(imkit.InvalidMessage, match="same thing twice"):
        tea.thread.send(imkit.Text("two", ext={"em_at_list": ["bob"]}), mention="carol")
    with pytest.raises(imkit.InvalidMessage, match="command"):
        tea.thread.send(imkit.Command("refresh"), reply_to=sent)
    (newest,) = tea.thread.messages(order="newest", limit=1)
    assert newest.id == sent.id  # nothing else was sent


def test_a_recalled_message_is_not_repeated_in_a_quote(tea: Tea) -> None:
    sent = tea.thread.send("a secret")
    heard = tea.heard_by_bob(sent)
    tea.thread.recall(sent)
    gone = tea.bob.events(imkit.MessageRecalled)
    gone.next(timeout=WAIT, where=lambda event: event.message_id == sent.id)
    for thread, message in ((tea.thread, sent), (tea.thread, sent.id), (tea.bobs, heard), (tea.bobs, heard.id)):
        with pytest.raises(imkit.InvalidMessage, match="was recalled"):
            thread.send("what was that?", reply_to=message)


def test_a_session_keeps_a_limited_number_of_sent_messages() -> None:
    sent = SentMessages()
    for number in range(1, SENT_MESSAGES + 3):
        sent.add(imkit.Message(str(number), "alice", "42", from_milliseconds(0), imkit.Image(b"\0" * 5000)))
    sent.note_recalled("7")
    sent.note_recalled("a message that this session did not send")
    assert [sent.find(str(number)) is None for number in (1, 2, 3, 4, 7)] == [True, True, True, False, True]
    assert (sent.was_recalled("7"), sent.was_recalled("8"), sent.was_recalled("1")) == (True, False, False)
    assert sent.find("8") == ("42", imkit.Quote("8", "alice", "img", "[img]"))


def test_a_warning_tells_of_actions_that_official_clients_keep_for_themselves(
    tea: Tea, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="imkit.client.send"):
        for action in ("em_retract\x1b[2J", "easemob::call", "refresh", "them_too"):
            sent = tea.thread.send(imkit.Command(action))
            assert tea.heard_by_bob(sent).text == action
    assert len(caplog.messages) == 2
    assert "em_ and easemob:: are reserved" in caplog.messages[0]
    assert "em_retract\\" in caplog.messages[0]
    assert "\x1b" not in caplog.text
