"""Reactions over REST: what is listed, who is told, and what is refused in the words that both SDKs know.

Source: docs/protocol.md#reactions.
"""

import base64
import json
from typing import Any

import pytest

from imkit.sandbox.process import Sandbox
from imkit.wire import schema
from imkit.wire.envelope import GROUP_DOMAIN, USER_DOMAIN
from tests.people import new_name
from tests.sandbox.server.raw_client import Api, Device, TeaGroup, app_api, text_body, token_of

ILLEGAL = ("reaction_operation_illegal", "the user operation is illegal!")
NOT_JOINED = ("group_not_joined", "The user not in this group!")


def react(api: Api, message: object, reaction: object = "👍", **more: Any) -> Any:
    return api.ok("POST", f"/reaction/user/{api.user}", json={"msgId": str(message), "message": reaction}, **more)


def take_back(api: Api, message: object, reaction: str = "👍") -> Any:
    return api.ok("DELETE", f"/reaction/user/{api.user}", params={"msgId": str(message), "message": reaction})


def listed(api: Api, message: object, group: str | None, kind: str = "groupchat") -> Any:
    params = {"msgIdList": str(message), "msgType": kind, "groupId": group or "null", "_v": 7}
    return [each["reactionList"] for each in api.ok("GET", f"/reaction/user/{api.user}", params=params)["data"]]


def refusal(api: Api, method: str, path: str = "", **how: Any) -> tuple[str, str]:
    body = api.refused(method, f"/reaction/user/{api.user}{path}", 400, **how)
    return body["error"], body["error_description"]


def notices(device: Device) -> list[Any]:
    device.receive_all()
    told = [json.loads(meta.payload) for meta in device.metas if meta.ns == 5]
    return [entry for each in told if each["type"] == "reaction" for entry in each["data"]]


def test_everybody_in_the_thread_is_told_on_all_devices(tea: TeaGroup, sandbox: Sandbox) -> None:
    sent = tea.alice.send(tea.thread, "tea?")
    tablet = Device(sandbox, tea.bob.user, resource="tablet")
    react(tea.bob.api, sent)
    react(tea.alice.api, sent)
    react(tea.alice.api, sent, "🍵")
    take_back(tea.bob.api, sent)
    told = notices(tea.alice)
    assert [(each["messageId"], each["from"], each["to"], each["channel_type"]) for each in told] == [
        (str(sent), user, tea.thread, "groupchat")
        for user in (tea.bob.user, tea.alice.user, tea.alice.user, tea.bob.user)
    ]
    # All reactions are listed, the earliest first; only the one that has changed has an operation.
    bob, alice = tea.bob.user, tea.alice.user
    assert told[2]["reactions"] == [
        {"reaction": "👍", "count": 2, "userList": [bob, alice]},
        {"reaction": "🍵", "count": 1, "userList": [alice], "op": [{"operator": alice, "reactionType": "create"}]},
    ]
    assert told[3]["reactions"][0]["op"] == [{"operator": bob, "reactionType": "delete"}]
    assert isinstance(told[0]["ts"], int)
    assert notices(tea.bob) == notices(tablet) == told
    assert notices(tea.carol) == []  # in the group, and not in the thread
    # With `resource`, that device is not told.
    take_back(tea.alice.api, sent, "🍵")
    react(tea.alice.api, sent, "😂", params={"resource": "phone"})
    assert [each["reactions"][-1] for each in notices(tea.alice)[4:]] == [
        {"reaction": "🍵", "count": 0, "userList": [], "op": [{"operator": alice, "reactionType": "delete"}]}
    ]
    assert len(notices(tea.bob)) == 6


