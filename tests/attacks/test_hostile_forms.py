"""Hostile notices, marks and answers, and the forms that show them: they go on, and get nothing that acts on a page."""

import itertools
import json
import random
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given

import imkit
from imkit import widgets
from imkit.portal import portal
from imkit.widgets.labels import Labels
from imkit.widgets.thread_model import ConversationTree
from imkit.wire import schema
from imkit.wire.enums import MucOperation, NameSpace
from tests.attacks.test_hostile_fields import (
    ANSWER,
    DETAIL_ANSWER,
    EACH,
    GROUPS,
    HOSTILE_JSON,
    HOSTILE_TEXT,
    LAST_MESSAGE,
    SEEDS,
    SLOT,
    THREAD_MEMBERS,
    TYPES,
    HostileService,
    hostile,
    metas_of,
    with_slots,
)
from tests.stand_ins import Answer as RestAnswer
from tests.stand_ins import Asked, envelope, odd_session, roamed
from tests.waits import WAIT
from tests.widgets.conftest import FakePage, until
from tests.wire.checks import check_event

__all__ = ["hostile"]  # the fixture

QUEUE = schema.JID(appKey="org#app", name="7", domain="conference.easemob.com")
NOTICE = {
    "type": "thread",
    "data": {
        "operation": "@operation@", "id": SLOT, "name": SLOT, "muc_parent_id": SLOT, "from": SLOT,
        "msg_parent_id": SLOT, "timestamp": SLOT, "message_count": SLOT, "last_message": LAST_MESSAGE,
    },
}  # fmt: skip
MARKS = {
    "thread": {"thread_name": SLOT, "muc_parent_id": SLOT, "msg_parent_id": SLOT},
    "edit_msg": {"count": SLOT, "edit_time": SLOT, "operator": SLOT, "sender": SLOT, "send_time": SLOT},
    "reaction": [SLOT, {"reaction": SLOT, "count": SLOT, "userList": SLOT, "state": SLOT, "op": [SLOT]}],
    "translations": [SLOT, {"text": SLOT, "to": SLOT}],
    "thread_overview": {
        "id": "42", "name": SLOT, "muc_parent_id": SLOT, "message_count": SLOT, "create_timestamp": SLOT,
        "update_timestamp": SLOT, "last_message": SLOT,
    },
}  # fmt: skip
FIRST_IDS = itertools.count(10**12, 1_000)  # of the messages of one example; a repeated one would be dropped
NO_PAGE_SHOWS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def meta(number: int, namespace: int, payload: bytes, sender: str = "bob") -> bytes:
    found = schema.Meta(id=number, timestamp=1_000 + number % 1_000, ns=namespace, payload=payload)
    found.to.name, getattr(found, "from").name = "42", sender
    return bytes(found.SerializeToString())


def group_notice(number: int, operation: int, group: str = "7") -> bytes:
    body = schema.MUCBody(operation=operation)
    body.mucId.name = group
    return meta(number, NameSpace.MUC, body.SerializeToString())


def hostile_metas(dice: random.Random, first: int) -> list[bytes]:
    """Return notices of every kind and messages with marks, with a hostile value in each field."""

    def value() -> str:
        return dice.choice([*HOSTILE_JSON, '"42"', '"7"', "42", "7"])  # some are about what a form shows

    def text() -> str:
        return dice.choice([*HOSTILE_TEXT, "42", "7", "alice"])

    payloads: list[tuple[int, bytes]] = []
    for operation in ["create", "update", "update_msg", "delete", "unheard of"] * 2:
        data = with_slots(NOTICE, value).replace(b"@operation@", operation.encode())
        payloads.append((NameSpace.NOTIFY, data.replace(b"@kind@", dice.choice(TYPES).encode())))
    payloads.append((NameSpace.NOTIFY, value().encode()))
    for number in MucOperation:
        for is_thread in (False, True):
            notice = schema.MUCBody(operation=number, isThread=is_thread, mucName=text())
            notice.mucId.name, notice.mucParentId.name, getattr(notice, "from").name = text(), text(), text()
            notice.to.add(name=text())
            payloads.append((NameSpace.MUC, notice.SerializeToString()))
    for kind in (2, 2, 2, 4, 5, 8, 8):
        marks = with_slots(MARKS, value).decode()
        body = schema.MessageBody(type=kind, contents=[schema.Content(type=0, text=text())], meta=marks)
        body.editMessageId = body.ackMessageId = first
        payloads.append((NameSpace.CHAT, body.SerializeToString()))
    return [meta(first + at, namespace, payload, text()) for at, (namespace, payload) in enumerate(payloads)]


def check_shown(content: Any) -> None:
    """Check what goes to a page: JSON that each browser reads, and no text in it acts on a line or reorders it."""
    text = json.dumps(content, allow_nan=False, ensure_ascii=False)
    found = NO_PAGE_SHOWS.search(json.dumps(content, ensure_ascii=False).replace("\\n", ""))
    assert found is None, text[max(found.start() - 100, 0) : found.end() + 20]
    assert not re.search(r"\\u00[01]|\\[tbfr]", text.replace("\\\\", ""))


def texts_of(page: FakePage) -> list[str]:
    return [row["text"] for content in page.received for row in content.get("rows", []) if "text" in row]


