"""Groups and threads over REST: rights, consequences, pages, and who is told (fact sheet sections 7, 9, 10 and 12)."""

import json
from typing import Any

import pytest

from imkit.sandbox.process import Sandbox
from imkit.wire import schema
from tests.sandbox.server.raw_client import Api, Device, Room, app_api, new_name, token_of


def notices(device: Device) -> list[Any]:
    device.settle()
    return [json.loads(meta.payload)["data"] for meta in device.metas if meta.ns == 5]


def events(device: Device) -> list[tuple[int, str, bool]]:
    device.settle()
    bodies = [schema.MUCBody.FromString(meta.payload) for meta in device.metas if meta.ns == 2]
    return [(body.operation, body.mucId.name, body.isThread) for body in bodies]


# ---------------------------------------------------------------- the life of a thread


def test_creating_tells_the_group_and_makes_the_creator_a_member(room: Room, sandbox: Sandbox) -> None:
    tablet = Device(sandbox, room.bob.user, resource="tablet")
    parent = room.alice.send(room.group, "another parent")
    body = {"name": "新", "msg_id": str(parent), "group_id": room.group, "owner": room.bob.user}
    thread = room.bob.api.ok("POST", "/thread?resource=phone", json=body)["data"]["thread_id"]
    for device in (room.alice, room.bob, room.carol):
        (data,) = [data for data in notices(device) if data["operation"] == "create"]
        assert (data["id"], data["name"], data["from"]) == (thread, "新", room.bob.user)
        assert (data["muc_parent_id"], data["msg_parent_id"], data["message_count"]) == (room.group, str(parent), 0)
        assert "last_message" not in data
    assert events(tablet) == [(33, thread, True)]
    assert events(room.bob) == []
    detail = room.carol.api.ok("GET", f"/thread/{thread}")["data"]
    assert detail["affiliations_count"] == 1
    assert room.alice.api.ok("GET", f"/thread/{thread}/users")["data"]["affiliations"] == [room.bob.user]


def test_creating_is_refused_for_its_reason(room: Room, sandbox: Sandbox) -> None:
    stranger = Device(sandbox, new_name("dave")).api
    body = {"name": "x", "msg_id": str(room.parent), "group_id": room.group, "owner": room.alice.user}
    room.alice.api.refused("POST", "/thread", 400, 40002, json=body)
    stranger.refused("POST", "/thread", 401, 40001, json={**body, "owner": stranger.user})
    room.bob.api.refused("POST", "/thread", 401, 40001, json=body)  # in somebody else's name
    room.alice.api.refused("POST", "/thread", 404, json={**body, "msg_id": "1"})
    room.alice.api.refused("POST", "/thread", 404, json={**body, "group_id": "1"})
    parent = str(room.alice.send(room.group, "another parent"))
    room.alice.api.refused("POST", "/thread", 400, json={**body, "msg_id": parent, "name": "x" * 65})
    room.alice.api.refused("POST", "/thread", 400, json={**body, "msg_id": parent, "name": ""})
    room.alice.api.ok("POST", "/thread", json={**body, "msg_id": parent, "name": "茶" * 64})


def test_joining_leaving_and_lists(room: Room, sandbox: Sandbox) -> None:
    carol, path = room.carol.api, f"/thread/{room.thread}"
    listed = carol.ok("GET", f"/threads/user/{carol.user}")
    assert (listed["entities"], listed["properties"]) == ([], {"cursor": ""})
    detail = carol.ok("POST", f"{path}/user/{carol.user}/join")["data"]["detail"]
    assert detail == {
        "id": room.thread,
        "name": "Oolong",
        "owner": room.alice.user,
        "msgId": str(room.parent),
        "groupId": room.group,
        "created": detail["created"],
        "affiliations_count": 3,
    }
    carol.refused("POST", f"{path}/user/{carol.user}/join", 403, 40003)
    carol.refused("POST", f"{path}/user/{room.bob.user}/join", 401, 40001)
    for where in (f"/threads/user/{carol.user}", f"/threads/chatgroups/{room.group}/user/{carol.user}"):
        assert [each["id"] for each in carol.ok("GET", where)["entities"]] == [room.thread]
    carol.ok("DELETE", f"{path}/user/{carol.user}/quit")
    carol.refused("DELETE", f"{path}/user/{carol.user}/quit", 403)
    assert carol.ok("GET", f"/threads/user/{carol.user}")["entities"] == []
    stranger = Api(sandbox, token_of(sandbox, new_name()), "x")
    stranger.refused("GET", path, 401, 40001)
    stranger.refused("GET", f"/threads/chatgroups/{room.group}", 401, 40001)