def test_lists_and_history_show_three_users_and_the_detail_all(tea: TeaGroup, sandbox: Sandbox) -> None:
    app = app_api(sandbox)
    users = [new_name("guest") for _ in range(7)]
    for user in users:
        token_of(sandbox, user)
        app.ok("POST", f"/chatgroups/{tea.group}/users/{user}")
        body = {"msgId": str(tea.parent), "message": "🍵"}
        app.ok("POST", f"/reaction/user/{user}", json=body)
    react(tea.carol.api, tea.parent, "🍵")
    shown = {"reaction": "🍵", "count": 8, "userList": users[:3], "state": True}
    for kind, group in (("groupchat", tea.group), ("group", tea.group)):
        assert listed(tea.carol.api, tea.parent, group, kind) == [[shown]]
    (own,) = listed(tea.alice.api, tea.parent, tea.group)
    assert own == [{**shown, "state": False}]

    def mark(device: Device) -> Any:
        metas = [schema.Meta.FromString(base64.b64decode(each["msg"])) for each in device.api.page(tea.group)["msgs"]]
        (body,) = [schema.MessageBody.FromString(meta.payload) for meta in metas if meta.id == tea.parent]
        return json.loads(body.meta)

    assert mark(tea.carol)["reaction"] == [shown]
    assert mark(tea.alice)["reaction"] == own
    assert mark(tea.alice)["thread_overview"]["id"] == tea.thread
    # The two SDKs have different names for the page.
    for size, after in (("limit", "cursor"), ("pageSize", "currentPage")):
        found, cursor = [], "null"
        while cursor:
            params = {"msgId": tea.parent, "message": "🍵", size: 3, after: cursor}
            data = tea.bob.api.ok("GET", f"/reaction/user/{tea.bob.user}/detail", params=params)["data"]
            assert (data["reaction"], data["count"], data["state"]) == ("🍵", 8, False)
            assert len(data["userList"]) <= 3
            found += data["userList"]
            cursor = data["cursor"]
        assert found == [*users, tea.carol.user]
        huge = {"msgId": tea.parent, "message": "🍵", after: "9" * 19}
        tea.bob.api.ok("GET", f"/reaction/user/{tea.bob.user}/detail", params=huge)


def test_an_edit_keeps_reactions_and_a_recall_removes_them(tea: TeaGroup) -> None:
    sent = tea.alice.send(tea.thread, "tea?")
    react(tea.bob.api, sent)
    edit = schema.MessageBody(type=8, editMessageId=sent, editScope=1, contents=[schema.Content(type=0, text="more?")])
    tea.alice.send(tea.thread, edit)
    (kept,) = tea.bob.api.page(tea.thread)["msgs"]
    body = schema.MessageBody.FromString(schema.Meta.FromString(base64.b64decode(kept["msg"])).payload)
    assert {"edit_msg", "thread", "reaction"} == json.loads(body.meta).keys()
    # A thread's message is found by the id of the thread and by that of its group.
    assert len(listed(tea.bob.api, sent, tea.thread)) == len(listed(tea.bob.api, sent, tea.group)) == 1
    assert listed(tea.carol.api, sent, tea.group) == []  # Carol is in the group, and not in the thread
    assert tea.alice.recall(tea.thread, sent).errorCode == 0
    assert listed(tea.bob.api, sent, tea.thread) == []
    assert refusal(tea.bob.api, "GET", "/detail", params={"msgId": sent, "message": "👍"}) == ILLEGAL


def test_reactions_in_a_one_to_one_conversation(tea: TeaGroup) -> None:
    sent = tea.alice.send(tea.bob.user, text_body("just you"), domain=USER_DOMAIN)
    react(tea.bob.api, sent)
    (told,) = notices(tea.alice)
    assert (told["from"], told["to"], told["channel_type"]) == (tea.bob.user, tea.alice.user, "chat")
    assert notices(tea.bob) == [told]
    assert listed(tea.alice.api, sent, None, "chat")[0][0]["userList"] == [tea.bob.user]
    assert listed(tea.alice.api, tea.parent, None, "chat") == listed(tea.alice.api, sent, tea.group) == []
    body = {"msgId": str(sent), "message": "👀"}
    assert refusal(tea.carol.api, "POST", json=body) == ILLEGAL
    assert listed(tea.carol.api, sent, None, "chat") == []


