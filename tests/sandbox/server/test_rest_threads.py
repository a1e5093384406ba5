"""Threads over REST: rights, notices, lists and pages.

Source: docs/protocol.md#thread-calls, docs/protocol.md#thread-rights, docs/protocol.md#thread-notices.
"""

import json
from typing import Any

import pytest

from imkit.sandbox.process import Sandbox
from imkit.wire import schema
from tests.people import new_name
from tests.sandbox.server.raw_client import Api, Device, TeaGroup, app_api, token_of


def notices(device: Device) -> list[Any]:
    device.receive_all()
    return [json.loads(meta.payload)["data"] for meta in device.metas if meta.ns == 5]


def events(device: Device) -> list[tuple[int, str, bool]]:
    device.receive_all()
    bodies = [schema.MUCBody.FromString(meta.payload) for meta in device.metas if meta.ns == 2]
    return [(body.operation, body.mucId.name, body.isThread) for body in bodies]


# ---------------------------------------------------------------- the life of a thread


def test_a_new_thread_is_told_to_the_group_and_has_its_creator_as_member(tea: TeaGroup, sandbox: Sandbox) -> None:
    tablet = Device(sandbox, tea.bob.user, resource="tablet")
    parent = tea.alice.send(tea.group, "another parent")
    body = {"name": "新", "msg_id": str(parent), "group_id": tea.group, "owner": tea.bob.user}
    thread = tea.bob.api.ok("POST", "/thread?resource=phone", json=body)["data"]["thread_id"]
    for device in (tea.alice, tea.bob, tea.carol):
        (data,) = [data for data in notices(device) if data["operation"] == "create"]
        assert (data["id"], data["name"], data["from"]) == (thread, "新", tea.bob.user)
        assert (data["muc_parent_id"], data["msg_parent_id"], data["message_count"]) == (tea.group, str(parent), 0)
        assert "last_message" not in data
    assert events(tablet) == [(33, thread, True)]
    assert events(tea.bob) == []
    detail = tea.carol.api.ok("GET", f"/thread/{thread}")["data"]
    assert detail["affiliations_count"] == 1
    assert tea.alice.api.ok("GET", f"/thread/{thread}/users")["data"]["affiliations"] == [tea.bob.user]


def test_creating_a_thread_is_refused_with_the_right_code(tea: TeaGroup, sandbox: Sandbox) -> None:
    stranger = Device(sandbox, new_name("dave")).api
    body = {"name": "x", "msg_id": str(tea.parent), "group_id": tea.group, "owner": tea.alice.user}
    tea.alice.api.refused("POST", "/thread", 400, 40002, json=body)
    stranger.refused("POST", "/thread", 403, json={**body, "owner": stranger.user})
    tea.bob.api.refused("POST", "/thread", 403, json=body)  # in somebody else's name
    tea.alice.api.refused("POST", "/thread", 404, json={**body, "msg_id": "1"})
    tea.alice.api.refused("POST", "/thread", 404, json={**body, "group_id": "1"})
    parent = str(tea.alice.send(tea.group, "another parent"))
    tea.alice.api.refused("POST", "/thread", 400, json={**body, "msg_id": parent, "name": "x" * 65})
    tea.alice.api.refused("POST", "/thread", 400, json={**body, "msg_id": parent, "name": ""})
    tea.alice.api.ok("POST", "/thread", json={**body, "msg_id": parent, "name": "茶" * 64})


def test_joining_leaving_and_lists(tea: TeaGroup, sandbox: Sandbox) -> None:
    carol, path = tea.carol.api, f"/thread/{tea.thread}"
    listed = carol.ok("GET", f"/threads/user/{carol.user}")
    assert (listed["entities"], listed["properties"]) == ([], {"cursor": ""})
    detail = carol.ok("POST", f"{path}/user/{carol.user}/join")["data"]["detail"]
    assert detail == {
        "id": tea.thread,
        "name": "Oolong",
        "owner": tea.alice.user,
        "msgId": str(tea.parent),
        "groupId": tea.group,
        "created": detail["created"],
        "affiliations_count": 3,
    }
    carol.refused("POST", f"{path}/user/{carol.user}/join", 403, 40003)
    carol.refused("POST", f"{path}/user/{tea.bob.user}/join", 403)
    for where in (f"/threads/user/{carol.user}", f"/threads/chatgroups/{tea.group}/user/{carol.user}"):
        assert [each["id"] for each in carol.ok("GET", where)["entities"]] == [tea.thread]
    carol.ok("DELETE", f"{path}/user/{carol.user}/quit")
    carol.refused("DELETE", f"{path}/user/{carol.user}/quit", 403)
    assert carol.ok("GET", f"/threads/user/{carol.user}")["entities"] == []
    stranger = Api(sandbox, token_of(sandbox, new_name()), "x")
    stranger.refused("GET", path, 403)
    stranger.refused("GET", f"/threads/chatgroups/{tea.group}", 403)


