"""Groups over REST: members, their rights, and the notices about them."""

from imkit.sandbox.process import Sandbox
from imkit.wire import schema
from tests.people import new_name
from tests.sandbox.server.raw_client import Device, TeaGroup
from tests.sandbox.server.test_rest_threads import events, notices


def told(device: Device) -> list[tuple[int, str, str, list[str]]]:
    """The group events of a device: operation, name of the group, who did it, and whom it concerns."""
    device.receive_all()
    bodies = [schema.MUCBody.FromString(meta.payload) for meta in device.metas if meta.ns == 2]
    return [
        (body.operation, body.mucName, getattr(body, "from").name, [user.name for user in body.to]) for body in bodies
    ]


def test_destroying_a_group_destroys_its_threads(tea: TeaGroup) -> None:
    tea.bob.api.refused("DELETE", f"/chatgroups/{tea.group}", 403)
    tea.alice.api.ok("DELETE", f"/chatgroups/{tea.group}?version=v3")
    tea.alice.api.refused("GET", f"/thread/{tea.thread}", 404, 40011)
    tea.alice.api.refused("GET", f"/chatgroups/{tea.group}", 404)
    assert tea.alice.refused(tea.thread, "anyone?") == (1, "group not found")
    assert [data["operation"] for data in notices(tea.bob)] == ["delete"]
    assert events(tea.bob) == [(1, tea.group, False)]
    assert tea.bob.api.ok("GET", f"/users/{tea.bob.user}/joined_chatgroups")["data"] == []


def test_a_user_who_leaves_a_group_leaves_its_threads(tea: TeaGroup) -> None:
    tea.alice.api.ok("DELETE", f"/chatgroups/{tea.group}/users/{tea.bob.user}")
    assert tea.alice.api.ok("GET", f"/thread/{tea.thread}")["data"]["affiliations_count"] == 1
    assert tea.bob.refused(tea.thread, "psst") == (1, "not in group or chatroom")
    assert events(tea.bob) == [(10, tea.group, False)]
    assert events(tea.carol) == [(18, tea.group, False)]
    tea.carol.api.ok("DELETE", f"/chatgroups/{tea.group}/quit")
    tea.alice.api.refused("DELETE", f"/chatgroups/{tea.group}/quit", 403)
    assert tea.alice.api.ok("GET", f"/chatgroups/{tea.group}")["data"][0]["affiliations_count"] == 1


def test_invited_and_new_members_are_listed_and_the_others_are_told(tea: TeaGroup, sandbox: Sandbox) -> None:
    dave, erin = Device(sandbox, new_name("dave")), Device(sandbox, new_name("erin"))
    tea.bob.api.ok("POST", f"/chatgroups/{tea.group}/invite", json={"usernames": [dave.user]})
    assert events(dave) == [(19, tea.group, False)]
    assert events(tea.carol) == [(17, tea.group, False)]
    erin.api.ok("POST", f"/chatgroups/{tea.group}/apply", json={"message": "hi"})
    erin.api.refused("POST", f"/chatgroups/{tea.group}/apply", 403, json={"message": "again"})
    names: list[str] = []
    cursor = "undefined"
    while cursor:
        page = erin.api.ok("GET", f"/chatgroups/{tea.group}/users?cursor={cursor}&limit=2&joined_time=true")
        names += [each.get("owner") or each["member"] for each in page["data"]]
        assert len(page["data"]) <= 2
        cursor = page["cursor"]
    assert sorted(names) == sorted(device.user for device in (tea.alice, tea.bob, tea.carol, dave, erin))
    joined = erin.api.ok("GET", f"/users/{erin.user}/joined_chatgroups?pagenum=0&pagesize=20&version=v3")
    assert "joined_chatgroups" in joined["uri"]
    assert [group["id"] for group in joined["data"]] == [tea.group]
    tea.alice.api.ok("PUT", f"/chatgroups/{tea.group}", json={"groupname": "coffee"})
    assert tea.alice.api.ok("GET", f"/chatgroups/{tea.group}?joined_time=true")["data"][0]["name"] == "coffee"
    assert (14, tea.group, False) in events(erin)


