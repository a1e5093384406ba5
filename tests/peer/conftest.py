"""Both builds of the official SDK, connected to one sandbox. Each test has its own group and thread."""

import contextlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.peer.peer import Device, Peer, SdkError
from tests.sandbox.server.raw_client import Server

PASSWORD = "tea-for-two"
_numbers = itertools.count(1)


@pytest.fixture(scope="session", params=["web", "mini"])
def peer(request: pytest.FixtureRequest) -> Iterator[Peer]:
    """A Node process with the web build of the SDK, then one with the mini-program build."""
    with Peer(request.param) as running:
        yield running
    assert running.unhandled == []


@pytest.fixture(scope="session")
def web_peer() -> Iterator[Peer]:
    """The web build alone, for uploads: the mini-program build uploads through the app that it runs in."""
    with Peer("web") as running:
        yield running
    assert running.unhandled == []


@pytest.fixture
def new_user(sandbox: Server) -> Callable[[str], str]:
    """Return a function that makes new user ids; the whole run shares one sandbox."""
    return lambda name: f"{name}{next(_numbers)}"


Login = Callable[..., Device]


@pytest.fixture
def login(sandbox: Server) -> Iterator[Login]:
    """`login(peer, user)` registers a user and opens a connection; with `new=False` the user is there already.

    Connections still open at the end of the test are closed.
    """
    opened: list[Device] = []

    def login(peer: Peer, user: str, *, new: bool = True, server: Server = sandbox, **options: Any) -> Device:
        device = peer.device(server, **options)
        if new:
            device.call("registerUser", {"username": user, "password": PASSWORD})
        device.open(user, pwd=PASSWORD)
        opened.append(device)
        return device

    yield login
    for device in opened:
        if device.peer.alive:
            device.start("close")


@dataclass
class TeaGroup:
    """A group with a thread, and the devices of four users."""

    alice: Device  # owns the group and the thread
    bob: Device  # in the thread
    carol: Device  # in the group alone
    dave: Device  # not in the group
    group: str
    parent: str
    thread: str

    @property
    def people(self) -> list[Device]:
        return [self.alice, self.bob, self.carol, self.dave]

    def fence(self, *receivers: Device) -> None:
        """Send a group message and wait until `receivers` have it; they then also have everything sent before it.

        After this a test can assert that something has not arrived.
        """
        sent = self.alice.send(self.group, msg="fence", thread=False)
        for receiver in receivers:
            receiver.wait("onTextMessage", id=sent["serverMsgId"])


def make_group(owner: Device, *members: Device) -> str:
    reply = owner.call(
        "createGroup",
        {
            "data": {
                "groupname": "tea",
                "desc": "leaves and water",
                "members": [member.user for member in members],
                "public": True,
                "approval": False,
                "allowinvites": True,
                "inviteNeedConfirm": False,
                "maxusers": 200,
            }
        },
    )
    group = reply["data"]["groupid"]
    assert isinstance(group, str)
    return group


def make_tea_group(alice: Device, bob: Device, carol: Device, dave: Device) -> TeaGroup:
    group = make_group(alice, bob, carol)
    parent = alice.send(group, msg="Which oolong?", thread=False)["serverMsgId"]
    created = alice.call("createChatThread", {"parentId": group, "name": "Oolong", "messageId": parent})
    thread = created["data"]["chatThreadId"]
    bob.call("joinChatThread", {"chatThreadId": thread})
    for member in (bob, carol):
        member.wait("onTextMessage", id=parent)
        member.wait("onChatThreadChange", id=thread, operation="create")
    tea = TeaGroup(alice, bob, carol, dave, group, parent, thread)
    for device in tea.people:
        device.clear()
    return tea


def _company(peer: Peer, sandbox: Server) -> list[Device]:
    company = []
    for name in ("alice", "bob", "carol", "dave"):
        device, user = peer.device(sandbox), f"{name}-{peer.build}{next(_numbers)}"
        device.call("registerUser", {"username": user, "password": PASSWORD})
        device.open(user, pwd=PASSWORD)
        company.append(device)
    return company


# Four logins take longer than most tests, so the four stay logged in. Each test has a group of its own.
@pytest.fixture(scope="session")
def company(peer: Peer, sandbox: Server) -> list[Device]:
    return _company(peer, sandbox)


@pytest.fixture(scope="session")
def web_company(web_peer: Peer, sandbox: Server) -> list[Device]:
    return _company(web_peer, sandbox)


def _tea_group_of(company: list[Device]) -> Iterator[TeaGroup]:
    tea = make_tea_group(*company)
    yield tea
    # A refused call raises in the test. The SDK calls `onError` for a frame that it does not understand.
    assert [(device, error) for device in tea.people for error in device.seen("onError")] == []
    with contextlib.suppress(SdkError):  # the test may have ended it
        tea.alice.call("destroyGroup", {"groupId": tea.group})


@pytest.fixture
def tea(company: list[Device]) -> Iterator[TeaGroup]:
    """A new group with a thread, see `TeaGroup`; earlier events are cleared.

    The four devices are logged in for the whole run: a test that closes one of them takes `own_tea`.
    """
    yield from _tea_group_of(company)


@pytest.fixture
def web_tea(web_company: list[Device]) -> Iterator[TeaGroup]:
    """The same, in the web build alone."""
    yield from _tea_group_of(web_company)


@pytest.fixture
def own_tea(login: Login, peer: Peer, new_user: Callable[[str], str]) -> TeaGroup:
    """The same, with four devices of its own."""
    return make_tea_group(*(login(peer, new_user(name)) for name in ("alice", "bob", "carol", "dave")))
