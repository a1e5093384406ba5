"""Users, logins and groups, with the official SDK."""

import json
import urllib.request
from collections.abc import Callable

import pytest

from imkit.sandbox.process import Sandbox
from tests.peer.conftest import PASSWORD, Login, make_group
from tests.peer.peer import Peer, SdkError
from tests.sandbox.server.raw_client import Server

pytestmark = pytest.mark.peer

NewUser = Callable[[str], str]


def token_of(server: Server, user: str) -> str:
    body = json.dumps({"grant_type": "password", "username": user, "password": PASSWORD}).encode()
    url = f"{server.rest_url}/{server.app_key.replace('#', '/')}/token"
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as reply:
        issued = json.load(reply)
    assert issued["expires_in"] > 0
    token = issued["access_token"]
    assert isinstance(token, str)
    return token


def test_the_pinned_sdk_is_the_one_that_runs(peer: Peer) -> None:
    assert peer.version.result() == "4.21.1"


def test_a_name_is_registered_once(peer: Peer, sandbox: Server, new_user: NewUser) -> None:
    device, user = peer.device(sandbox), new_user("alice")
    reply = device.call("registerUser", {"username": user, "password": PASSWORD})
    assert reply["type"] == 0
    # The SDK recognises a taken name by this text.
    with pytest.raises(SdkError, match="unique"):
        device.call("registerUser", {"username": user, "password": "another"})


def test_a_password_logs_in(peer: Peer, sandbox: Server, new_user: NewUser) -> None:
    device, user = peer.device(sandbox), new_user("alice")
    device.call("registerUser", {"username": user, "password": PASSWORD})
    assert device.open(user, pwd=PASSWORD)["accessToken"]
    assert device.call("isOpened") is True
    device.close()
    assert device.call("isOpened") is False


def test_a_token_logs_in(peer: Peer, sandbox: Server, new_user: NewUser) -> None:
    device, user = peer.device(sandbox), new_user("alice")
    device.call("registerUser", {"username": user, "password": PASSWORD})
    token = token_of(sandbox, user)
    device.open(user, accessToken=token)
    # A new token replaces the first; the connection stays.
    device.call("renewToken", token_of(sandbox, user))
    device.close()


def test_a_wrong_password_is_refused(peer: Peer, sandbox: Server, new_user: NewUser) -> None:
    device, user = peer.device(sandbox), new_user("alice")
    device.call("registerUser", {"username": user, "password": PASSWORD})
    with pytest.raises(SdkError, match="invalid username or password") as refused:
        device.call("open", {"user": user, "pwd": "coffee"})
    assert refused.value.type == 1


def test_a_made_up_token_is_refused(peer: Peer, sandbox: Server, new_user: NewUser) -> None:
    device, user = peer.device(sandbox), new_user("alice")
    device.call("registerUser", {"username": user, "password": PASSWORD})
    with pytest.raises(SdkError) as refused:
        device.call("open", {"user": user, "accessToken": "made-up"})
    assert refused.value.type in {28, 56}  # "does not match login info", or "expired"


def test_a_token_is_valid_for_its_own_user_only(peer: Peer, sandbox: Server, new_user: NewUser) -> None:
    device, alice, bob = peer.device(sandbox), new_user("alice"), new_user("bob")
    for user in (alice, bob):
        device.call("registerUser", {"username": user, "password": PASSWORD})
    with pytest.raises(SdkError) as refused:
        device.call("open", {"user": bob, "accessToken": token_of(sandbox, alice)})
    assert refused.value.type == 28


def test_the_sdk_tells_that_a_token_expires(peer: Peer, login: Login, new_user: NewUser) -> None:
    # The SDK takes the token's expiry from the server, and tells it at four fifths of its life and at its end.
    with Sandbox(open_registration=True, token_seconds=1) as short_lived:
        device = login(peer, new_user("alice"), server=short_lived)
        device.wait("onTokenWillExpire")
        device.wait("onTokenExpired")
        device.wait("onDisconnected")


def test_user_ids_do_not_depend_on_case(peer: Peer, sandbox: Server, new_user: NewUser, login: Login) -> None:
    user = new_user("alice")
    login(peer, user)
    shouting = login(peer, user.upper(), new=False)
    assert make_group(shouting)


def test_a_group_and_its_members(peer: Peer, login: Login, new_user: NewUser) -> None:
    alice, bob, carol, dave = (login(peer, new_user(name)) for name in ("alice", "bob", "carol", "dave"))
    group = make_group(alice, bob)
    bob.wait("onGroupEvent", operation="directJoined", id=group)
    alice.call("inviteUsersToGroup", {"groupId": group, "users": [carol.user]})
    dave.call("joinGroup", {"groupId": group, "message": "may I?"})
    information = alice.call("getGroupInfo", {"groupId": group})["data"][0]
    assert (information["id"], information["owner"]) == (group, alice.user)
    assert information["affiliations_count"] == 4
    joined = bob.call("getJoinedGroups", {"pageNum": 0, "pageSize": 20})["data"]
    assert [entry["groupid"] for entry in joined] == [group]
    members = alice.call("listGroupMembers", {"groupId": group, "pageNum": 1, "pageSize": 20})["data"]
    assert {name for entry in members for role, name in entry.items() if role in {"owner", "admin", "member"}} == {
        person.user for person in (alice, bob, carol, dave)
    }

    sent = bob.send(group, msg="tea?", thread=False, ext={"cups": 4})
    heard = dave.wait("onTextMessage", id=sent["serverMsgId"])
    assert (heard["from"], heard["to"], heard["msg"], heard["chatType"]) == (bob.user, group, "tea?", "groupChat")
    assert heard["ext"] == {"cups": 4}
    assert "chatThread" not in heard

    alice.call("removeGroupMember", {"groupId": group, "username": carol.user})
    carol.wait("onGroupEvent", operation="removeMember", id=group)
    dave.call("leaveGroup", {"groupId": group})
    with pytest.raises(SdkError) as refused:
        dave.send(group, msg="still here?", thread=False)
    assert refused.value.type == 602
    alice.call("destroyGroup", {"groupId": group})
    bob.wait("onGroupEvent", operation="destroy", id=group)