def test_refusals_in_the_words_of_both_sdks(tea: TeaGroup) -> None:
    sent = tea.alice.send(tea.thread, "tea?")
    bob, carol = tea.bob.api, tea.carol.api
    body = {"msgId": str(sent), "message": "👍"}
    react(bob, sent)
    assert refusal(bob, "POST", json=body) == (
        "reaction_already_operated",
        "the user is already operation this message",
    )
    for number in range(19):
        react(bob, sent, f"emoji_{number}")
    full = ("reaction_reach_limit", "The quantity has exceeded the limit!")
    assert refusal(bob, "POST", json={**body, "message": "one more"}) == full
    react(tea.alice.api, sent, "emoji_0")  # a reaction that the message has already
    assert refusal(carol, "POST", json=body) == NOT_JOINED
    for message in ("1", "x", None, "9" * 19, 7, ["1"]):
        assert refusal(bob, "POST", json={**body, "msgId": message}) == ILLEGAL
    for api, reaction in ((carol, "👍"), (bob, "never given"), (tea.alice.api, "👍")):
        assert refusal(api, "DELETE", params={"msgId": sent, "message": reaction}) == ILLEGAL
    for wrong in ("", "x" * 129, None, 7, ["👍"]):
        assert refusal(bob, "POST", json={**body, "message": wrong})[0] == "illegal_argument"
    assert refusal(carol, "GET", "/detail", params={"msgId": sent, "message": "👍"}) == ILLEGAL
    many = {"msgIdList": ",".join(["1"] * 21), "msgType": "group", "groupId": tea.group}
    assert refusal(bob, "GET", params=many)[0] == "illegal_argument"
    no_group = ("group_invalid_id", "groupId can not be null!")
    for group in ("null", "undefined", ""):
        assert refusal(bob, "GET", params={**many, "msgIdList": sent, "groupId": group}) == no_group
    for group in ("1", f"{tea.alice.user}:{tea.carol.user}"):
        assert refusal(bob, "GET", params={**many, "msgIdList": sent, "groupId": group}) == NOT_JOINED
    # Nobody reacts as another user.
    bob.refused("POST", f"/reaction/user/{tea.alice.user}", 403, json=body)


def test_who_has_left_reacts_no_more(tea: TeaGroup) -> None:
    react(tea.carol.api, tea.parent)
    tea.carol.api.ok("DELETE", f"/chatgroups/{tea.group}/quit")
    tea.carol.receive_all()
    tea.carol.metas.clear()
    assert refusal(tea.carol.api, "DELETE", params={"msgId": tea.parent, "message": "👍"}) == ILLEGAL
    assert refusal(tea.carol.api, "POST", json={"msgId": str(tea.parent), "message": "🍵"}) == NOT_JOINED
    react(tea.bob.api, tea.parent)
    assert notices(tea.carol) == []
    assert listed(tea.bob.api, tea.parent, tea.group)[0][0]["userList"] == [tea.carol.user, tea.bob.user]


@pytest.mark.parametrize("reaction", ["a&b=#c+ %", "\n\x00\x01", "'); DROP TABLE reactions; --", "‮", "👩‍👩‍👧‍👦" * 10])
def test_any_text_is_a_reaction(tea: TeaGroup, reaction: str) -> None:
    react(tea.bob.api, tea.parent, reaction)
    assert [each["reaction"] for each in listed(tea.bob.api, tea.parent, tea.group)[0]] == [reaction]
    assert notices(tea.alice)[0]["reactions"][0]["reaction"] == reaction
    payload = next(meta.payload for meta in tea.alice.metas if b'"reaction"' in meta.payload)
    assert not [byte for byte in payload if byte < 0x10]  # the SDKs drop such a notice
    assert tea.alice.api.page(tea.group, queue=f"{tea.group}@{GROUP_DOMAIN}")["msgs"]
    take_back(tea.bob.api, tea.parent, reaction)
    assert listed(tea.bob.api, tea.parent, tea.group) == [[]]
