"""What SDK 5 sends and reads otherwise than SDK 4: both must be served.

Source: docs/protocol.md#where-two-generations-differ, docs/protocol.md#sdk-5-rest-calls,
docs/protocol.md#sdk-5-refusals.
"""

from imkit.sandbox.process import Sandbox
from imkit.wire import schema
from tests.people import new_name
from tests.sandbox.server.raw_client import Device, TeaGroup


def test_each_generation_finds_its_reason_in_a_refusal(tea: TeaGroup, sandbox: Sandbox) -> None:
    bob, group, thread = tea.bob.api, f"/chatgroups/{tea.group}", f"/thread/{tea.thread}"
    stranger = Device(sandbox, new_name("dave")).api
    # A 401 would end a login of SDK 5, so a missing right is a 403.
    for api, method, path in ((bob, "DELETE", thread), (stranger, "GET", thread), (bob, "DELETE", group)):
        assert api.refused(method, path, 403)["error"] == "group_authorization"
    assert bob.refused("GET", "/threads/user/eve", 403)["error"] == "forbidden"
    assert bob.refused("GET", "/thread/1", 404, 40011)["error"] == "resource_not_found"
    assert bob.refused("POST", f"{group}/apply", 403, json={})["error"] == "group_already_joined"
    invited = tea.alice.api.refused("POST", f"{group}/invite", 403, json={"usernames": [bob.user]})
    assert "invite users to join group failed" in invited["error_description"]
    assert "already in group" in invited["error_description"]
    left = stranger.refused("DELETE", f"{group}/quit", 400)
    assert (left["error"], "are not members of this group" in left["error_description"]) == ("group_not_joined", True)
    assert tea.alice.api.refused("DELETE", f"{group}/quit", 403)["error_description"] == "owner can not quit group"
    full = tea.alice.api.group(maxusers=1)
    assert bob.refused("POST", f"/chatgroups/{full}/apply", 403, json={})["error_description"] == (
        "group member list is full!"
    )


def test_settings_that_the_ui_kit_reads_for_each_group_are_unset(tea: TeaGroup) -> None:
    bob, group = tea.bob.api, tea.group
    asked = {"targets": [bob.user], "properties": []}
    assert bob.ok("POST", f"/sdk/metadata/chatgroup/{group}/get", json=asked)["data"] == {}
    cards = bob.ok("POST", f"/sdk/chatgroups/{group}/nameCard/batch/get", json={"members": [bob.user]})
    # With a time the kit knows that a member without a card has none, and does not ask again.
    assert (cards["data"], type(cards["timestamp"])) == ([], int)
    rules = bob.ok("GET", f"/users/{bob.user}/notification", params={"user": "", "group": group})
    assert rules["data"] == {"user": {}, "group": {}}


def test_a_users_other_devices_learn_which_device_acted(tea: TeaGroup, sandbox: Sandbox) -> None:
    tablet = Device(sandbox, tea.alice.user, resource="tablet")
    parent = tea.alice.send(tea.group, "another parent")
    alice, q = tea.alice.api, "?resource=phone"
    body = {"name": "t", "msg_id": str(parent), "group_id": tea.group, "owner": alice.user}
    thread = alice.ok("POST", f"/thread{q}", json=body)["data"]["thread_id"]
    alice.ok("PUT", f"/thread/{thread}{q}", json={"name": "renamed"})
    tea.bob.api.join(thread)
    alice.ok("DELETE", f"/thread/{thread}/users/{tea.bob.user}{q}")
    alice.ok("DELETE", f"/thread/{thread}/user/{alice.user}/quit{q}")
    alice.ok("POST", f"/thread/{thread}/user/{alice.user}/join{q}")  # without a body, as SDK 5 joins
    alice.ok("DELETE", f"/thread/{thread}{q}")
    group = alice.ok("POST", f"/chatgroups{q}", json={"owner": alice.user, "groupname": "g"})["data"]["groupid"]
    alice.ok("DELETE", f"/chatgroups/{group}{q}&version=v3")
    public = tea.bob.api.group()
    alice.ok("POST", f"/chatgroups/{public}/apply{q}", json={"message": ""})
    alice.ok("DELETE", f"/chatgroups/{public}/quit{q}")

    def events(device: Device) -> list[tuple[int, str, str, list[str]]]:
        device.receive_all()
        bodies = [schema.MUCBody.FromString(meta.payload) for meta in device.metas if meta.ns == 2]
        actors = [(body, getattr(body, "from")) for body in bodies]
        assert {actor.name for _, actor in actors} <= {alice.user, tea.bob.user}
        return [
            (body.operation, body.mucId.name, actor.clientResource, [user.name for user in body.to])
            for body, actor in actors
            if actor.name == alice.user
        ]

    own = [alice.user]
    assert events(tablet) == [
        (33, thread, "phone", own),
        (38, thread, "phone", own),
        (37, thread, "phone", [tea.bob.user]),
        (36, thread, "phone", own),
        (35, thread, "phone", own),
        (34, thread, "phone", own),
        (0, group, "phone", own),
        (1, group, "phone", own),
        (2, public, "phone", own),
        (3, public, "phone", own),
    ]
    assert events(tea.alice) == []
    alice.refused("POST", f"/chatgroups?resource={'r' * 513}", 400, json={"owner": alice.user, "groupname": "g"})
    # Others need not know the device.
    assert {resource for _, _, resource, _ in events(tea.bob)} == {""}