@EACH
@given(seed=SEEDS)
def test_forms_show_what_is_readable_and_go_on(
    hostile: tuple[imkit.Session, HostileService], caplog: pytest.LogCaptureFixture, seed: int
) -> None:
    session, service = hostile
    dice = random.Random(seed)
    first = next(FIRST_IDS)

    def rest(asked: Asked) -> bytes:
        template: Any = ANSWER
        if asked.path.endswith("/messageroaming"):
            return json.dumps({"data": {"msgs": roamed(*metas_of(dice, 20)), "is_last": True}}).encode()
        if asked.path.endswith("/joined_chatgroups"):
            template = GROUPS
        elif asked.path.endswith("/users"):
            template = THREAD_MEMBERS
        elif asked.path.endswith("/thread/42"):
            template = DETAIL_ANSWER
        return with_slots(template, lambda: dice.choice(HOSTILE_JSON)).replace(b"@kind@", b"txt")

    service.rest = rest
    explorer = widgets.Explorer(session, lang="en")
    everything = widgets.LiveFeed(session)
    try:
        picker = until(lambda: explorer.picker)
        until(lambda: not picker.tree.is_loading)
        portal().run(lambda: picker._pick("thread:42"))
        feed, history, wire = explorer.feed, explorer.history, explorer.wire
        assert feed is not None
        assert history is not None
        assert wire is not None
        pages = [FakePage(part) for part in (picker.list, feed.view, history.list, wire.list, everything.view)]
        for page in pages:
            page.send(do="open")
        heard = session.events(replay=False)
        last = schema.MessageBody(type=2, contents=[schema.Content(type=0, text="last")]).SerializeToString()
        metas = [*hostile_metas(dice, first), meta(first + 999, NameSpace.CHAT, last)]
        service.socket.send(envelope("SYNC", schema.LooseSyncDL(metas=metas, queue=QUEUE, isLast=True)))
        while True:
            event = heard.next(timeout=WAIT)
            check_event(event)
            if isinstance(event, imkit.MessageReceived) and event.message.text == "last":
                break
        until(lambda: all("last" in texts_of(page) for page in (pages[1], pages[4])))
        until(lambda: "group:7" in [row["key"] for row in picker.tree.as_rows()])
        portal().run(lambda: session.account.known.threads["42"].update(owner="mallory\x1b[2J\u202e"))
        for page in pages:
            page.send(do="open")
            check_shown(page.received)
        for form in (explorer, picker, feed, history, wire, everything, explorer.composer):
            assert form is not None
            check_shown([form.status.text, form.status.hint])
        assert "a form failed" not in caplog.text
    finally:
        explorer.close()
        everything.close()


@EACH
@given(seed=SEEDS)
def test_a_hostile_answer_to_a_login_and_to_a_load_is_an_error_in_the_form(
    caplog: pytest.LogCaptureFixture, seed: int
) -> None:
    dice = random.Random(seed)
    refusal = {"access_token": SLOT, "expires_in": SLOT, "user": SLOT, "error": SLOT, "error_description": SLOT}

    def answer(_: Asked) -> RestAnswer:
        body = with_slots(refusal, lambda: dice.choice(HOSTILE_JSON))
        return RestAnswer(dice.choice([400, 401, 403, 404]), body)

    with odd_session(answer) as (session, server):
        login = widgets.LoginForm("alice", lang="en")
        login.place.value = "app"
        login.app_key.value, login.rest_url.value, login.ws_url.value = "org#app", server.url, session.app.ws_url
        login.secret._handle_custom_msg({"secret": "secret"}, [])
        history = widgets.HistoryForm(session, threads=[session.thread("42")], lang="en")
        composer = widgets.Composer(session.thread("42"), lang="en")
        forms: list[Any] = [login, history, composer]
        try:
            login.log_in_button.click()
            history.load.click()
            FakePage(composer.drop).send(do="begin", name="a\x1b[2J\u202e.txt", size=1, number=1)
            until(lambda: all(form.status.tone == "bad" for form in (login, history)))
            for form in forms:
                check_shown([form.status.text, form.status.hint])
            assert "a form failed" not in caplog.text
        finally:
            for form in forms:
                form.close()


@pytest.fixture
def tree() -> Iterator[tuple[ConversationTree, list[str]]]:
    """A tree that loads after changes of groups, and the paths that it asked for."""
    asked: list[str] = []

    def answer(request: Asked) -> RestAnswer:
        asked.append(request.path)
        return RestAnswer(200, {"data": [{"groupid": "7"}]})

    with odd_session(answer) as (session, _):
        tree = ConversationTree(session, Labels("en"))
        following = portal().submit(tree.load_on_change(lambda error: None, pause=3_600))
        yield tree, asked
        following.cancel()


def test_a_thousand_changes_of_groups_cause_one_load(tree: tuple[ConversationTree, list[str]]) -> None:
    """A member joins and leaves a group again and again; each time everybody gets a notice."""
    model, asked = tree

    def follow() -> None:
        model.take_event(imkit.GroupChanged("memberPresence", "7", "mallory", ("mallory",)))

    for _ in range(1_000):
        portal().run(follow)
    until(lambda: model.groups and not model.is_loading)
    for _ in range(1_000):
        portal().run(follow)
    assert len([path for path in asked if path.endswith("/joined_chatgroups")]) == 1
