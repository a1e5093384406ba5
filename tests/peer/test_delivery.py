"""Who gets what, when, and how often: order, devices, absence and return."""

import json
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from imkit.sandbox.process import Sandbox
from tests.peer.conftest import PASSWORD, Login, TeaGroup, make_tea_group
from tests.peer.peer import Device, Peer, Server

pytestmark = pytest.mark.peer

KICKED_BY_ANOTHER_LOGIN, PASSWORD_CHANGED, KICKED_BY_ANOTHER_DEVICE = 206, 216, 217

NewUser = Callable[[str], str]


def texts(device: Device, thread: str) -> list[str]:
    return [message["msg"] for message in device.seen("onTextMessage", to=thread)]


def test_many_at_once_arrive_in_order_and_once(tea: TeaGroup) -> None:
    words = [f"cup {number}" for number in range(60)]
    sends = [tea.alice.start_send(tea.thread, msg=text) for text in words]
    assert len({send.result(10)["serverMsgId"] for send in sends}) == len(words)
    tea.bob.wait_for(len(words), "onTextMessage", to=tea.thread)
    tea.fence(tea.bob)
    assert texts(tea.bob, tea.thread) == words


def test_what_came_while_away_comes_on_return_and_once(own_tea: TeaGroup, login: Login, peer: Peer) -> None:
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

    # Acknowledged is gone: the next return brings only what is new.
    returned.close()
    tea.alice.send(tea.thread, msg="one more")
    again = login(peer, tea.bob.user, new=False)
    again.wait("onTextMessage", to=tea.thread)
    tea.fence(again)
    assert texts(again, tea.thread) == ["one more"]


def test_each_device_gets_a_copy_and_the_sending_one_none(own_tea: TeaGroup, login: Login, peer: Peer) -> None:
    tea = own_tea
    tablet = login(peer, tea.alice.user, new=False, resource="tablet")
    phone = login(peer, tea.bob.user, new=False, resource="phone")
    sent = tea.alice.send(tea.thread, msg="to all of us")["serverMsgId"]
    for device in (tablet, tea.bob, phone):
        copy = device.wait("onTextMessage", id=sent)
        assert copy["chatThread"]["parentId"] == tea.group
    # And back: what the tablet says, the first device hears, and then it has heard everything before that.
    back = tablet.send(tea.thread, msg="from my tablet")["serverMsgId"]
    tea.alice.wait("onTextMessage", id=back)
    assert texts(tea.alice, tea.thread) == ["from my tablet"]
    assert texts(tablet, tea.thread) == ["to all of us"]


def test_other_devices_are_told_what_one_did(own_tea: TeaGroup, login: Login, peer: Peer) -> None:
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


def test_each_device_acknowledges_for_itself(own_tea: TeaGroup, login: Login, peer: Peer) -> None:
    tea = own_tea
    phone = login(peer, tea.bob.user, new=False, resource="phone")
    tea.bob.close()  # only the phone stays
    sent = [tea.alice.send(tea.thread, msg=f"cup {number}")["serverMsgId"] for number in range(3)]
    phone.wait("onTextMessage", id=sent[-1])
    tea.fence(phone)
    phone.close()
    # A device that was never here gets what no device has acknowledged: nothing.
    newcomer = login(peer, tea.bob.user, new=False, resource="newcomer")
    tea.fence(newcomer)
    assert texts(newcomer, tea.thread) == []


def test_a_device_that_was_away_is_owed_nothing_that_another_got(own_tea: TeaGroup, login: Login, peer: Peer) -> None:
    tea = own_tea
    login(peer, tea.bob.user, new=False, resource="phone").close()
    sent = tea.alice.send(tea.thread, msg="for who is here")["serverMsgId"]
    tea.bob.wait("onTextMessage", id=sent)
    tea.fence(tea.bob)
    returned = login(peer, tea.bob.user, new=False, resource="phone")
    tea.fence(returned)
    assert texts(returned, tea.thread) == []


def test_a_device_that_was_cut_before_it_acknowledged_gets_its_own_again(
    own_tea: TeaGroup, login: Login, peer: Peer
) -> None:
    tea = own_tea
    with Peer(peer.build) as pocket:
        phone = login(pocket, tea.bob.user, new=False, resource="phone")
        tea.fence(phone)
        pocket.freeze()  # still connected, and deaf
        words = [f"cup {number}" for number in range(5)]
        for text in words:
            tea.alice.send(tea.thread, msg=text)
        tea.bob.wait_for(len(words), "onTextMessage", to=tea.thread)
        tea.fence(tea.bob)  # this device has acknowledged; the phone has not
        pocket.kill()
    returned = login(peer, tea.bob.user, new=False, resource="phone")
    tea.fence(returned)
    assert texts(returned, tea.thread) == words
    assert texts(tea.bob, tea.thread) == words


def people(login: Login, peer: Peer, new_user: NewUser, server: Server, **options: object) -> list[Device]:
    names = ("alice", "bob", "carol", "dave")
    return [login(peer, new_user(name), server=server, **options) for name in names]


def test_a_server_that_pushes_unasked_is_understood_too(peer: Peer, login: Login, new_user: NewUser) -> None:
    with Sandbox(open_registration=True, push=True) as pushing:
        tea = make_tea_group(*people(login, peer, new_user, pushing))
        words = [f"cup {number}" for number in range(20)]
        sends = [tea.alice.start_send(tea.thread, msg=text) for text in words]
        for send in sends:
            send.result(10)
        tea.bob.wait_for(len(words), "onTextMessage", to=tea.thread)
        tea.fence(tea.bob)
        assert texts(tea.bob, tea.thread) == words


def test_a_killed_server_comes_back_with_everything(
    peer: Peer, login: Login, new_user: NewUser, tmp_path: Path
) -> None:
    with Sandbox(tmp_path / "sandbox.db", open_registration=True) as server:
        # The SDK comes back by itself, as it does in an app.
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
