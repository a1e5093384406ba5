"""An app server streams texts; imkit's client and the history show them. Limits and refusals of the REST call."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

import imkit
from imkit.client.app import App
from imkit.sandbox.options import Options
from imkit.sandbox.process import Sandbox
from imkit.sandbox.server import store as store_module
from imkit.sandbox.server import streamed_texts
from imkit.sandbox.server.server import Application
from imkit.sandbox.server.store import Store
from imkit.sandbox.server.streamed_texts import Piece
from tests.attacks.served import Served, served
from tests.people import new_name
from tests.sandbox.server.raw_client import Api, Device, app_api, is_text, texts, token_of
from tests.waits import WAIT


class Bot:
    """An app server that streams texts as a user of its own."""

    def __init__(self, app: Api, user: str, to: str, kind: str = "chatgroup") -> None:
        self.app, self.user, self.to, self.path = app, user, to, f"/stream_message/{kind}"
        self.message: str | None = None
        self.number = 0

    def request(self, text: str, **body: Any) -> dict[str, Any]:
        fields = {"msg": text, "seq": self.number, "msgId": self.message, "type": "markdown", **body}
        return {"from": self.user, "to": self.to, "body": fields, "ext": {"mood": "good"}}

    def say(self, text: str, **body: Any) -> str:
        found: str = self.app.ok("POST", self.path, json=self.request(text, **body))["data"]["msgId"]
        self.message, self.number = found, self.number + 1
        return found

    def refused(self, text: str, status: int, code: int | None = None, **body: Any) -> Any:
        return self.app.refused("POST", self.path, status, code, json=self.request(text, **body))


@pytest.fixture
def bot(sandbox: Sandbox, thread: imkit.Thread, bob: imkit.Session) -> Bot:
    bob.thread(thread.id)
    return Bot(app_api(sandbox), bob.user, thread.id)


def streamed(event: Any) -> tuple[str, bool]:
    body = event.message.body
    assert isinstance(body, imkit.Streamed)
    return body.text, body.complete


def test_members_see_a_text_grow(sandbox: Sandbox, thread: imkit.Thread, alice: imkit.Session, bot: Bot) -> None:
    heard = alice.events(imkit.MessageReceived, imkit.MessageEdited, replay=False)
    message = bot.say("Tie")
    begun = heard.next(timeout=WAIT)
    assert isinstance(begun, imkit.MessageReceived)
    assert streamed(begun) == ("Tie", False)
    assert (begun.message.id, begun.message.sender, begun.message.ext) == (message, bot.user, {"mood": "good"})
    assert begun.message.thread is not None
    (kept,) = thread.messages()
    assert (kept.id, kept.text) == (message, "Tie")
    assert bot.say(" Guan") == bot.say("yin", finish=True, finishReason=3) == message
    grown, ended = heard.next(timeout=WAIT), heard.next(timeout=WAIT)
    assert isinstance(ended, imkit.MessageEdited)
    assert (streamed(grown), streamed(ended)) == (("Tie Guan", False), ("Tie Guanyin", True))
    assert ended.message.time == begun.message.time
    frame = thread.history(progress=False)
    assert frame[["message_id", "type", "text"]].to_numpy().tolist() == [[message, "txt", "Tie Guanyin"]]
    last = thread.last_message()
    assert last is not None
    assert last.body == ended.message.body
    assert last.body == imkit.Streamed("Tie Guanyin", kind="markdown", finish_reason=3, ext={"mood": "good"})
    # It is a message like others: it can be quoted, sent on, edited and recalled.
    assert type(thread.send(last.body).body) is imkit.Text
    assert thread.edit(message, "Tie Guanyin!").text == "Tie Guanyin!"
    thread.recall(message)
    assert message not in [each.id for each in thread.messages()]
    bot.refused("more", 400)


def test_a_user_without_a_device_gets_the_whole_text(sandbox: Sandbox, thread: imkit.Thread, bot: Bot) -> None:
    reader = new_name("carol")
    imkit.login(reader, app=sandbox.app).close()
    direct = Bot(bot.app, bot.user, reader, "user")
    direct.say("Dong")
    with imkit.login(reader, app=sandbox.app) as carol:  # comes in the middle
        direct.say(" Ding")
        message = direct.say("!", finish=True)
        found = carol.events(imkit.MessageReceived).next(timeout=WAIT)
        assert (found.message.id, found.message.to, found.message.chat) == (message, reader, "user")
        assert streamed(found) == ("Dong Ding!", True)
    direct.message, direct.number = None, 0
    message = direct.say("Oolong", finish=True)
    with imkit.login(reader, app=sandbox.app) as carol:
        found = carol.events(imkit.MessageReceived, replay=True).next(timeout=WAIT)
        assert (found.message.id, streamed(found)) == (message, ("Oolong", True))


def test_who_leaves_hears_no_more_and_who_comes_hears_the_rest(sandbox: Sandbox) -> None:
    alice, mallory, carol = (Device(sandbox, new_name(name)) for name in ("alice", "mallory", "carol"))
    group = alice.api.group(mallory.user)
    bot = Bot(app_api(sandbox), alice.user, group)
    bot.say("hello")
    mallory.until(is_text("hello"), "the first piece")
    alice.api.ok("DELETE", f"/chatgroups/{group}/users/{mallory.user}")
    alice.api.ok("POST", f"/chatgroups/{group}/users/{carol.user}")
    bot.say(" among us", finish=True)
    carol.until(is_text("hello among us"), "the whole text")
    mallory.receive_all()
    assert texts(mallory.metas) == ["hello"]


def test_refusals(sandbox: Sandbox, thread: imkit.Thread, alice: imkit.Session, bot: Bot) -> None:
    request = bot.request("x")
    Api(sandbox, token_of(sandbox, alice.user)).refused("POST", bot.path, 403, json=request)
    for wrong in ({"msg": 7}, {"seq": -1}, {"seq": True}, {"seq": 1}, {"seq": 2**40}, {"msgId": 7}, {"msgId": "x"}):
        bot.refused("x", 400, **wrong)
    bot.refused("x", 400, msgId="999")
    bot.app.refused("POST", bot.path, 400, json={**request, "body": []})
    bot.app.refused("POST", bot.path, 400, json={**request, "ext": {"a": "x" * 5000}})
    bot.app.refused("POST", bot.path, 404, json={**request, "to": "999"})
    bot.app.refused("POST", bot.path, 404, json={**request, "from": "nobody-there"})
    bot.say("one")
    bot.refused("x", 400, seq=5)
    assert bot.say("one", seq=0) == bot.message  # repeated: nothing happens
    bot.app.refused("POST", bot.path, 400, json={**bot.request("x", seq=1), "from": alice.user})
    bot.say("two", seq=1, finish=True)
    bot.refused("three", 400, seq=2)
    assert [message.text for message in thread.messages()] == ["onetwo"]


@contextmanager
def reader_at(running: Served) -> Iterator[tuple[imkit.Session, Api]]:
    """Log in a user "alice" at a server, and register a user "bot"."""
    api = app_api(running)
    for user in ("alice", "bot"):
        api.ok("POST", "/users", json={"username": user, "password": "tea"})
    app = App(running.app_key, rest_url=running.rest_url, ws_url=running.ws_url)
    with imkit.login("alice", app=app, password="tea") as alice:
        yield alice, api


def test_a_text_that_would_be_too_long_is_given_up_and_there_are_not_too_many() -> None:
    with served(streamed_bytes=10, streamed_texts_at_once=2) as running, reader_at(running) as (alice, api):
        heard = alice.events(imkit.MessageReceived, imkit.MessageEdited)
        first, second, third = (Bot(api, "bot", "alice", "user") for _ in range(3))
        first.refused("0123456789ab", 400, streamed_texts.TOO_LONG)
        first.say("0123456")
        first.refused("789ab", 400, streamed_texts.TOO_LONG)
        assert streamed(heard.next(timeout=WAIT)) == ("0123456", False)
        ended = heard.next(timeout=WAIT)
        assert isinstance(ended, imkit.MessageEdited)
        assert isinstance(ended.message.body, imkit.Streamed)
        assert (*streamed(ended), ended.message.body.error) == ("0123456", True, 513)
        first.refused("x", 400)
        second.say("a")
        third.say("b")
        Bot(api, "bot", "alice", "user").refused("c", 403, 40007)


def test_a_text_that_does_not_go_on_is_given_up() -> None:
    with served(streamed_pause_seconds=0.05) as running, reader_at(running) as (alice, api):
        heard = alice.events(imkit.MessageReceived, imkit.MessageEdited)
        bot = Bot(api, "bot", "alice", "user")
        bot.say("slow")
        assert streamed(heard.next(timeout=WAIT)) == ("slow", False)
        ended = heard.next(timeout=WAIT)
        assert isinstance(ended, imkit.MessageEdited)
        assert isinstance(ended.message.body, imkit.Streamed)
        assert (*streamed(ended), ended.message.body.error) == ("slow", True, 512)
        bot.refused("more", 400)


def test_a_store_that_fails_does_not_end_the_chores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(store_module, "_LOCKED_SECONDS", 0.01)
    clock = [1_800_000_000_000]
    store = Store(tmp_path / "data", clock=lambda: clock[0])
    application = Application(Options(), store)
    backend = application.backend
    with backend.delivery.unit():
        target = backend.uplink.target_for_app("alice", "bob", is_user=True)
        assert target is not None
        backend.streamed.begin("alice", target, Piece("slow", 0), "", {})
    clock[0] += 60_000
    with closing(sqlite3.connect(tmp_path / "data", isolation_level=None)) as another_program:
        another_program.execute("BEGIN IMMEDIATE")
        application.give_up_streamed_texts()
    assert "the store failed" in caplog.text
    store.close()
