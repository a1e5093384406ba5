"""Pinned messages over REST: which conversations and messages may be named, pages, and what goes with a message."""

import json

from imkit.sandbox.process import Sandbox
from tests.people import new_name
from tests.sandbox.server.raw_client import Api, Device, TeaGroup, app_api


def ask(api: Api, method: str, to: object, message: object = None, kind: object = "groupchat") -> dict[str, object]:
    body = {"to": to, "type": kind, "pin_msg_id": message if message is None else str(message)}
    how = {"params": {"to": to, "type": kind}} if method == "GET" else {"json": body}
    return {"method": method, "path": f"/sdk/user/{api.user}/user_channel/pin?resource=phone", **how}


def pinned(api: Api, to: str, query: str = "") -> tuple[list[tuple[str, str]], str]:
    data = api.ok("GET", f"/sdk/user/{api.user}/user_channel/pin?to={to}&type=groupchat{query}")["data"]
    return [(info["pin_msg_id"], info["pin_operator"]) for info in data["msg_infos"]], data["cursor"]


def test_a_pin_has_the_form_that_the_sdks_read(tea: TeaGroup) -> None:
    alice, bob = tea.alice, tea.bob
    alice.api.ok(**ask(alice.api, "POST", tea.group, tea.parent))
    (info,) = bob.api.ok(**ask(bob.api, "GET", tea.group))["data"]["msg_infos"]
    assert (info["pin_msg_id"], info["pin_operator"], info["message"]["id"]) == (
        *(str(tea.parent), alice.user),
        str(tea.parent),
    )
    assert json.loads(info["message"]["payload"])["bodies"] == [{"type": "txt", "msg": "parent"}]
    bob.receive_all()
    (told,) = [json.loads(meta.payload) for meta in bob.metas if meta.ns == 5]
    expected = {"op": "pin", "id": tea.group, "type": "groupchat", "from": alice.user, "res": "phone"}
    assert told == {"type": "conv", "data": {**expected, "ts": info["pin_opt_at"], "ext": str(tea.parent)}}
    alice.receive_all()
    assert not [meta for meta in alice.metas if meta.ns == 5]  # the device that pinned it


def test_pages_and_the_end_of_a_pin(tea: TeaGroup, sandbox: Sandbox) -> None:
    alice, bob = tea.alice.api, tea.bob.api
    sent = [tea.alice.send(tea.thread, f"{number}") for number in range(12)]
    for message in sent:
        bob.ok(**ask(bob, "POST", tea.thread, message))
    first, cursor = pinned(alice, tea.thread)
    rest, end = pinned(alice, tea.thread, f"&limit=10&cursor={cursor}")
    assert [message for message, _ in first + rest] == [str(message) for message in reversed(sent)]
    assert (len(first), end) == (10, "")
    app = app_api(sandbox)
    app.user = bob.user
    app.ok(**ask(app, "DELETE", tea.thread, sent[0]))
    alice.refused(**ask(alice, "DELETE", tea.thread, sent[0]), status=403, code=91102)
    # A recall takes the pin along; what a group or thread held is gone with it.
    tea.alice.recall(tea.thread, sent[1])
    assert str(sent[1]) not in dict(pinned(alice, tea.thread, "&limit=50")[0])
    alice.ok("DELETE", f"/thread/{tea.thread}")
    alice.refused(**ask(alice, "GET", tea.thread), status=404)


def test_only_members_and_only_messages_of_the_conversation(tea: TeaGroup, sandbox: Sandbox) -> None:
    alice, carol = tea.alice.api, tea.carol.api
    in_thread = tea.alice.send(tea.thread, "secret")
    mallory = Device(sandbox, new_name("mallory"))
    for api, place in ((mallory.api, tea.group), (mallory.api, tea.thread), (carol, tea.thread)):
        for method in ("GET", "POST", "DELETE"):
            reply = api.refused(**ask(api, method, place, in_thread), status=403)
            assert "secret" not in json.dumps(reply)
    # The id of one conversation does not open a message of another.
    alice.refused(**ask(alice, "POST", tea.group, in_thread), status=403, code=91102)
    alice.refused(**ask(alice, "POST", tea.group, 2**62), status=403, code=91102)
    mine = mallory.api.group()
    mallory.api.refused(**ask(mallory.api, "POST", mine, in_thread), status=403, code=91102)
    for wrong in ("", "x", "-1", "1" * 20, "9" * 19, "１"):
        for method in ("POST", "DELETE"):
            reply = alice.refused(**ask(alice, method, tea.group, wrong), status=400)
            assert reply["error_description"] == "param pin_msg_id illegal, please check it!"
    for kind in ("chat", "chatroom", None, ["groupchat"]):
        alice.refused(**ask(alice, "POST", tea.bob.user, in_thread, kind), status=403, code=15002)
    nowhere: object
    for nowhere in (None, 7, ["x"], {}):
        alice.refused(**ask(alice, "POST", nowhere, in_thread), status=400)
    mallory.receive_all()
    assert not [meta for meta in mallory.metas if meta.ns == 5]