def test_groups_and_threads_say_what_sdk_5_reads(tea: TeaGroup) -> None:
    alice, bob, thread = tea.alice.api, tea.bob.api, f"/thread/{tea.thread}"
    sent = tea.bob.send(tea.thread, "last")
    listed = bob.ok("GET", f"{thread}/users?limit=1&cursor=")
    assert "entities" not in listed  # an empty list of them would be the members
    assert (listed["data"]["affiliations"], listed["properties"]) == ([alice.user], {"cursor": alice.user})
    told = tea.carol.api.ok("GET", thread)["data"]
    assert (told["message_count"], told["affiliations_count"], told["last_message"]["id"]) == (1, 2, str(sent))
    alice.ok("POST", f"/chatgroups/{tea.group}/admin?resource=phone", json={"newadmin": bob.user})
    assert bob.ok("GET", f"/chatgroups/{tea.group}/admin")["data"] == [bob.user]
    page = bob.ok("GET", f"/chatgroups/{tea.group}/users?pagesize=2&cursor=&version=v3")
    assert [next(iter(member)) for member in page["data"]] == ["owner", "admin"]
    assert (page["count"], page["params"]["pagesize"], page["cursor"]) == (2, ["2"], bob.user)
    (shown,) = bob.ok("GET", f"/chatgroups/{tea.group}?joined_time=true&version=v3")["data"]
    assert (shown["permission"], shown["affiliations_count"], shown["owner"]) == ("admin", 3, alice.user)
    assert shown["affiliations"][0]["member"] == bob.user
    assert all(isinstance(each["joined_time"], int) for each in shown["affiliations"])
    settings = {"desc": "about", "approval": True, "allowinvites": True, "invite_need_confirm": False, "maxusers": 9}
    made = bob.group(alice.user, public=False, **settings)
    (shown,) = bob.ok("GET", f"/chatgroups/{made}?joined_time=true&version=v3")["data"]
    assert (shown["description"], shown["membersonly"], shown["public"], shown["maxusers"]) == ("about", True, False, 9)
    mutes = {"usernames": [bob.user, tea.carol.user], "mute_duration": 60_000}
    alice.ok("POST", f"/chatgroups/{tea.group}/mute?resource=phone", json=mutes)
    assert tea.bob.refused(tea.thread, "psst") == (15, "user is mute")
    listed = bob.ok("GET", f"/chatgroups/{tea.group}/mute?version=v3&pagenum=1&pagesize=10")["data"]
    assert {each["user"] for each in listed} == {bob.user, tea.carol.user}
    assert all(isinstance(each["expire"], int) for each in listed)
    alice.ok("DELETE", f"/chatgroups/{tea.group}/mute/{bob.user},{tea.carol.user}?resource=phone")
    tea.bob.send(tea.thread, "again")
    assert bob.ok("GET", f"/chatgroups/{tea.group}/mute?version=v3")["data"] == []
    assert bob.refused("PUT", f"/chatgroups/{tea.group}", 403, json={"newowner": bob.user})["error"] == "forbidden_op"
