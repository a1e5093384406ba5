"""Who gets what, when, and how often: order, devices, absence and return."""

import json
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from imkit.sandbox.process import Sandbox
from tests.peer.conftest import PASSWORD, Login, Room, make_room
from tests.peer.peer import Device, Peer, Server

pytestmark = pytest.mark.peer

KICKED_BY_ANOTHER_LOGIN, PASSWORD_CHANGED, KICKED_BY_ANOTHER_DEVICE = 206, 216, 217

NewUser = Callable[[str], str]


def texts(device: Device, thread: str) -> list[str]:
    return [message["msg"] for message in device.seen("onTextMessage", to=thread)]


def test_many_at_once_arrive_in_order_and_once(room: Room) -> None:
    words = [f"cup {number}" for number in range(60)]
    sends = [room.alice.start_send(room.thread, msg=text) for text in words]
    assert len({send.result(10)["serverMsgId"] for send in sends}) == len(words)
    room.bob.wait_for(len(words), "onTextMessage", to=room.thread)
    room.fence(room.bob)
    assert texts(room.bob, room.thread) == words


def test_what_came_while_away_comes_on_return_and_once(own_room: Room, login: Login, peer: Peer) -> None:
    room = own_room
    room.bob.close()
    words = [f"cup {number}" for number in range(30)]
    for text in words:
        room.alice.send(room.thread, msg=text)
    returned = login(peer, room.bob.user, new=False)
    returned.wait("onOfflineMessageSyncStart")
    returned.wait("onOfflineMessageSyncFinish")
    room.fence(returned)
    assert texts(returned, room.thread) == words

    # Acknowledged is gone: the next return brings only what is new.
    returned.close()
    room.alice.send(room.thread, msg="one more")
    again = login(peer, room.bob.user, new=False)
    again.wait("onTextMessage", to=room.thread)
    room.fence(again)
    assert texts(again, room.thread) == ["one more"]


def test_each_device_gets_a_copy_and_the_sending_one_none(own_room: Room, login: Login, peer: Peer) -> None:
    room = own_room
    tablet = login(peer, room.alice.user, new=False, resource="tablet")
    phone = login(peer, room.bob.user, new=False, resource="phone")
    sent = room.alice.send(room.thread, msg="to all of us")["serverMsgId"]
    for device in (tablet, room.bob, phone):
        copy = device.wait("onTextMessage", id=sent)
        assert copy["chatThread"]["parentId"] == room.group
    # And back: what the tablet says, the first device hears, and then it has heard everything before that.
    back = tablet.send(room.thread, msg="from my tablet")["serverMsgId"]
    room.alice.wait("onTextMessage", id=back)
    assert texts(room.alice, room.thread) == ["from my tablet"]
    assert texts(tablet, room.thread) == ["to all of us"]


def test_other_devices_are_told_what_one_did(own_room: Room, login: Login, peer: Peer) -> None:
    room = own_room
    tablet = login(peer, room.alice.user, new=False, resource="tablet")
    phone = login(peer, room.bob.user, new=False, resource="phone")
    about = {"chatThreadId": room.thread}
    room.alice.call("changeChatThreadName", {**about, "name": "茶"})
    told = tablet.wait("onMultiDeviceEvent", operation="chatThreadNameUpdate")
    assert (told["chatThreadId"], told["parentId"], told["chatThreadName"]) == (room.thread, room.group, "茶")
    room.bob.call("leaveChatThread", about)
    phone.wait("onMultiDeviceEvent", operation="chatThreadLeave", chatThreadId=room.thread)
    room.bob.call("joinChatThread", about)
    phone.wait("onMultiDeviceEvent", operation="chatThreadJoin", chatThreadId=room.thread)
    parent = room.alice.send(room.group, msg="another", thread=False)["serverMsgId"]
    created = room.alice.call("createChatThread", {"parentId": room.group, "name": "new", "messageId": parent})
    thread = created["data"]["chatThreadId"]
    tablet.wait("onMultiDeviceEvent", operation="chatThreadCreate", chatThreadId=thread)
    room.alice.call("destroyChatThread", {"chatThreadId": thread})
    tablet.wait("onMultiDeviceEvent", operation="chatThreadDestroy", chatThreadId=thread)
    assert room.alice.seen("onMultiDeviceEvent") == []


def test_each_device_acknowledges_for_itself(own_room: Room, login: Login, peer: Peer) -> None:
    room = own_room
    phone = login(peer, room.bob.user, new=False, resource="phone")
    room.bob.close()  # only the phone stays
    sent = [room.alice.send(room.thread, msg=f"cup {number}")["serverMsgId"] for number in range(3)]
    phone.wait("onTextMessage", id=sent[-1])
    room.fence(phone)
    phone.close()
    # A device that was never here gets what no device has acknowledged: nothing.
    newcomer = login(peer, room.bob.user, new=False, resource="newcomer")
    room.fence(newcomer)
    assert texts(newcomer, room.thread) == []