def test_nobody_can_join_a_full_group(sandbox: Sandbox) -> None:
    alice = Device(sandbox, new_name("alice")).api
    group = alice.group(maxusers=1)
    Device(sandbox, new_name()).api.refused("POST", f"/chatgroups/{group}/apply", 403, json={})


def test_a_group_with_unknown_users_is_refused(sandbox: Sandbox) -> None:
    alice = Device(sandbox, new_name("alice")).api
    alice.refused("POST", "/chatgroups", 404, json={"groupname": "g", "members": ["nobody-of-that-name"]})
    assert alice.ok("GET", f"/users/{alice.user}/joined_chatgroups")["data"] == []


def test_each_muted_user_is_told_since_the_sdks_read_the_first_user_of_a_notice(tea: TeaGroup) -> None:
    alice, bob, carol = tea.alice, tea.bob, tea.carol
    both = {"usernames": [bob.user, carol.user], "mute_duration": 60_000}
    alice.api.ok("POST", f"/chatgroups/{tea.group}/mute", json=both)
    alice.api.ok("DELETE", f"/chatgroups/{tea.group}/mute/{bob.user},{carol.user}")
    for device in (bob, carol):
        assert [(event[0], event[3]) for event in told(device)] == [(23, [device.user]), (24, [device.user])]


def test_when_all_are_muted_only_the_owner_and_the_admins_may_send(tea: TeaGroup) -> None:
    alice, bob, carol = tea.alice, tea.bob, tea.carol
    bob.api.refused("POST", f"/chatgroups/{tea.group}/ban", 403)
    alice.api.ok("POST", f"/chatgroups/{tea.group}/admin", json={"newadmin": carol.user})
    for _ in range(2):  # the second changes nothing, and nobody is told
        assert carol.api.ok("POST", f"/chatgroups/{tea.group}/ban")["data"] == {"mute": True}
    assert bob.api.ok("GET", f"/chatgroups/{tea.group}")["data"][0]["mute"] is True
    for conversation in (tea.group, tea.thread):
        assert bob.refused(conversation, "psst") == (15, "user is mute")
        alice.send(conversation, "only we may")
    carol.send(tea.group, "indeed")
    alice.api.ok("DELETE", f"/chatgroups/{tea.group}/ban")
    bob.send(tea.thread, "at last")
    assert [event[0] for event in told(bob) if event[0] in (31, 32)] == [31, 32]


def test_a_new_owner_is_told_to_the_members_and_settings_can_be_changed(tea: TeaGroup) -> None:
    alice, bob, carol = tea.alice, tea.bob, tea.carol
    path = f"/chatgroups/{tea.group}"
    changed = {"groupname": "coffee", "custom": "beans", "avatar": "cup.png", "maxusers": 7, "public": True}
    alice.api.ok("PUT", path, json=changed)
    shown = carol.api.ok("GET", path)["data"][0]
    assert changed == {name: shown["name" if name == "groupname" else name] for name in changed}
    alice.api.refused("PUT", path, 400, json={"newowner": bob.user, "maxusers": "many"})
    alice.api.ok("PUT", path, json={"newowner": bob.user})
    assert carol.api.ok("GET", path)["data"][0]["owner"] == bob.user
    for device in (bob, carol):
        assert [event[:2] for event in told(device)] == [(14, "coffee"), (20, "coffee")]
        assert told(device)[-1] == (20, "coffee", alice.user, [bob.user])


def test_the_sdk_asks_elsewhere_for_groups_with_roles_and_sizes(tea: TeaGroup) -> None:
    query = "pagenum=0&pagesize=20&needAffiliations=true&needRole=true&version=v3"
    answer = tea.alice.api.ok("GET", f"/chatgroups/user/{tea.alice.user}?{query}")
    assert "joined_chatgroups" not in answer["uri"]
    (group,) = answer["entities"]
    assert (group["groupId"], group["permission"], group["affiliations_count"]) == (tea.group, "owner", 3)
    assert group["disabled"] is False
    tea.bob.api.refused("GET", f"/chatgroups/user/{tea.alice.user}?{query}", 403)