def test_renaming_and_removing_are_for_those_who_may(room: Room) -> None:
    path = f"/thread/{room.thread}"
    alice, bob = room.alice.api, room.bob.api
    bob.refused("PUT", path, 401, 40001, json={"name": "mine"})
    bob.refused("DELETE", path, 401, 40001)
    bob.refused("DELETE", f"{path}/users/{alice.user}", 401, 40001)
    assert alice.ok("PUT", path, json={"name": "新名字"})["data"] == {"name": "新名字"}
    assert [data["name"] for data in notices(room.carol) if data["operation"] == "update"] == ["新名字"]
    alice.ok("POST", f"/chatgroups/{room.group}/admin", json={"newadmin": bob.user})
    bob.ok("PUT", f"{path}?resource=phone", json={"name": "by an admin"})
    sent = room.alice.send(room.thread, "renamed")
    got = schema.MessageBody.FromString(room.bob.until(lambda meta: meta.id == sent).payload)
    assert json.loads(got.meta)["thread"]["thread_name"] == "by an admin"
    assert alice.ok("DELETE", f"{path}/users/{bob.user}")["data"] == {"result": True, "user": bob.user}
    assert events(room.bob) == [(37, room.thread, True)]
    alice.refused("DELETE", f"{path}/users/{bob.user}", 403)
    bob.ok("DELETE", path)
    assert [data["id"] for data in notices(room.carol) if data["operation"] == "delete"] == [room.thread]
    alice.refused("GET", path, 404, 40011)
    assert alice.ok("GET", f"/threads/chatgroups/{room.group}")["entities"] == []
    # Its message can carry another.
    alice.thread(room.group, room.parent)


def test_the_end_of_a_group_is_the_end_of_its_threads(room: Room) -> None:
    room.bob.api.refused("DELETE", f"/chatgroups/{room.group}", 403)
    room.alice.api.ok("DELETE", f"/chatgroups/{room.group}?version=v3")
    room.alice.api.refused("GET", f"/thread/{room.thread}", 404, 40011)
    room.alice.api.refused("GET", f"/chatgroups/{room.group}", 404)
    assert room.alice.refused(room.thread, "anyone?") == (1, "group not found")
    assert [data["operation"] for data in notices(room.bob)] == ["delete"]
    assert events(room.bob) == [(1, room.group, False)]
    assert room.bob.api.ok("GET", f"/users/{room.bob.user}/joined_chatgroups")["data"] == []


def test_who_leaves_the_group_leaves_its_threads(room: Room) -> None:
    room.alice.api.ok("DELETE", f"/chatgroups/{room.group}/users/{room.bob.user}")
    assert room.alice.api.ok("GET", f"/thread/{room.thread}")["data"]["affiliations_count"] == 1
    assert room.bob.refused(room.thread, "psst") == (1, "not in group or chatroom")
    assert events(room.bob) == [(10, room.group, False)]
    assert events(room.carol) == [(18, room.group, False)]
    room.carol.api.ok("DELETE", f"/chatgroups/{room.group}/quit")
    room.alice.api.refused("DELETE", f"/chatgroups/{room.group}/quit", 403)
    assert room.alice.api.ok("GET", f"/chatgroups/{room.group}")["data"][0]["affiliations_count"] == 1


# ---------------------------------------------------------------- groups


def test_a_group_has_members_who_are_told(room: Room, sandbox: Sandbox) -> None:
    dave, erin = Device(sandbox, new_name("dave")), Device(sandbox, new_name("erin"))
    room.bob.api.ok("POST", f"/chatgroups/{room.group}/invite", json={"usernames": [dave.user]})
    assert events(dave) == [(19, room.group, False)]
    assert events(room.carol) == [(17, room.group, False)]
    erin.api.ok("POST", f"/chatgroups/{room.group}/apply", json={"message": "hi"})
    erin.api.refused("POST", f"/chatgroups/{room.group}/apply", 403, json={"message": "again"})
    names: list[str] = []
    cursor = "undefined"
    while cursor:
        page = erin.api.ok("GET", f"/chatgroups/{room.group}/users?cursor={cursor}&limit=2&joined_time=true")
        names += [each.get("owner") or each["member"] for each in page["data"]]
        assert len(page["data"]) <= 2
        cursor = page["cursor"]
    assert sorted(names) == sorted(device.user for device in (room.alice, room.bob, room.carol, dave, erin))
    joined = erin.api.ok("GET", f"/users/{erin.user}/joined_chatgroups?pagenum=0&pagesize=20&version=v3")
    assert "joined_chatgroups" in joined["uri"]
    assert [group["id"] for group in joined["data"]] == [room.group]
    room.alice.api.ok("PUT", f"/chatgroups/{room.group}", json={"groupname": "coffee"})
    assert room.alice.api.ok("GET", f"/chatgroups/{room.group}?joined_time=true")["data"][0]["name"] == "coffee"
    assert (14, room.group, False) in events(erin)


