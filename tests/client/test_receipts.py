"""Read receipts: pages of readers, the forms that an answer may have, and answers of an odd service."""

from typing import Any

import pytest

import imkit
from imkit.sandbox.process import Sandbox
from imkit.times import from_milliseconds
from tests.people import new_name
from tests.stand_ins import Answer, Asked, odd_session
from tests.waits import WAIT


def test_receipts_reach_the_sender_and_the_list(thread: imkit.Thread, alice: imkit.Session, bob: imkit.Session) -> None:
    sent = thread.send("read me")
    his = bob.thread(thread.id)
    his.acknowledge(sent, "gladly")
    his.acknowledge(sent.id)
    receipts = alice.events(imkit.MessageRead)
    first, second = (receipts.next(timeout=WAIT) for _ in range(2))
    assert isinstance(first, imkit.MessageRead)
    assert isinstance(second, imkit.MessageRead)
    assert (first.message_ids, first.to, first.by, first.words) == ((sent.id,), thread.id, bob.user, "gladly")
    assert first.counts == second.counts == {sent.id: 1}
    assert first.at >= sent.time
    (reader,) = his.readers(sent)  # every member may ask
    assert (reader.user, reader.words) == (bob.user, "gladly")
    assert abs((reader.at - first.at).total_seconds()) < 1
    unread = thread.send("unread")
    assert thread.readers(unread) == []
    thread.recall(unread)
    with pytest.raises(imkit.MessageNotFound):
        thread.readers(unread)
    with pytest.raises(imkit.InvalidMessage):
        thread.readers("x")


def test_a_stranger_learns_of_no_readers(thread: imkit.Thread, sandbox: Sandbox) -> None:
    sent = thread.send("read me")
    with imkit.login(new_name("mallory"), app=sandbox.app) as mallory:
        with pytest.raises(imkit.Forbidden):
            mallory.thread(thread.id).readers(sent)
        with pytest.raises(imkit.NotAMember):
            mallory.thread(thread.id).acknowledge(sent)


def test_odd_answers_of_the_service() -> None:
    answers: list[Any] = []

    def answer(asked: Asked) -> Answer:
        return Answer(200, {"data": answers.pop(0) if len(answers) > 1 else answers[0]})

    def entry(user: str, **more: Any) -> dict[str, Any]:
        return {"username": user, "timestamp": 1000, "ack_content": "ok", **more}

    def reader(user: str, words: str = "ok", at: int = 1000) -> imkit.Reader:
        return imkit.Reader(user, from_milliseconds(at), words)

    with odd_session(answer) as (session, server):
        thread = session.thread("42")
        for odd in (None, 7, [], [entry("a")], {"group_ack": 7}, {"userlist": [None, "a", {}, {"username": 7.5}]}):
            answers[:] = [odd]
            assert thread.readers("7") == []
        answers[:] = [{"userlist": [entry("a", timestamp="x", ack_content=["x"])], "is_last": True, "next_key": "k"}]
        assert thread.readers("7") == [reader("a", "", 0)]
        one = {"userlist": [entry("a")], "is_last": False, "next_key": "k"}
        two = {"userlist": [entry("a"), entry("b")], "is_last": True, "next_key": "k2"}
        answers[:] = [{"ackmid": "7", "group_ack": one}, {"ackmid": "7", "group_ack": two}]
        before = len(server.asked)
        assert thread.readers("7") == [reader("a"), reader("b")]
        asked = [(each.path, each.query) for each in server.asked[before:]]
        path = "/org/app/chatgroups/42/acks/7"
        assert asked == [(path, {"limit": "50"}), (path, {"limit": "50", "key": "k"})]
        answers[:] = [{"userlist": {"a": 1}}]
        with pytest.raises(imkit.ProtocolError, match="not a list"):
            thread.readers("7")
