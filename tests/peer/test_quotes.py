"""Quotes, mentions and reserved actions between the official SDK and imkit, in both directions."""

import json
from collections.abc import Callable, Iterator

import pytest

import imkit
from tests.peer.conftest import Login
from tests.peer.peer import Peer
from tests.peer.test_conversation import MixedThread, heard_by_bob, mixed_thread
from tests.sandbox.server.raw_client import Server

pytestmark = [pytest.mark.peer, pytest.mark.timeout(60)]


@pytest.fixture
def mixed(sandbox: Server, web_peer: Peer, login: Login, new_user: Callable[[str], str]) -> Iterator[MixedThread]:
    yield from mixed_thread(sandbox, web_peer, login, new_user)


def test_quotes_and_mentions_mean_the_same_to_both(mixed: MixedThread) -> None:
    alice, bob, thread = mixed.alice, mixed.bob, mixed.thread
    asked = heard_by_bob(mixed, alice.send(thread.id, msg="冻顶?")["serverMsgId"]).id

    # What imkit writes is what the kits read: an object with these four texts, and a list.
    reply = thread.send("两包", reply_to=asked, mention=[alice.user])
    read = alice.wait("onTextMessage", id=reply.id)["ext"]
    assert read == {
        "em_at_list": [alice.user],
        "msgQuote": {"msgID": asked, "msgPreview": "冻顶?", "msgSender": alice.user, "msgType": "txt"},
    }

    # What the kits write, with the words of SDK 5, with JSON text, and with an empty list of mentions.
    quote = {"msgID": reply.id, "msgPreview": "[image]", "msgSender": "鲍勃", "msgType": "image"}
    written = {"msgQuote": quote, "em_at_list": []}, {"msgQuote": json.dumps(quote), "em_at_list": "ALL"}
    for ext, mentions in zip(written, ((), (imkit.ALL,)), strict=True):
        heard = heard_by_bob(mixed, alice.send(thread.id, msg="好", ext=ext)["serverMsgId"])
        assert heard.quote == imkit.Quote(reply.id, "鲍勃", "img", "[image]")
        assert heard.mentions == mentions

    # The web SDK gives reserved actions to the application.
    command = bob.send(thread, imkit.Command("em_anything"))
    assert alice.wait("onCmdMessage", id=command.id)["action"] == "em_anything"
