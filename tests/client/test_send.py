"""Sends, recalls and edits against a real sandbox."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import imkit
from imkit.sandbox.process import Sandbox
from tests.people import new_name

WAIT = 10.0


class Tea:
    """A group with a thread. Alice and Bob are in the thread, Carol is only in the group, Dave is in neither."""

    def __init__(self, sandbox: Sandbox) -> None:
        names = [new_name(name) for name in ("alice", "bob", "carol", "dave")]
        self.alice, self.bob, self.carol, self.dave = (imkit.login(name, app=sandbox.app) for name in names)
        self.group = self.alice.create_group("tea", members=[self.bob.user, self.carol.user])
        self.thread = self.group.create_thread("Oolong", self.group.send("Which oolong?"))
        self.bobs = self.bob.thread(self.thread.id).join()

    def heard(self, kind: type[imkit.Event], since: imkit.Message | None = None) -> Any:
        for event in self.bob.events(kind):
            if since is None or event.message.id == since.id:
                return event
        raise AssertionError("the session ended")

    def close(self) -> None:
        for session in (self.alice, self.bob, self.carol, self.dave):
            session.close()


@pytest.fixture(scope="module")
def shared_tea(sandbox: Sandbox) -> Iterator[Tea]:
    tea = Tea(sandbox)
    yield tea
    tea.close()


@pytest.fixture
def tea(shared_tea: Tea) -> Tea:
    return shared_tea


# ------------------------------------------------------------------------ send


def test_send_to_a_thread(tea: Tea) -> None:
    words = "Dong Ding, please 🍵"
    sent = tea.thread.send(words)
    assert sent.id.isdigit()
    assert abs(datetime.now(UTC) - sent.time) < timedelta(minutes=1)
    assert (sent.sender, sent.to, sent.type, sent.text) == (
        tea.alice.user,
        tea.thread.id,
        "txt",
        "Dong Ding, please 🍵",
    )
    assert sent.thread is not None
    assert (sent.thread.thread_id, sent.thread.group_id) == (tea.thread.id, tea.group.id)
    heard = tea.heard(imkit.MessageReceived, sent).message
    assert (heard.id, heard.time, heard.body, heard.thread) == (sent.id, sent.time, sent.body, sent.thread)


def test_send_to_a_group(tea: Tea) -> None:
    sent = tea.alice.send(tea.group, imkit.Text("to all", ext={"mood": "好", "n": 2**53 + 1}))
    assert sent.thread is None
    heard = tea.heard(imkit.MessageReceived, sent).message
    assert heard.thread is None
    assert heard.ext == {"mood": "好", "n": 2**53 + 1}


@pytest.mark.parametrize(
    "body",
    [
        imkit.Text("words", ext={"a": [1, {"b": None}], "t": True, "f": 0.5}),
        imkit.Location(25.03, 121.56, "Taipei"),
        imkit.Command("refresh", ext={"n": 1}),
        imkit.Custom("order/tea.1", {"kind": "oolong", "cups": "2"}),
        imkit.Image(url="https://example.org/a.png", width=4, height=3),
    ],
    ids=lambda body: body.type,
)
def test_bodies_arrive_as_they_were_sent(tea: Tea, body: imkit.Text) -> None:
    sent = tea.thread.send(body)
    heard = tea.heard(imkit.MessageReceived, sent).message
    assert heard.body == body == sent.body


def test_sends_in_flight_arrive_in_order(tea: Tea) -> None:
    async def main() -> list[imkit.Message]:
        async with asyncio.TaskGroup() as group:
            sends = [group.create_task(tea.thread.send.aio(f"in flight {number}")) for number in range(64)]
        return [send.result() for send in sends]

    heard = tea.bob.events(imkit.MessageReceived, replay=False)
    sent = asyncio.run(main())
    ids = [message.id for message in sent]
    assert ids == sorted(ids, key=int)
    found = [heard.next(timeout=WAIT) for _ in range(64)]
    assert [event.message.id for event in found if isinstance(event, imkit.MessageReceived)] == ids


# -------------------------------------------------- refused before any request


@pytest.mark.parametrize(
    "body",
    [
        "",
        None,
        7,
        b"bytes",
        ["list"],
        imkit.Text,
        imkit.Text(""),
        imkit.Text(7),
        imkit.Text(None),
        imkit.Text("half a \ud800"),
        imkit.Text("x", ext={"n": 2**63}),
        imkit.Text("x", ext={"n": float("nan")}),
        imkit.Text("x", ext={"when": datetime.now(UTC)}),
        imkit.Text("x", ext={1: "a"}),
        imkit.Text("x", ext=["a"]),
        imkit.Command(""),
        imkit.Command(None),
        imkit.Custom("", {}),
        imkit.Custom("a b", {}),
        imkit.Custom("x" * 33, {}),
        imkit.Custom(7, {}),
        imkit.Custom("e", ["a"]),
        imkit.Location(91, 0, ""),
        imkit.Location(0, 181, ""),
        imkit.Location(float("nan"), 0, ""),
        imkit.Location("north", 0, ""),
        imkit.Image(),
        imkit.Unknown(b"bytes"),
    ],
    ids=lambda body: f"{body!r:.40}",
)
def test_bodies_that_cannot_be_sent(tea: Tea, body: Any) -> None:
    with pytest.raises(imkit.InvalidMessage) as caught:
        tea.thread.send(body)
    assert isinstance(caught.value, ValueError)
    assert tea.alice.connected


@pytest.mark.parametrize(
    "body", ["x" * 6000, imkit.Text("x", ext={"long": "y" * 6000}), imkit.Custom("e", {"k": "z" * 6000})]
)
def test_bodies_that_are_too_large(tea: Tea, body: Any) -> None:
    with pytest.raises(imkit.TooLarge, match=f"thread {tea.thread.id}") as caught:
        tea.thread.send(body)
    assert caught.value.code == 511
    assert caught.value.hint
    assert tea.thread.send("x" * 4000).id  # and the session goes on


def test_a_target_must_be_a_thread_or_group(tea: Tea) -> None:
    for to in (tea.thread.id, None, tea.alice):
        with pytest.raises(imkit.InvalidMessage, match="a thread or a group is needed"):
            tea.alice.send(to, "hello")
    for name in ("", "abc", "12 3", "²", "1" * 33, None, 7):
        with pytest.raises(imkit.InvalidMessage, match="not the id"):
            tea.alice.thread(name)


# ------------------------------------------------------- refused by the service


def test_only_members_can_send(tea: Tea) -> None:
    outsider = tea.dave.group(tea.group.id)
    attempts: list[Callable[[], object]] = [
        lambda: outsider.send("let me in"),
        lambda: tea.dave.thread(tea.thread.id).send("let me in"),
        lambda: tea.carol.thread(tea.thread.id).send("in the group, not in the thread"),
    ]
    for attempt in attempts:
        with pytest.raises(imkit.NotAMember) as caught:
            attempt()
        assert (caught.value.code, caught.value.status) == (602, 1)
        assert caught.value.reason == "not in group or chatroom"
        assert tea.dave.user in caught.value.hint or "join" in caught.value.hint


def test_unknown_threads_and_groups(tea: Tea) -> None:
    with pytest.raises(imkit.ThreadNotFound, match="thread 999") as caught:
        tea.alice.thread("999").send("hello?")
    assert caught.value.reason == "group not found"
    assert caught.value.hint
    with pytest.raises(imkit.GroupNotFound, match="group 999"):
        tea.alice.group("999").send("hello?")


def test_a_destroyed_thread_takes_no_message(tea: Tea) -> None:
    thread = tea.group.create_thread("Short-lived", tea.group.send("soon gone"))
    thread.destroy()
    with pytest.raises(imkit.ThreadNotFound):
        thread.send("hello?")


# ---------------------------------------------------------------------- recall


def test_other_members_get_a_recall(tea: Tea) -> None:
    sent = tea.thread.send("oops")
    tea.heard(imkit.MessageReceived, sent)
    recalls = tea.bob.events(imkit.MessageRecalled, replay=False)
    tea.thread.recall(sent, ext="wrong tea")
    recalled = recalls.next(timeout=WAIT)
    assert isinstance(recalled, imkit.MessageRecalled)
    assert (recalled.message_id, recalled.to, recalled.by) == (sent.id, tea.thread.id, tea.alice.user)
    assert recalled.message is not None
    assert (recalled.message.id, recalled.message.text) == (sent.id, "oops")
    assert recalled.seconds_after is not None
    assert 0 <= recalled.seconds_after < 60
    assert recalled.ext == "wrong tea"
    assert sent.id in repr(recalled)
    assert sent.id not in [message.id for message in tea.thread.messages()]


def test_a_recall_takes_a_message_or_its_id(tea: Tea) -> None:
    ways: list[Callable[[imkit.Message], object]] = [
        lambda sent: tea.thread.recall(sent.id),
        lambda sent: tea.alice.recall(sent),
        lambda sent: tea.alice.recall(sent.id, to=tea.thread),
        lambda sent: asyncio.run(tea.thread.recall.aio(sent)),
    ]
    for way in ways:
        sent = tea.thread.send("to be recalled")
        way(sent)
        assert sent.id not in [message.id for message in tea.thread.messages()]
    in_group = tea.group.send("to be recalled")
    tea.alice.recall(in_group)
    assert in_group.id not in [message.id for message in tea.group.messages()]


def test_a_message_read_from_the_history_can_be_recalled(tea: Tea) -> None:
    tea.thread.send("from the history")
    (newest,) = tea.thread.messages(order="newest", limit=1)
    tea.alice.recall(newest)
    assert newest.id not in [message.id for message in tea.thread.messages()]


def test_a_recall_removes_the_file_with_the_last_message_that_holds_it(tea: Tea, tmp_path: Path) -> None:
    sent = tea.thread.send(imkit.File(b"two bags", file_name="order.txt"))
    body = sent.body
    assert isinstance(body, imkit.File)
    forwarded = tea.bobs.send(imkit.File(url=body.url, secret=body.secret, file_name="order.txt"))
    tea.thread.recall(sent)
    assert tea.bob.download(forwarded, tmp_path).read_bytes() == b"two bags"
    again = tea.group.send(imkit.File(url=body.url, secret=body.secret, file_name="order.txt"))
    tea.bobs.recall(forwarded)
    tea.bob.group(tea.group.id).recall(tea.bob.group(tea.group.id).send(imkit.File(url=body.url, secret=body.secret)))
    assert tea.bob.download(again, tmp_path).read_bytes() == b"two bags"
    tea.group.recall(again)
    for message in (sent, forwarded, again):
        with pytest.raises(imkit.NotFound, match="a recall removes it") as caught:
            tea.bob.download(message, tmp_path)
        assert caught.value.code == 223


def test_members_of_the_group_hear_of_an_edit_in_a_thread(tea: Tea) -> None:
    first, second = tea.thread.send("frist"), tea.thread.send("secnd")
    changes = tea.carol.events(imkit.ThreadChanged)
    changes.next(timeout=WAIT, where=lambda event: getattr(event.last_message, "text", "") == "secnd")
    for sent, text, newest in ((second, "second", "second"), (first, "first", None)):
        tea.thread.edit(sent, text)
        told = changes.next(timeout=WAIT)
        assert isinstance(told, imkit.ThreadChanged)
        assert (told.operation, told.thread_id, told.operator) == ("update", tea.thread.id, tea.alice.user)
        assert (told.last_message.text if told.last_message else None) == newest


def test_refused_recalls(tea: Tea) -> None:
    sent = tea.thread.send("once")
    with pytest.raises(imkit.Forbidden):
        tea.bobs.recall(sent)  # neither the sender nor a manager of the group
    tea.thread.recall(sent)
    with pytest.raises(imkit.MessageNotFound) as caught:
        tea.thread.recall(sent)
    assert caught.value.code == 1302
    with pytest.raises(imkit.MessageNotFound):
        tea.thread.recall("123")


@pytest.mark.parametrize("message", ["", "abc", "-1", "1.5", "²", "9" * 40, None, 7])
def test_a_recall_needs_a_message_or_an_id(tea: Tea, message: Any) -> None:
    with pytest.raises(imkit.InvalidMessage):
        tea.thread.recall(message)
    with pytest.raises(imkit.InvalidMessage):
        tea.alice.recall(message, to=tea.thread)
    with pytest.raises(imkit.InvalidMessage):
        tea.thread.edit(message, "new")


def test_an_id_without_a_target_is_refused(tea: Tea) -> None:
    with pytest.raises(imkit.InvalidMessage, match="where it was sent") as caught:
        tea.alice.recall("123")
    assert "to=thread" in caught.value.hint


@pytest.mark.parametrize("ext", [{"a": 1}, 7, b"x", "half a \ud800"])
def test_the_ext_of_a_recall_must_be_text(tea: Tea, ext: Any) -> None:
    sent = tea.thread.send("stays")
    with pytest.raises(imkit.InvalidMessage):
        tea.thread.recall(sent, ext=ext)


def test_recalls_end_after_the_time_for_recalls() -> None:
    with (
        Sandbox(recall_seconds=0.001) as strict,
        imkit.login("alice", app=strict.app) as alice,
        imkit.login("bob", app=strict.app) as bob,
    ):
        group = bob.group(alice.create_group("tea", members=["bob"]).id)
        sent = group.send("too late")
        later = group.send("time goes by")
        while later.time <= sent.time + timedelta(milliseconds=2):
            later = group.send("time goes by")
        with pytest.raises(imkit.RecallExpired) as caught:
            group.recall(sent)
        assert (caught.value.code, caught.value.reason) == (504, "exceed recall time limit")
        assert sent.id in [message.id for message in group.messages()]
        alice.group(group.id).recall(sent)  # the group's owner may, at any time
        assert sent.id not in [message.id for message in group.messages()]
    with Sandbox(recall_seconds=0) as never, imkit.login("alice", app=never.app) as alice:
        group = alice.create_group("tea")
        with pytest.raises(imkit.ServiceNotEnabled) as disabled:
            group.recall(group.send("for ever"))
        assert disabled.value.code == 505


# ------------------------------------------------------------------------ edit


def test_other_members_get_an_edit(tea: Tea) -> None:
    sent = tea.thread.send(imkit.Text("Dong Ding", ext={"cups": 1}))
    edits = tea.bob.events(imkit.MessageEdited, replay=False)
    edited = tea.thread.edit(sent, "Tie Guan Yin")
    assert (edited.id, edited.text, edited.edit_count, edited.time) == (sent.id, "Tie Guan Yin", 1, sent.time)
    heard = edits.next(timeout=WAIT)
    assert isinstance(heard, imkit.MessageEdited)
    assert (heard.message.id, heard.message.text, heard.operator, heard.count) == (
        sent.id,
        "Tie Guan Yin",
        tea.alice.user,
        1,
    )
    assert heard.message.time == sent.time
    again = tea.alice.edit(sent.id, imkit.Text("both", ext={"cups": 2}), to=tea.thread)
    assert again.edit_count == 2
    (found,) = (message for message in tea.thread.messages() if message.id == sent.id)
    assert (found.text, found.ext, found.edit_count, found.edited_at) == ("both", {"cups": 2}, 2, again.edited_at)
    with pytest.raises(imkit.IMError):
        tea.bobs.edit(sent, "not mine")