def test_a_device_that_was_away_is_owed_nothing_that_another_got(own_room: Room, login: Login, peer: Peer) -> None:
    room = own_room
    login(peer, room.bob.user, new=False, resource="phone").close()
    sent = room.alice.send(room.thread, msg="for who is here")["serverMsgId"]
    room.bob.wait("onTextMessage", id=sent)
    room.fence(room.bob)
    returned = login(peer, room.bob.user, new=False, resource="phone")
    room.fence(returned)
    assert texts(returned, room.thread) == []


def test_a_device_that_was_cut_before_it_acknowledged_gets_its_own_again(
    own_room: Room, login: Login, peer: Peer
) -> None:
    room = own_room
    with Peer(peer.build) as pocket:
        phone = login(pocket, room.bob.user, new=False, resource="phone")
        room.fence(phone)
        pocket.freeze()  # still connected, and deaf
        words = [f"cup {number}" for number in range(5)]
        for text in words:
            room.alice.send(room.thread, msg=text)
        room.bob.wait_for(len(words), "onTextMessage", to=room.thread)
        room.fence(room.bob)  # this device has acknowledged; the phone has not
        pocket.kill()
    returned = login(peer, room.bob.user, new=False, resource="phone")
    room.fence(returned)
    assert texts(returned, room.thread) == words
    assert texts(room.bob, room.thread) == words


def people(login: Login, peer: Peer, new_user: NewUser, server: Server, **options: object) -> list[Device]:
    names = ("alice", "bob", "carol", "dave")
    return [login(peer, new_user(name), server=server, **options) for name in names]


def test_a_server_that_pushes_unasked_is_understood_too(peer: Peer, login: Login, new_user: NewUser) -> None:
    with Sandbox(open_registration=True, push=True) as pushing:
        room = make_room(*people(login, peer, new_user, pushing))
        words = [f"cup {number}" for number in range(20)]
        sends = [room.alice.start_send(room.thread, msg=text) for text in words]
        for send in sends:
            send.result(10)
        room.bob.wait_for(len(words), "onTextMessage", to=room.thread)
        room.fence(room.bob)
        assert texts(room.bob, room.thread) == words


def test_a_killed_server_comes_back_with_everything(
    peer: Peer, login: Login, new_user: NewUser, tmp_path: Path
) -> None:
    with Sandbox(tmp_path / "sandbox.db", open_registration=True) as server:
        # The SDK comes back by itself, as it does in an app.
        room = make_room(*people(login, peer, new_user, server, autoReconnectNumMax=5))
        room.bob.close()
        for number in range(5):
            room.alice.send(room.thread, msg=f"cup {number}")
        room.alice.clear()
        server.kill()
        server.start()
        room.alice.wait("onReconnecting")
        room.alice.wait("onConnected")
        room.alice.send(room.thread, msg="still pouring")
        returned = login(peer, room.bob.user, new=False, server=server)
        room.fence(returned)
        assert texts(returned, room.thread) == [*(f"cup {number}" for number in range(5)), "still pouring"]
        asked = {"targetId": room.thread, "chatType": "groupChat", "pageSize": 20, "searchDirection": "down"}
        history = returned.call("getHistoryMessages", asked)["messages"]
        assert [message["msg"] for message in history] == texts(returned, room.thread)


def test_a_fifth_device_sends_the_first_away(peer: Peer, login: Login, new_user: NewUser) -> None:
    user = new_user("alice")
    first = login(peer, user, resource="first")
    for number in range(4):
        login(peer, user, new=False, resource=f"other{number}")
    assert first.wait("onError")["type"] == KICKED_BY_ANOTHER_LOGIN
    first.wait("onDisconnected")


def ask(server: Server, method: str, path: str, body: object, token: str | None = None) -> dict[str, object]:
    """A REST call that a client SDK does not make: the app server's, or a password's owner's."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    url = f"{server.rest_url}/{server.app_key.replace('#', '/')}{path}"
    request = urllib.request.Request(url, json.dumps(body).encode(), headers, method=method)
    with urllib.request.urlopen(request, timeout=10) as reply:
        answer = json.load(reply)
    assert isinstance(answer, dict)
    return answer


def test_a_new_password_sends_every_device_away(peer: Peer, login: Login, sandbox: Server, new_user: NewUser) -> None:
    user = new_user("alice")
    device = login(peer, user)
    token = ask(sandbox, "POST", "/token", {"grant_type": "password", "username": user, "password": PASSWORD})
    ask(sandbox, "PUT", f"/users/{user}/password", {"newpassword": "other"}, str(token["access_token"]))
    assert device.wait("onError")["type"] == PASSWORD_CHANGED
    device.wait("onDisconnected")


def test_the_app_server_sends_a_user_away(peer: Peer, login: Login, sandbox: Server, new_user: NewUser) -> None:
    device = login(peer, new_user("alice"))
    credentials = {"grant_type": "client_credentials", "client_id": "app", "client_secret": sandbox.secret}
    app = ask(sandbox, "POST", "/token", credentials)
    ask(sandbox, "POST", f"/users/{device.user}/disconnect", {}, str(app["access_token"]))
    assert device.wait("onError")["type"] == KICKED_BY_ANOTHER_DEVICE
    device.wait("onDisconnected")
