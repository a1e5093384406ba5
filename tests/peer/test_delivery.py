"""Delivery to the official SDK: order, several devices, and devices that were away."""

import json
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imkit.sandbox.process import Sandbox
from tests.peer.conftest import PASSWORD, Login, TeaGroup, make_tea_group
from tests.peer.peer import WAIT_SECONDS, Device, Peer
from tests.sandbox.server.raw_client import Server

pytestmark = pytest.mark.peer

KICKED_BY_ANOTHER_LOGIN, PASSWORD_CHANGED, KICKED_BY_ANOTHER_DEVICE = 206, 216, 217

NewUser = Callable[[str], str]


def texts(device: Device, thread: str) -> list[str]:
    return [message["msg"] for message in device.seen("onTextMessage", to=thread)]


def ask(server: Server, method: str, path: str, body: object, token: str | None = None) -> dict[str, Any]:
    """Make a REST call that the SDK has no method for."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    url = f"{server.rest_url}/{server.app_key.replace('#', '/')}{path}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers, method=method)
    with urllib.request.urlopen(request, timeout=10) as reply:
        answer = json.load(reply)
    assert isinstance(answer, dict)
    return answer


def app_token(server: Server) -> str:
    credentials = {"grant_type": "client_credentials", "client_id": "app", "client_secret": server.secret}
    return str(ask(server, "POST", "/token", credentials)["access_token"])


def await_offline(server: Server, user: str, left: int) -> None:
    """Wait until the server knows that only `left` devices of a user are online.

    The SDK tells `onDisconnected` before the server has noticed the closed socket.
    """
    token, deadline = app_token(server), time.monotonic() + WAIT_SECONDS
    while len(ask(server, "GET", f"/users/{user}/resources", None, token)["data"]) > left:
        assert time.monotonic() < deadline, f"more than {left} devices of {user} are online"


def test_many_at_once_arrive_in_order_and_once(tea: TeaGroup) -> None:
    words = [f"cup {number}" for number in range(60)]
    sends = [tea.alice.start_send(tea.thread, msg=text) for text in words]
    assert len({send.result(10)["serverMsgId"] for send in sends}) == len(words)
    tea.bob.wait_for(len(words), "onTextMessage", to=tea.thread)
    tea.fence(tea.bob)
    assert texts(tea.bob, tea.thread) == words


def test_messages_sent_while_away_arrive_once_on_return(own_tea: TeaGroup, login: Login, peer: Peer) -> None:
    tea = own_tea
    tea.bob.close()
    words = [f"cup {number}" for number in range(30)]
    for text in words:
        tea.alice.send(tea.thread, msg=text)
    returned = login(peer, tea.bob.user, new=False)
    returned.wait("onOfflineMessageSyncStart")
    returned.wait("onOfflineMessageSyncFinish")
    tea.fence(returned)
    assert texts(returned, tea.thread) == words

    # The SDK has acknowledged them, so the next login brings only new messages.
    returned.close()
    tea.alice.send(tea.thread, msg="one more")
    again = login(peer, tea.bob.user, new=False)
    again.wait("onTextMessage", to=tea.thread)
    tea.fence(again)
    assert texts(again, tea.thread) == ["one more"]


def test_each_device_gets_a_copy_and_the_sending_device_none(own_tea: TeaGroup, login: Login, peer: Peer) -> None:
    tea = own_tea
    tablet = login(peer, tea.alice.user, new=False, resource="tablet")
    phone = login(peer, tea.bob.user, new=False, resource="phone")
    sent = tea.alice.send(tea.thread, msg="to all of us")["serverMsgId"]
    for device in (tablet, tea.bob, phone):
        copy = device.wait("onTextMessage", id=sent)
        assert copy["chatThread"]["parentId"] == tea.group
    # A message of the tablet reaches the first device; everything sent before has then arrived too.
    back = tablet.send(tea.thread, msg="from my tablet")["serverMsgId"]
    tea.alice.wait("onTextMessage", id=back)
    assert texts(tea.alice, tea.thread) == ["from my tablet"]
    assert texts(tablet, tea.thread) == ["to all of us"]


def test_a_users_other_devices_are_told_of_thread_changes(own_tea: TeaGroup, login: Login, peer: Peer) -> None:
    tea = own_tea
    tablet = login(peer, tea.alice.user, new=False, resource="tablet")
    phone = login(peer, tea.bob.user, new=False, resource="phone")
    about = {"chatThreadId": tea.thread}
    tea.alice.call("changeChatThreadName", {**about, "name": "茶"})
    told = tablet.wait("onMultiDeviceEvent", operation="chatThreadNameUpdate")
    assert (told["chatThreadId"], told["parentId"], told["chatThreadName"]) == (tea.thread, tea.group, "茶")
    tea.bob.call("leaveChatThread", about)
    phone.wait("onMultiDeviceEvent", operation="chatThreadLeave", chatThreadId=tea.thread)
    tea.bob.call("joinChatThread", about)
    phone.wait("onMultiDeviceEvent", operation="chatThreadJoin", chatThreadId=tea.thread)
    parent = tea.alice.send(tea.group, msg="another", thread=False)["serverMsgId"]
    created = tea.alice.call("createChatThread", {"parentId": tea.group, "name": "new", "messageId": parent})
    thread = created["data"]["chatThreadId"]
    tablet.wait("onMultiDeviceEvent", operation="chatThreadCreate", chatThreadId=thread)
    tea.alice.call("destroyChatThread", {"chatThreadId": thread})
    tablet.wait("onMultiDeviceEvent", operation="chatThreadDestroy", chatThreadId=thread)
    assert tea.alice.seen("onMultiDeviceEvent") == []


def test_each_device_acknowledges_for_itself(own_tea: TeaGroup, login: Login, peer: Peer, sandbox: Server) -> None:
    tea = own_tea
    phone = login(peer, tea.bob.user, new=False, resource="phone")
    tea.bob.close()
    await_offline(sandbox, tea.bob.user, 1)  # only the phone is online
    sent = [tea.alice.send(tea.thread, msg=f"cup {number}")["serverMsgId"] for number in range(3)]
    phone.wait("onTextMessage", id=sent[-1])
    tea.fence(phone)
    phone.close()
    # A new device gets the messages that no device has acknowledged: none.
    newcomer = login(peer, tea.bob.user, new=False, resource="newcomer")
    tea.fence(newcomer)
    assert texts(newcomer, tea.thread) == []


def test_a_device_that_was_away_gets_nothing_that_another_device_got(
    own_tea: TeaGroup, login: Login, peer: Peer, sandbox: Server
) -> None:
    tea = own_tea
    login(peer, tea.bob.user, new=False, resource="phone").close()
    await_offline(sandbox, tea.bob.user, 1)
    sent = tea.alice.send(tea.thread, msg="for who is here")["serverMsgId"]
    tea.bob.wait("onTextMessage", id=sent)
    tea.fence(tea.bob)
    returned = login(peer, tea.bob.user, new=False, resource="phone")
    tea.fence(returned)
    assert texts(returned, tea.thread) == []


def test_a_device_that_was_cut_before_it_acknowledged_gets_its_messages_again(
    own_tea: TeaGroup, login: Login, peer: Peer
) -> None:
    tea = own_tea
    with Peer(peer.build) as pocket:
        phone = login(pocket, tea.bob.user, new=False, resource="phone")
        tea.fence(phone)
        pocket.freeze()  # still connected, but it reads nothing
        words = [f"cup {number}" for number in range(5)]
        for text in words:
            tea.alice.send(tea.thread, msg=text)
        tea.bob.wait_for(len(words), "onTextMessage", to=tea.thread)
        tea.fence(tea.bob)  # this device has acknowledged, the phone has not
        pocket.kill()
    returned = login(peer, tea.bob.user, new=False, resource="phone")
    tea.fence(returned)
    assert texts(returned, tea.thread) == words
    assert texts(tea.bob, tea.thread) == words


def people(login: Login, peer: Peer, new_user: NewUser, server: Server, **options: Any) -> list[Device]:
    names = ("alice", "bob", "carol", "dave")
    return [login(peer, new_user(name), server=server, **options) for name in names]


def test_the_sdk_accepts_pages_without_a_notice(peer: Peer, login: Login, new_user: NewUser) -> None:
    with Sandbox(open_registration=True, push=True) as pushing:
        tea = make_tea_group(*people(login, peer, new_user, pushing))
        words = [f"cup {number}" for number in range(20)]
        sends = [tea.alice.start_send(tea.thread, msg=text) for text in words]
        for send in sends:
            send.result(10)
        tea.bob.wait_for(len(words), "onTextMessage", to=tea.thread)
        tea.fence(tea.bob)
        assert texts(tea.bob, tea.thread) == words


def test_a_killed_and_restarted_server_has_lost_nothing(
    peer: Peer, login: Login, new_user: NewUser, tmp_path: Path
) -> None:
    with Sandbox(tmp_path / "sandbox.db", open_registration=True) as server:
        # The SDK reconnects, as it does in an app.
        tea = make_tea_group(*people(login, peer, new_user, server, autoReconnectNumMax=5))
        tea.bob.close()
        for number in range(5):
            tea.alice.send(tea.thread, msg=f"cup {number}")
        tea.alice.clear()
        server.kill()
        server.start()
        tea.alice.wait("onReconnecting")
        tea.alice.wait("onConnected")
        tea.alice.send(tea.thread, msg="still pouring")
        returned = login(peer, tea.bob.user, new=False, server=server)
        tea.fence(returned)
        assert texts(returned, tea.thread) == [*(f"cup {number}" for number in range(5)), "still pouring"]
        asked = {"targetId": tea.thread, "chatType": "groupChat", "pageSize": 20, "searchDirection": "down"}
        history = returned.call("getHistoryMessages", asked)["messages"]
        assert [message["msg"] for message in history] == texts(returned, tea.thread)


def test_a_fifth_device_kicks_the_first(peer: Peer, login: Login, new_user: NewUser) -> None:
    user = new_user("alice")
    first = login(peer, user, resource="first")
    for number in range(4):
        login(peer, user, new=False, resource=f"other{number}")
    assert first.wait("onError")["type"] == KICKED_BY_ANOTHER_LOGIN
    first.wait("onDisconnected")


def test_a_new_password_kicks_every_device(peer: Peer, login: Login, sandbox: Server, new_user: NewUser) -> None:
    user = new_user("alice")
    device = login(peer, user)
    token = ask(sandbox, "POST", "/token", {"grant_type": "password", "username": user, "password": PASSWORD})
    ask(sandbox, "PUT", f"/users/{user}/password", {"newpassword": "other"}, str(token["access_token"]))
    assert device.wait("onError")["type"] == PASSWORD_CHANGED
    device.wait("onDisconnected")


def test_the_app_server_can_kick_a_user(peer: Peer, login: Login, sandbox: Server, new_user: NewUser) -> None:
    device = login(peer, new_user("alice"))
    ask(sandbox, "POST", f"/users/{device.user}/disconnect", {}, app_token(sandbox))
    assert device.wait("onError")["type"] == KICKED_BY_ANOTHER_DEVICE
    device.wait("onDisconnected")