def test_renaming_removing_and_destroying_need_the_right(tea: TeaGroup) -> None:
    path = f"/thread/{tea.thread}"
    alice, bob = tea.alice.api, tea.bob.api
    bob.refused("PUT", path, 403, json={"name": "mine"})
    bob.refused("DELETE", path, 403)
    bob.refused("DELETE", f"{path}/users/{alice.user}", 403)
    assert alice.ok("PUT", path, json={"name": "新名字"})["data"] == {"name": "新名字"}
    assert [data["name"] for data in notices(tea.carol) if data["operation"] == "update"] == ["新名字"]
    alice.ok("POST", f"/chatgroups/{tea.group}/admin", json={"newadmin": bob.user})
    bob.ok("PUT", f"{path}?resource=phone", json={"name": "by an admin"})
    sent = tea.alice.send(tea.thread, "renamed")
    got = schema.MessageBody.FromString(tea.bob.until(lambda meta: meta.id == sent).payload)
    assert json.loads(got.meta)["thread"]["thread_name"] == "by an admin"
    assert alice.ok("DELETE", f"{path}/users/{bob.user}")["data"] == {"result": True, "user": bob.user}
    assert events(tea.bob) == [(21, tea.group, False), (37, tea.thread, True)]
    alice.refused("DELETE", f"{path}/users/{bob.user}", 403)
    bob.ok("DELETE", path)
    assert [data["id"] for data in notices(tea.carol) if data["operation"] == "delete"] == [tea.thread]
    alice.refused("GET", path, 404, 40011)
    assert alice.ok("GET", f"/threads/chatgroups/{tea.group}")["entities"] == []
    # Its parent message can have a new thread.
    alice.thread(tea.group, tea.parent)


# ---------------------------------------------------------------- pages and batches


@pytest.fixture
def crowd(tea: TeaGroup) -> list[str]:
    """Seven threads of one group, the oldest first; the first is the thread of `tea`."""
    parents = [tea.alice.send(tea.group, f"parent {number}") for number in range(6)]
    return [tea.thread, *(tea.alice.api.thread(tea.group, parent, "t") for parent in parents)]


def listed(api: Api, path: str, limit: int) -> list[str]:
    found: list[str] = []
    cursor = ""
    while True:
        page = api.ok("GET", f"{path}{'&' if '?' in path else '?'}limit={limit}&cursor={cursor}&_v=1")
        assert len(page["entities"]) <= limit
        found += [each["id"] for each in page["entities"]]
        cursor = page["properties"]["cursor"]
        if not cursor:
            return found


@pytest.mark.parametrize("limit", [1, 3, 7, 50])
def test_pages_of_lists_have_no_gap_and_no_repetition(tea: TeaGroup, crowd: list[str], limit: int) -> None:
    alice = tea.alice.api
    for path in (f"/threads/user/{alice.user}", f"/threads/chatgroups/{tea.group}"):
        assert listed(alice, path, limit) == crowd[::-1]


def test_the_app_lists_all_threads_in_both_directions(tea: TeaGroup, crowd: list[str], sandbox: Sandbox) -> None:
    app = app_api(sandbox)
    rising = [each for each in listed(app, "/thread", 5) if each in crowd]
    falling = [each for each in listed(app, "/thread?sort=desc", 5) if each in crowd]
    assert rising == crowd == falling[::-1]
    tea.alice.api.refused("GET", "/thread", 403)


def test_last_messages_are_for_at_most_twenty_threads(tea: TeaGroup, crowd: list[str]) -> None:
    sent = tea.alice.send(crowd[3], schema.MessageBody(contents=[schema.Content(type=1, remotePath="u", fileLength=2)]))
    found = tea.carol.api.ok("POST", "/thread/message", json={"threadIds": crowd})["entities"]
    assert [each["thread_id"] for each in found] == crowd
    assert [each["last_message"] for each in found if each["thread_id"] != crowd[3]] == [{}] * 6
    last = found[3]["last_message"]
    assert (last["id"], last["from"]) == (str(sent), tea.alice.user)
    assert last["payload"]["ext"] == {}
    assert last["payload"]["type"] == "groupchat"
    assert last["payload"]["bodies"][0]["file_length"] == 2
    for bad in ([], ["1"] * 21, "1", [1]):
        tea.carol.api.refused("POST", "/thread/message", 400, json={"threadIds": bad})
    tea.carol.api.refused("POST", "/thread/message", 404, 40011, json={"threadIds": ["1"]})


def test_the_app_adds_and_removes_members_of_a_thread(tea: TeaGroup, sandbox: Sandbox) -> None:
    app, path = app_api(sandbox), f"/thread/{tea.thread}/users"
    tea.alice.api.refused("POST", path, 403, json={"usernames": [tea.carol.user]})
    assert app.ok("POST", path, json={"usernames": [tea.carol.user]})["data"] == {"status": "ok"}
    app.refused("POST", path, 400, json={"usernames": ["x"] * 11})
    for where in (path, f"/threads/{tea.thread}/users"):
        body = {"usernames": [tea.carol.user]}
        (entity,) = app.ok("DELETE", where, json=body)["entities"]
        assert entity["user"] == tea.carol.user
    assert app.ok("GET", path)["data"]["affiliations"] == [tea.alice.user, tea.bob.user]