def test_a_full_group_is_full(sandbox: Sandbox) -> None:
    alice = Device(sandbox, new_name("alice")).api
    group = alice.group(maxusers=1)
    Device(sandbox, new_name()).api.refused("POST", f"/chatgroups/{group}/apply", 403, 40005, json={})


def test_a_group_of_unknown_people_is_refused(sandbox: Sandbox) -> None:
    alice = Device(sandbox, new_name("alice")).api
    alice.refused("POST", "/chatgroups", 404, json={"groupname": "g", "members": ["nobody-of-that-name"]})
    assert alice.ok("GET", f"/users/{alice.user}/joined_chatgroups")["data"] == []


# ---------------------------------------------------------------- pages and batches


@pytest.fixture
def crowd(room: Room) -> list[str]:
    """Seven threads of one group, oldest first, the room's own among them."""
    parents = [room.alice.send(room.group, f"parent {number}") for number in range(6)]
    return [room.thread, *(room.alice.api.thread(room.group, parent, "t") for parent in parents)]


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
def test_lists_page_without_gap_or_repetition(room: Room, crowd: list[str], limit: int) -> None:
    alice = room.alice.api
    for path in (f"/threads/user/{alice.user}", f"/threads/chatgroups/{room.group}"):
        assert listed(alice, path, limit) == crowd[::-1]


def test_the_app_lists_every_thread_both_ways(room: Room, crowd: list[str], sandbox: Sandbox) -> None:
    app = app_api(sandbox)
    rising = [each for each in listed(app, "/thread", 5) if each in crowd]
    falling = [each for each in listed(app, "/thread?sort=desc", 5) if each in crowd]
    assert rising == crowd == falling[::-1]
    room.alice.api.refused("GET", "/thread", 401, 40001)


def test_last_messages_come_for_twenty_threads_at_most(room: Room, crowd: list[str]) -> None:
    sent = room.alice.send(
        crowd[3], schema.MessageBody(contents=[schema.Content(type=1, remotePath="u", fileLength=2)])
    )
    found = room.carol.api.ok("POST", "/thread/message", json={"threadIds": crowd})["entities"]
    assert [each["thread_id"] for each in found] == crowd
    assert [each["last_message"] for each in found if each["thread_id"] != crowd[3]] == [{}] * 6
    last = found[3]["last_message"]
    assert (last["id"], last["from"]) == (str(sent), room.alice.user)
    assert last["payload"]["ext"] == {}
    assert last["payload"]["type"] == "groupchat"
    assert last["payload"]["bodies"][0]["file_length"] == 2
    for bad in ([], ["1"] * 21, "1", [1]):
        room.carol.api.refused("POST", "/thread/message", 400, json={"threadIds": bad})
    room.carol.api.refused("POST", "/thread/message", 404, 40011, json={"threadIds": ["1"]})


def test_the_app_puts_people_into_a_thread_and_out_of_it(room: Room, sandbox: Sandbox) -> None:
    app, path = app_api(sandbox), f"/thread/{room.thread}/users"
    room.alice.api.refused("POST", path, 401, 40001, json={"usernames": [room.carol.user]})
    assert app.ok("POST", path, json={"usernames": [room.carol.user]})["data"] == {"status": "ok"}
    app.refused("POST", path, 400, json={"usernames": ["x"] * 11})
    for where in (path, f"/threads/{room.thread}/users"):
        body = {"usernames": [room.carol.user]}
        (entity,) = app.ok("DELETE", where, json=body)["entities"]
        assert entity["user"] == room.carol.user
    assert app.ok("GET", path)["data"]["affiliations"] == [room.alice.user, room.bob.user]
