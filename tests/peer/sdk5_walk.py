"""A walk: SDK 5 in Chromium and imkit go through a conversation together, one named step after another.

Alice uses SDK 5, in a page, and later also a tablet, which is a second page. Bob, Carol and Dave use imkit. Alice owns
the group "tea", Bob the group "coffee". A step may use what earlier steps have made, so the first failure ends a walk.

`test_sdk5.py` walks in `make test`, `make acceptance` in front of a reader.
"""

import json
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import imkit
from imkit.sandbox.process import Sandbox
from tests.faults.proxy import Proxy
from tests.peer.peer import SdkError
from tests.peer.pictures import PNG
from tests.peer.sdk5 import Sdk5, Sdk5Device
from tests.waits import WAIT, eventually

PASSWORD = "tea-for-two"
RECALL_SECONDS = 8  # the walk recalls at once what may be recalled; its last steps come later than this
# The error codes of SDK 5.
INVALID, TOKEN_EXPIRED, AUTHENTICATION, FORBIDDEN, NO_MEMBER, NOT_FOUND = 110, 108, 202, 210, 602, 606
PASSWORD_CHANGED = 216
REFUSED = 1  # actions (recalls, edits) are rejected with the status of the answer, and its reason


@dataclass
class Walk:
    """The people, and what the steps have made so far."""

    sandbox: Sandbox
    sdk: Sdk5
    proxy: Proxy
    alice: Sdk5Device
    bob: imkit.Session
    carol: imkit.Session
    dave: imkit.Session
    folder: Path  # for downloads
    held: ExitStack  # closed at the end of the walk
    tablet: Sdk5Device | None = None
    laptop: imkit.Session | None = None
    tea: str = ""  # Alice's group
    coffee: str = ""  # Bob's group
    parent: dict[str, Any] = field(default_factory=dict)  # the message of Alice on which Oolong hangs
    oolong: str = ""  # Alice's thread in "tea"
    mocha: str = ""  # Bob's thread in "coffee"
    free_parent: str = ""  # the id of a message in "tea" without a thread
    liked: str = ""  # the id of a message with reactions
    early: imkit.Message | None = None  # what Alice first wrote in Mocha

    @property
    def thread(self) -> imkit.Thread:
        """Oolong, for Bob."""
        return self.bob.thread(self.oolong)

    def says(self, content: str, **options: Any) -> str:
        """Let Alice send a text to Oolong; return its id."""
        message_id = self.alice.send(self.oolong, content=content, **options)["msgServerId"]
        assert isinstance(message_id, str)
        return message_id


Act = Callable[[Walk], None]


@dataclass(frozen=True)
class Step:
    """One step: what happens in it, in words, and the function that does it."""

    words: str
    act: Act


STEPS: list[Step] = []


def step(act: Act) -> Act:
    """Make a function the next step; its docstring says what happens."""
    assert act.__doc__
    STEPS.append(Step(act.__doc__, act))
    return act


@contextmanager
def people(sandbox: Sandbox, sdk: Sdk5) -> Iterator[Walk]:
    """Log the people of imkit in, and open Alice's page, whose socket leads through a proxy."""
    with ExitStack() as stack:
        proxy = stack.enter_context(Proxy(sandbox))
        alice = sdk.device(sandbox, ws_url=proxy.ws_url)
        alice.call("register", "alice", PASSWORD)
        bob, carol, dave = (
            stack.enter_context(imkit.login(name, app=sandbox.app)) for name in ("bob", "carol", "dave")
        )
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        yield Walk(sandbox, sdk, proxy, alice, bob, carol, dave, folder, stack)


def walk(sandbox: Sandbox, sdk: Sdk5) -> None:
    """Take all steps and print them. An exception carries a note that names the step."""
    with people(sandbox, sdk) as company:
        for number, taken in enumerate(STEPS, 1):
            started = time.monotonic()
            try:
                taken.act(company)
            except BaseException as error:
                error.add_note(f"in step {number} of {len(STEPS)} of the walk: {taken.words}")
                raise
            print(f"{number:3} {time.monotonic() - started:5.2f} s  {taken.words}", flush=True)


# ---------------------------------------------------------------- what steps ask


def heard(session: imkit.Session, message_id: str) -> imkit.Message:
    """Return a message that a session receives, or has received."""
    events = session.events(imkit.MessageReceived)
    return events.next(timeout=WAIT, where=lambda event: event.message.id == message_id).message


def told(session: imkit.Session, thread_id: str, operation: str) -> imkit.ThreadChanged:
    """Return a change of a thread that a session hears of, or has heard of."""
    changes = session.events(imkit.ThreadChanged)
    change = changes.next(
        timeout=WAIT, where=lambda event: (event.thread_id, event.operation) == (thread_id, operation)
    )
    assert isinstance(change, imkit.ThreadChanged)
    return change


def group_changed(session: imkit.Session, group: str, operation: str) -> imkit.GroupChanged:
    """Return a change of a group that a session hears of, or has heard of."""
    changes = session.events(imkit.GroupChanged)
    change = changes.next(timeout=WAIT, where=lambda event: (event.group_id, event.operation) == (group, operation))
    assert isinstance(change, imkit.GroupChanged)
    return change


def refused(device: Sdk5Device, method: str, *args: Any) -> SdkError:
    """Make a call that must be refused; return the error."""
    try:
        answer = device.call(method, *args)
    except SdkError as error:
        return error
    raise AssertionError(f"{method} was not refused; it answered {answer}")


def in_thread(thread: str) -> dict[str, str]:
    return {"conversationId": thread, "conversationType": "groupChat"}


def all_pages(device: Sdk5Device, method: str, **asked: Any) -> list[dict[str, Any]]:
    """Return the items of all pages of a list."""
    found: list[dict[str, Any]] = []
    cursor = ""
    for _ in range(20):
        page = device.call(method, {**asked, "cursor": cursor})
        found += page["items"]
        cursor = page["cursor"]
        if not cursor or not page.get("hasMore", True):
            return found
    raise AssertionError(f"{method} does not end")


def ask(sandbox: Sandbox, method: str, path: str, body: object, token: str) -> dict[str, Any]:
    """Make a REST call that the SDK has no method for."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    url = f"{sandbox.rest_url}/{sandbox.app_key.replace('#', '/')}{path}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers, method=method)
    with urllib.request.urlopen(request, timeout=WAIT) as reply:
        answer = json.load(reply)
    assert isinstance(answer, dict)
    return answer


# ---------------------------------------------------------------- getting in


@step
def _(walk: Walk) -> None:
    """A page cannot log in with a token that nobody issued."""
    assert refused(walk.alice, "client.login", {"userId": "alice", "token": "made-up"}).type == AUTHENTICATION


@step
def _(walk: Walk) -> None:
    """A page cannot get a token with a wrong password."""
    assert refused(walk.alice, "token", "alice", "coffee").type == 400


@step
def _(walk: Walk) -> None:
    """The token of one user does not log in another."""
    token = walk.alice.call("token", "alice", PASSWORD)
    assert refused(walk.alice, "client.login", {"userId": "bob", "token": token}).type == AUTHENTICATION


@step
def _(walk: Walk) -> None:
    """Alice logs in with a token that her page got from another origin."""
    walk.alice.open("alice", pwd=PASSWORD)
    assert walk.alice.call("client.getConnectionState") == "connected"
    assert walk.alice.call("client.getCurrentUserId") == "alice"
    assert walk.alice.call("client.getClientResource")


@step
def _(walk: Walk) -> None:
    """A new token takes the place of the first, and the connection stays."""
    walk.alice.call("client.renewToken", walk.alice.call("token", "alice", PASSWORD))
    assert walk.alice.seen("onDisconnected", lambda event: event["state"] == "disconnected") == []


@step
def _(walk: Walk) -> None:
    """A token that nobody issued does not take its place."""
    assert refused(walk.alice, "client.renewToken", "made-up").type in {AUTHENTICATION, TOKEN_EXPIRED}


# ---------------------------------------------------------------- groups


@step
def _(walk: Walk) -> None:
    """Alice creates a group with Bob in it, and Bob is told."""
    options = {"public": True, "joinApprovalRequired": False, "allowInvites": True, "inviteNeedConfirm": False}
    named = {"name": "tea", "description": "leaves and water", "memberIds": ["bob"], "maxMembers": 200}
    walk.tea = walk.alice.call("group.createGroup", named | options)["groupId"]
    group_changed(walk.bob, walk.tea, "directJoined")
    assert walk.tea in [group.id for group in walk.bob.groups()]


@step
def _(walk: Walk) -> None:
    """Bob creates a group with Alice in it, and she is told."""
    walk.coffee = walk.bob.create_group("coffee", members=["alice", "carol"]).id
    walk.alice.wait("onAutoAcceptInvitationFromGroup", groupId=walk.coffee)


@step
def _(walk: Walk) -> None:
    """Alice invites Carol, who is told; Bob is told that Carol has come."""
    walk.alice.call("group.inviteUsersToGroup", {"groupId": walk.tea, "userIds": ["carol"]})
    group_changed(walk.carol, walk.tea, "directJoined")
    assert "carol" in group_changed(walk.bob, walk.tea, "memberPresence").users


@step
def _(walk: Walk) -> None:
    """Alice reads what her group is."""
    found = walk.alice.call("group.getGroupInfo", {"groupId": walk.tea})
    assert (found["groupId"], found["name"], found["description"]) == (walk.tea, "tea", "leaves and water")
    assert found["memberCount"] == 3


@step
def _(walk: Walk) -> None:
    """Alice reads who is in her group, and which role each has."""
    found = walk.alice.call("group.getGroupMemberList", {"groupId": walk.tea, "pageSize": 20})["items"]
    assert {entry["user"]["userId"]: entry["role"] for entry in found} == {
        "alice": "owner",
        "bob": "member",
        "carol": "member",
    }


@step
def _(walk: Walk) -> None:
    """Carol becomes an admin of the group and stops being one; she is told both times."""
    chosen = {"groupId": walk.tea, "userId": "carol"}
    walk.alice.call("group.addGroupAdmin", chosen)
    group_changed(walk.carol, walk.tea, "setAdmin")
    admins = walk.alice.call("group.getGroupAdminList", {"groupId": walk.tea})
    assert [admin["userId"] for admin in admins] == ["carol"]
    walk.alice.call("group.removeGroupAdmin", chosen)
    group_changed(walk.carol, walk.tea, "removeAdmin")


@step
def _(walk: Walk) -> None:
    """Alice renames her group."""
    walk.alice.call("group.updateGroupInfo", {"groupId": walk.tea, "name": "茶", "description": "树叶和水"})
    found = walk.alice.call("group.getGroupInfo", {"groupId": walk.tea})
    assert (found["name"], found["description"]) == ("茶", "树叶和水")


@step
def _(walk: Walk) -> None:
    """Alice may not remove a member of Bob's group."""
    gone = {"groupId": walk.coffee, "userIds": ["carol"]}
    assert refused(walk.alice, "group.removeGroupMembers", gone).type == FORBIDDEN


@step
def _(walk: Walk) -> None:
    """Alice leaves Bob's group, and Bob is told; she may not join it by herself, since it is not public."""
    walk.alice.call("group.leaveGroup", {"groupId": walk.coffee})
    assert "alice" in group_changed(walk.bob, walk.coffee, "memberAbsence").users
    assert refused(walk.alice, "group.joinGroup", {"groupId": walk.coffee, "message": "may I?"}).type == NOT_FOUND
    walk.bob.group(walk.coffee).invite("alice")
    walk.alice.wait_for(2, "onAutoAcceptInvitationFromGroup", groupId=walk.coffee)


@step
def _(walk: Walk) -> None:
    """Bob removes Alice from a group and destroys it; she is told both times."""
    group = walk.bob.create_group("water", members=["alice"])
    walk.alice.wait("onAutoAcceptInvitationFromGroup", groupId=group.id)
    group.remove("alice")
    walk.alice.wait("onUserRemoved", groupId=group.id)
    group.invite("alice")
    group.destroy()
    walk.alice.wait("onGroupDestroyed", groupId=group.id)


@step
def _(walk: Walk) -> None:
    """Alice removes Bob from a group and destroys it; the members are told."""
    group = walk.alice.call("group.createGroup", {"name": "milk", "memberIds": ["bob", "carol"], "maxMembers": 10})
    walk.alice.call("group.removeGroupMembers", {"groupId": group["groupId"], "userIds": ["bob"]})
    group_changed(walk.bob, group["groupId"], "removeMember")
    walk.alice.call("group.destroyGroup", {"groupId": group["groupId"]})
    group_changed(walk.carol, group["groupId"], "destroy")


@step
def _(walk: Walk) -> None:
    """A group that does not exist cannot be read."""
    assert refused(walk.alice, "group.getGroupInfo", {"groupId": "1"}).type in {NOT_FOUND, 605}


# ---------------------------------------------------------------- the life of a thread


@step
def _(walk: Walk) -> None:
    """Alice and Bob write to the group; neither message belongs to a thread."""
    walk.parent = walk.alice.send(walk.tea, content="Which oolong?", thread=False)
    message = heard(walk.bob, walk.parent["msgServerId"])
    assert (message.text, message.sender, message.to, message.thread) == ("Which oolong?", "alice", walk.tea, None)
    sent = walk.bob.group(walk.tea).send("Dong Ding?")
    echoed = walk.alice.wait("onMessage", msgServerId=sent.id)
    assert (echoed["body"]["content"], echoed["from"], echoed["conversationId"]) == ("Dong Ding?", "bob", walk.tea)
    assert "chatThread" not in echoed
    walk.free_parent = sent.id


@step
def _(walk: Walk) -> None:
    """Alice creates a thread on her message; Bob and Carol are told."""
    named = {"parentId": walk.tea, "name": "Oolong", "messageId": walk.parent["msgServerId"]}
    walk.oolong = walk.alice.call("chatThread.createChatThread", named)["chatThreadId"]
    for member in (walk.bob, walk.carol):
        change = told(member, walk.oolong, "create")
        assert (change.name, change.group_id, change.operator) == ("Oolong", walk.tea, "alice")
        assert change.parent_id == walk.parent["msgServerId"]


@step
def _(walk: Walk) -> None:
    """A second thread on the same message is refused."""
    named = {"parentId": walk.tea, "name": "Another", "messageId": walk.parent["msgServerId"]}
    assert refused(walk.alice, "chatThread.createChatThread", named).type in {INVALID, FORBIDDEN}


@step
def _(walk: Walk) -> None:
    """A thread on a message that does not exist is refused."""
    named = {"parentId": walk.tea, "name": "Nothing", "messageId": "123456789"}
    assert refused(walk.alice, "chatThread.createChatThread", named).type in {INVALID, NOT_FOUND}


@step
def _(walk: Walk) -> None:
    """A name of 65 characters is refused."""
    named = {"parentId": walk.tea, "name": "x" * 65, "messageId": walk.free_parent}
    assert refused(walk.alice, "chatThread.createChatThread", named).type == INVALID


@step
def _(walk: Walk) -> None:
    """Bob writes to the thread before he has joined it, and is refused."""
    try:
        walk.thread.send("Is this open?")
    except imkit.NotAMember:
        return
    raise AssertionError("Bob could write")


@step
def _(walk: Walk) -> None:
    """Bob and Carol join the thread; joining twice is refused."""
    walk.carol.thread(walk.oolong).join()
    walk.thread.join()
    try:
        walk.thread.join()
    except imkit.AlreadyExists:
        return
    raise AssertionError("Bob could join twice")


@step
def _(walk: Walk) -> None:
    """Bob creates a thread in his group; Alice is told which message it hangs on."""
    group = walk.bob.group(walk.coffee)
    parent = group.send("Beans?")
    walk.alice.wait("onMessage", msgServerId=parent.id)
    walk.mocha = group.create_thread("Mocha", parent).id
    created = walk.alice.wait("onChatThreadCreated", chatThreadId=walk.mocha)
    assert (created["parentId"], created["operatorId"]) == (walk.coffee, "bob")
    assert (created["messageId"], created["chatThreadName"]) == (parent.id, "Mocha")


@step
def _(walk: Walk) -> None:
    """Alice writes to Bob's thread before she has joined it, and is refused."""
    message = {**in_thread(walk.mocha), "isChatThread": True, "content": "Is this open?"}
    assert refused(walk.alice, "send", "text", message).type == NO_MEMBER


@step
def _(walk: Walk) -> None:
    """Alice joins Bob's thread; Bob sees her among the members, and she can write."""
    walk.alice.call("chatThread.joinChatThread", {"chatThreadId": walk.mocha})
    assert sorted(walk.bob.thread(walk.mocha).members()) == ["alice", "bob"]
    walk.early = heard(walk.bob, walk.alice.send(walk.mocha, content="It is.")["msgServerId"])


@step
def _(walk: Walk) -> None:
    """Joining twice is refused."""
    assert refused(walk.alice, "chatThread.joinChatThread", {"chatThreadId": walk.mocha}).type in {INVALID, FORBIDDEN}


@step
def _(walk: Walk) -> None:
    """Alice reads the members of a thread page by page."""
    asked = {"chatThreadId": walk.oolong, "pageSize": 1}
    assert len(walk.alice.call("chatThread.getChatThreadMemberList", asked)["items"]) == 1
    found = all_pages(walk.alice, "chatThread.getChatThreadMemberList", **asked)
    assert sorted(member["memberId"] for member in found) == ["alice", "bob", "carol"]


@step
def _(walk: Walk) -> None:
    """Alice reads what a thread is, as imkit reads it."""
    found = walk.alice.call("chatThread.getChatThreadInfo", {"chatThreadId": walk.oolong})
    thread = walk.thread.refresh()
    assert (found["chatThreadId"], found["name"]) == (walk.oolong, thread.name)
    assert (found["ownerId"], found["parentId"]) == (thread.owner, thread.group_id)
    assert found["memberCount"] == thread.member_count == 3
    assert thread.created is not None
    assert found["createdAt"] == int(thread.created.timestamp() * 1000)


@step
def _(walk: Walk) -> None:
    """A thread that does not exist cannot be read."""
    assert refused(walk.alice, "chatThread.getChatThreadInfo", {"chatThreadId": "123"}).type == NOT_FOUND


@step
def _(walk: Walk) -> None:
    """Alice lists the threads that she is in: all of them, and those of one group."""
    found = all_pages(walk.alice, "chatThread.getJoinedChatThreadList", pageSize=1)
    assert sorted(thread["chatThreadId"] for thread in found) == sorted([walk.oolong, walk.mocha])
    found = all_pages(walk.alice, "chatThread.getJoinedChatThreadList", parentId=walk.coffee, pageSize=5)
    assert [(thread["chatThreadId"], thread["name"]) for thread in found] == [(walk.mocha, "Mocha")]


@step
def _(walk: Walk) -> None:
    """Alice lists the threads of a group page by page."""
    group = walk.bob.group(walk.tea)
    made = [group.create_thread(f"topic {number}", group.send(f"topic {number}")).id for number in range(4)]
    found = all_pages(walk.alice, "chatThread.getChatThreadList", parentId=walk.tea, pageSize=2)
    assert sorted(thread["chatThreadId"] for thread in found) == sorted([walk.oolong, *made])
    assert {thread["ownerId"] for thread in found} == {"alice", "bob"}


@step
def _(walk: Walk) -> None:
    """Alice may not list the threads of a group that she is not in."""
    group = walk.dave.create_group("secret")
    listed = {"parentId": group.id}
    assert refused(walk.alice, "chatThread.getChatThreadList", listed).type in {FORBIDDEN, AUTHENTICATION}


@step
def _(walk: Walk) -> None:
    """Alice renames her thread, and Bob is told."""
    walk.alice.call("chatThread.updateChatThreadName", {"chatThreadId": walk.oolong, "name": "乌龙"})
    change = told(walk.bob, walk.oolong, "update")
    assert (change.name, change.operator) == ("乌龙", "alice")


@step
def _(walk: Walk) -> None:
    """Bob renames his thread, and Alice is told."""
    walk.bob.thread(walk.mocha).rename("摩卡")
    renamed = walk.alice.wait("onChatThreadUpdated", chatThreadId=walk.mocha, chatThreadName="摩卡")
    assert (renamed["operatorId"], renamed["parentId"]) == ("bob", walk.coffee)


@step
def _(walk: Walk) -> None:
    """Alice may neither rename nor destroy Bob's thread, nor remove him from it."""
    mocha = {"chatThreadId": walk.mocha}
    assert refused(walk.alice, "chatThread.updateChatThreadName", {**mocha, "name": "mine"}).type == FORBIDDEN
    assert refused(walk.alice, "chatThread.destroyChatThread", mocha).type == FORBIDDEN
    assert refused(walk.alice, "chatThread.removeChatThreadMember", {**mocha, "memberId": "bob"}).type == FORBIDDEN


# ---------------------------------------------------------------- messages of all kinds


@step
def _(walk: Walk) -> None:
    """A text of Alice reaches Bob with its thread."""
    message = heard(walk.bob, walk.says("冻顶 🎉"))
    assert (message.text, message.sender, message.to) == ("冻顶 🎉", "alice", walk.oolong)
    assert message.thread is not None
    assert (message.thread.thread_id, message.thread.group_id) == (walk.oolong, walk.tea)
    assert (message.thread.parent_id, message.thread.name) == (walk.parent["msgServerId"], "乌龙")


@step
def _(walk: Walk) -> None:
    """A text of Bob reaches Alice with its thread and the time of the server."""
    sent = walk.thread.send("好 👍")
    message = walk.alice.wait("onMessage", msgServerId=sent.id)
    assert (message["type"], message["body"]["content"], message["from"]) == ("text", "好 👍", "bob")
    assert (message["conversationId"], message["direct"], message["isChatThread"]) == (walk.oolong, "RECEIVE", True)
    assert message["chatThread"]["messageId"] == walk.parent["msgServerId"]
    assert message["chatThread"]["parentId"] == walk.tea
    assert message["timestamp"] == int(sent.time.timestamp() * 1000)


# SDK 5 turns `false` into `true`: docs/protocol.md#sdk-5-messages.
EXT = {"text": "文本 🍵", "count": -7, "big": 2**40, "price": 1.5, "yes": True, "object": {"deep": [1, "二"]}}


@step
def _(walk: Walk) -> None:
    """Attributes of all types pass in both directions."""
    assert heard(walk.bob, walk.says("with attributes", ext=EXT)).ext == EXT
    sent = walk.thread.send(imkit.Text("with attributes", ext=EXT))
    assert walk.alice.wait("onMessage", msgServerId=sent.id)["ext"] == EXT


SIZE = {"width": 12, "height": 34}
# What Alice sends: the kind, its options, and the fields that imkit must read.
FROM_SDK: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {
    "image": (
        {"file": PNG, "filename": "leaf.png", "filetype": "image/png", "isOriginalImage": True, **SIZE},
        "img",
        SIZE | {"file_size": len(PNG), "file_name": "leaf.png"},
    ),
    "voice": (
        {"file": PNG, "filename": "a.amr", "filetype": "audio/amr", "duration": 3},
        "audio",
        {"duration": 3, "file_name": "a.amr"},
    ),
    "video": (
        {"file": PNG, "filename": "v.mp4", "filetype": "video/mp4", "duration": 5, "width": 64, "height": 48},
        "video",
        {"duration": 5, "file_name": "v.mp4"},
    ),
    "file": (
        {"file": PNG, "filename": "说明.txt", "filetype": "text/plain"},
        "file",
        {"file_name": "说明.txt", "file_size": len(PNG)},
    ),
    "location": (
        {"latitude": 23.75, "longitude": 120.75, "address": "南投县鹿谷乡", "buildingName": "tea house"},
        "loc",
        {"lat": 23.75, "lng": 120.75, "address": "南投县鹿谷乡", "building_name": "tea house"},
    ),
    "cmd": ({"action": "typing"}, "cmd", {"action": "typing"}),
    "custom": (
        {"event": "vote", "params": {"tea": "冻顶", "bags": "2"}},
        "custom",
        {"event": "vote", "params": {"tea": "冻顶", "bags": "2"}},
    ),
}
# What Bob sends: the body, the kind in SDK 5, and the fields that it must read.
FROM_IMKIT: tuple[tuple[imkit.messages.Body, str, dict[str, Any]], ...] = (
    (imkit.Image(PNG, file_name="leaf.png"), "image", SIZE | {"filename": "leaf.png"}),
    (imkit.Audio(PNG, file_name="a.amr", duration=3), "voice", {"duration": 3, "filename": "a.amr"}),
    (imkit.Video(PNG, file_name="v.mp4", duration=5), "video", {"duration": 5, "filename": "v.mp4"}),
    (imkit.File(PNG, file_name="说明.txt"), "file", {"filename": "说明.txt", "fileLength": len(PNG)}),
    (
        imkit.Location(23.75, 120.75, "南投县鹿谷乡", building_name="tea house"),
        "location",
        {"latitude": 23.75, "longitude": 120.75, "address": "南投县鹿谷乡", "buildingName": "tea house"},
    ),
    (imkit.Command("typing"), "cmd", {"action": "typing"}),
    (
        imkit.Custom("vote", {"tea": "冻顶", "bags": "2"}),
        "custom",
        {"event": "vote", "params": {"tea": "冻顶", "bags": "2"}},
    ),
)


def _from_sdk(kind: str) -> Act:
    options, name, expected = FROM_SDK[kind]

    def act(walk: Walk) -> None:
        message = heard(walk.bob, walk.alice.send(walk.oolong, kind, **options)["msgServerId"])
        assert message.type == name
        found = {field: getattr(message.body, field) for field in expected}
        assert found == expected, found
        assert message.thread is not None
        if "file" in options:
            assert walk.bob.download(message, walk.folder).read_bytes() == PNG

    act.__doc__ = f"Alice sends a message of the kind {kind} to Bob."
    return act


def _from_imkit(body: imkit.messages.Body, kind: str, expected: dict[str, Any]) -> Act:
    def act(walk: Walk) -> None:
        sent = walk.thread.send(body)
        message = walk.alice.wait("onMessage", msgServerId=sent.id)
        assert message["type"] == kind
        assert {field: message["body"].get(field) for field in expected} == expected
        assert message["isChatThread"]
        if isinstance(body, imkit.messages.Attachment):
            assert walk.alice.download(message) == PNG

    act.__doc__ = f"Bob sends a message of the kind {kind} to Alice."
    return act


for _kind in FROM_SDK:
    step(_from_sdk(_kind))
for _case in FROM_IMKIT:
    step(_from_imkit(*_case))


@step
def _(walk: Walk) -> None:
    """A file above 5 MiB, which SDK 5 first tries to send in parts, reaches Bob."""
    named = {"filename": "large.bin", "filetype": "application/octet-stream"}
    sent = walk.alice.send(walk.oolong, "file", zeros=5 * 2**20 + 1, **named)
    message = heard(walk.bob, sent["msgServerId"])
    assert walk.bob.download(message, walk.folder).stat().st_size == 5 * 2**20 + 1


@step
def _(walk: Walk) -> None:
    """Bob opens a bundle of Alice's."""
    bundled = [walk.says("first"), walk.says("第二")]
    about = {"title": "tea talk", "summary": "two", "messageIds": bundled}
    message = heard(walk.bob, walk.alice.send(walk.oolong, "combine", **about)["msgServerId"])
    assert isinstance(message.body, imkit.Combine)
    # SDK 5.1.2 loses the text for older clients and sends one of its own: docs/protocol.md#sdk-5-messages.
    assert (message.body.title, message.body.summary) == ("tea talk", "two")
    assert [inner.text for inner in walk.bob.unpack(message)] == ["first", "第二"]


@step
def _(walk: Walk) -> None:
    """Alice opens a bundle of Bob's."""
    talk = [walk.thread.send(words) for words in ("first", "第二")]
    sent = walk.thread.send(imkit.Combine("his bundle", talk, summary="the same two"))
    message = walk.alice.wait("onMessage", msgServerId=sent.id)
    assert message["type"] == "combine"
    assert (message["body"]["title"], message["body"]["summary"]) == ("his bundle", "the same two")
    opened = walk.alice.call("chat.downloadAndParseCombineMessage", {"message": message})
    items = opened["items"] if isinstance(opened, dict) else opened
    assert [inner["body"]["content"] for inner in items] == ["first", "第二"]


@step
def _(walk: Walk) -> None:
    """Somebody outside the group can neither read nor write in its thread."""
    outside = walk.dave.thread(walk.oolong)
    for attempt in (lambda: outside.send("hello"), lambda: list(outside.messages())):
        try:
            attempt()
        except (imkit.NotAMember, imkit.Forbidden, imkit.NotFound):
            continue
        raise AssertionError("Dave could")


# ---------------------------------------------------------------- recall, edit, receipts


@step
def _(walk: Walk) -> None:
    """Alice recalls a message of hers, and Bob is told."""
    sent = walk.says("wrong thread")
    heard(walk.bob, sent)
    walk.alice.call("chat.recallMessage", {**in_thread(walk.oolong), "messageId": sent})
    recalled = walk.bob.events(imkit.MessageRecalled).next(timeout=WAIT, where=lambda event: event.message_id == sent)
    assert (recalled.by, recalled.to) == ("alice", walk.oolong)
    assert recalled.message is not None
    assert recalled.message.text == "wrong thread"


@step
def _(walk: Walk) -> None:
    """Bob recalls a message of his, and Alice is told."""
    sent = walk.thread.send("me too")
    walk.alice.wait("onMessage", msgServerId=sent.id)
    walk.thread.recall(sent)
    recalled = walk.alice.wait("onMessageRecalled", messageId=sent.id)
    assert (recalled["conversationId"], recalled["conversationType"]) == (walk.oolong, "groupChat")


@step
def _(walk: Walk) -> None:
    """Alice may not recall a message of Bob's in his group."""
    sent = walk.bob.thread(walk.mocha).send("mine")
    walk.alice.wait("onMessage", msgServerId=sent.id)
    error = refused(walk.alice, "chat.recallMessage", {**in_thread(walk.mocha), "messageId": sent.id})
    assert (error.type, "no permission to recall message" in error.message) == (REFUSED, True)


@step
def _(walk: Walk) -> None:
    """A message that does not exist cannot be recalled."""
    assert refused(walk.alice, "chat.recallMessage", {**in_thread(walk.oolong), "messageId": "123456789"}).type


@step
def _(walk: Walk) -> None:
    """Alice edits a text of hers, and Bob is told."""
    sent = walk.says("Dong Dign")
    heard(walk.bob, sent)
    edit = {**in_thread(walk.oolong), "messageId": sent}
    walk.alice.call("modify", "text", {"content": "Dong Ding", **in_thread(walk.oolong)}, edit)
    edits = walk.bob.events(imkit.MessageEdited)
    edited = edits.next(timeout=WAIT, where=lambda event: event.message.id == sent)
    assert (edited.message.text, edited.operator, edited.count) == ("Dong Ding", "alice", 1)


@step
def _(walk: Walk) -> None:
    """Bob edits a text and a custom message of his, and Alice is told."""
    sent = walk.thread.send("Tie Guan Yni")
    walk.alice.wait("onMessage", msgServerId=sent.id)
    walk.thread.edit(sent, "Tie Guan Yin")
    edited = walk.alice.wait("onMessageUpdated", messageId=sent.id)
    assert edited["message"]["body"]["content"] == "Tie Guan Yin"
    assert edited["message"]["modifiedInfo"]["operatorId"] == "bob"
    assert edited["message"]["modifiedInfo"]["operationCount"] == 1
    vote = walk.thread.send(imkit.Custom("vote", {"bags": "1"}))
    walk.alice.wait("onMessage", msgServerId=vote.id)
    walk.thread.edit(vote, imkit.Custom("vote", {"bags": "2"}))
    edited = walk.alice.wait("onMessageUpdated", messageId=vote.id)
    assert edited["message"]["body"]["params"] == {"bags": "2"}


@step
def _(walk: Walk) -> None:
    """Alice may not edit a message of Bob's in his group."""
    sent = walk.bob.thread(walk.mocha).send("mine too")
    walk.alice.wait("onMessage", msgServerId=sent.id)
    edit = {**in_thread(walk.mocha), "messageId": sent.id}
    error = refused(walk.alice, "modify", "text", {"content": "hers", **in_thread(walk.mocha)}, edit)
    assert error.message == "Sorry, You do not have permission"


@step
def _(walk: Walk) -> None:
    """Bob has read a message of Alice's, and she is told."""
    sent = walk.says("read this", needReadReceipt=True)
    walk.thread.acknowledge(heard(walk.bob, sent), "read")
    (receipt,) = walk.alice.wait("onMessageReadReceipts", lambda event: sent in event[0]["messageIds"])
    assert (receipt["conversationId"], receipt["conversationType"]) == (walk.oolong, "groupChat")


# ---------------------------------------------------------------- what a message carries


@step
def _(walk: Walk) -> None:
    """Alice replies to a message of Bob's, and he sees which."""
    quoted = walk.thread.send("Which water?")
    walk.alice.wait("onMessage", msgServerId=quoted.id)
    quote = {"msgID": quoted.id, "msgPreview": "Which water?", "msgSender": "bob", "msgType": "text"}
    reply = heard(walk.bob, walk.says("Soft water", ext={"msgQuote": quote}))
    assert reply.quote is not None
    assert (reply.quote.message_id, reply.quote.preview) == (quoted.id, "Which water?")
    assert (reply.quote.sender, reply.quote.type) == ("bob", "txt")


@step
def _(walk: Walk) -> None:
    """Bob replies to a message of Alice's, and she sees which."""
    quoted = heard(walk.bob, walk.says("How hot?"))
    reply = walk.thread.send("95 °C", reply_to=quoted)
    quote = walk.alice.wait("onMessage", msgServerId=reply.id)["ext"]["msgQuote"]
    assert (quote["msgID"], quote["msgPreview"], quote["msgSender"]) == (quoted.id, "How hot?", "alice")


@step
def _(walk: Walk) -> None:
    """Each mentions the other, and Alice mentions everybody."""
    assert heard(walk.bob, walk.says("@bob?", ext={"em_at_list": ["bob"]})).mentions == ("bob",)
    assert heard(walk.bob, walk.says("@ALL!", ext={"em_at_list": "ALL"})).mentions == (imkit.ALL,)
    sent = walk.thread.send("@alice!", mention="alice")
    assert walk.alice.wait("onMessage", msgServerId=sent.id)["ext"]["em_at_list"] == ["alice"]


@step
def _(walk: Walk) -> None:
    """Alice adds a reaction, and Bob is told."""
    walk.liked = walk.thread.send("Who wants more?").id
    walk.alice.wait("onMessage", msgServerId=walk.liked)
    walk.alice.call("chat.addReaction", {"messageId": walk.liked, "reaction": "🍵"})
    change = reacted(walk.bob, walk.liked, "added")
    assert (change.by, change.reaction, change.count, change.to) == ("alice", "🍵", 1, walk.oolong)


@step
def _(walk: Walk) -> None:
    """Bob and Carol add the same reaction, and Alice is told who."""
    for session in (walk.bob, walk.carol):
        session.thread(walk.oolong).react(walk.liked, "🍵")
    change = walk.alice.wait(
        "onReactionChanged", lambda event: event["messageId"] == walk.liked and event["reactions"][0]["count"] == 3
    )
    assert (change["conversationId"], change["conversationType"]) == (walk.oolong, "groupChat")
    assert change["reactions"][0]["op"] == [{"operator": "carol", "reactionType": "create"}]


@step
def _(walk: Walk) -> None:
    """Alice lists the reactions of a message, and reads who gave one, page by page."""
    asked = {"messageId": walk.liked, "conversationType": "groupChat", "groupId": walk.tea}
    (listed,) = walk.alice.call("chat.getReactionList", asked)
    (tea,) = listed["reactions"]
    assert (listed["messageId"], tea["reaction"], tea["count"], tea["isAddedBySelf"]) == (walk.liked, "🍵", 3, True)
    users, cursor = [], ""
    for _ in range(3):
        detail = {"messageId": walk.liked, "reaction": "🍵", "pageSize": 1, "cursor": cursor}
        page = walk.alice.call("chat.getReactionDetail", detail)
        users += [user["userId"] for user in page["reactionUsers"]]
        cursor = page["cursor"]
    assert (sorted(users), cursor) == (["alice", "bob", "carol"], "")


@step
def _(walk: Walk) -> None:
    """The same reaction a second time is refused."""
    assert refused(walk.alice, "chat.addReaction", {"messageId": walk.liked, "reaction": "🍵"}).type


@step
def _(walk: Walk) -> None:
    """Alice takes her reaction back, and Bob is told; the history shows the others' reactions."""
    walk.alice.call("chat.removeReaction", {"messageId": walk.liked, "reaction": "🍵"})
    change = reacted(walk.bob, walk.liked, "removed")
    assert (change.by, change.count) == ("alice", 2)
    asked = {**in_thread(walk.oolong), "searchDirection": "up", "pageSize": 50, "senderIds": ["bob"]}
    found = walk.alice.call("chat.getHistoryMessages", asked)["items"]
    (message,) = [message for message in found if message["msgServerId"] == walk.liked]
    (tea,) = message["reactions"]
    assert (tea["reaction"], tea["count"], tea.get("isAddedBySelf", False)) == ("🍵", 2, False)


def reacted(session: imkit.Session, message_id: str, operation: str) -> imkit.ReactionChanged:
    """Return a change of a message's reactions that a session hears of, or has heard of."""
    wanted = (message_id, operation)
    changes = session.events(imkit.ReactionChanged)
    change = changes.next(timeout=WAIT, where=lambda event: (event.message_id, event.operation) == wanted)
    assert isinstance(change, imkit.ReactionChanged)
    return change


# ---------------------------------------------------------------- users


@step
def _(walk: Walk) -> None:
    """Alice gives herself a nickname and an avatar, and Bob reads them."""
    mine = {"nickname": "爱丽丝 Alice", "avatarUrl": "https://example.com/a.png"}
    walk.alice.call("userInfo.updateOwnInfo", mine)
    alice = walk.bob.users(["alice"])["alice"]
    assert (alice.nickname, alice.avatar_url) == (mine["nickname"], mine["avatarUrl"])


@step
def _(walk: Walk) -> None:
    """Bob gives himself a nickname, and Alice reads it, also with the members of the group."""
    walk.bob.update_profile(nickname="Bob 鲍勃")
    (bob,) = walk.alice.call("userInfo.getUserInfoByUserId", {"userIds": ["bob"]})
    assert (bob["userId"], bob["nickname"]) == ("bob", "Bob 鲍勃")
    members = walk.alice.call("group.getGroupMemberList", {"groupId": walk.tea, "pageSize": 20})["items"]
    assert {member["user"]["userId"]: member["user"].get("nickname") for member in members}["bob"] == "Bob 鲍勃"


@step
def _(walk: Walk) -> None:
    """Alice mutes Bob: he may not write, and knows why; then she ends it."""
    walk.alice.call("group.muteGroupMembers", {"groupId": walk.tea, "userIds": ["bob"], "muteDuration": 600_000})
    assert walk.bob.group(walk.tea).is_muted()
    assert walk.alice.call("group.checkIfInGroupMuteList", {"groupId": walk.tea}) is False
    try:
        walk.thread.send("Am I heard?")
    except imkit.Muted:
        walk.alice.call("group.unmuteGroupMembers", {"groupId": walk.tea, "userIds": ["bob"]})
    assert not walk.bob.group(walk.tea).is_muted()
    walk.thread.send("I am.")


# ---------------------------------------------------------------- history


@step
def _(walk: Walk) -> None:
    """Alice and Bob read the same history of the thread, in both directions."""
    for direction, order in (("down", "oldest"), ("up", "newest")):
        asked = {**in_thread(walk.oolong), "pageSize": 7, "searchDirection": direction}
        found = all_pages(walk.alice, "chat.getHistoryMessages", **asked)
        ids = [message.id for message in walk.thread.messages(order=order)]
        assert [message["msgServerId"] for message in found] == ids
        assert len(ids) > 20
        assert all(message["chatThread"]["parentId"] == walk.tea for message in found)


@step
def _(walk: Walk) -> None:
    """A page has as many messages as were asked for, and ends where the next one begins."""
    asked = {**in_thread(walk.oolong), "searchDirection": "up", "pageSize": 3}
    first = walk.alice.call("chat.getHistoryMessages", asked)
    second = walk.alice.call("chat.getHistoryMessages", {**asked, "cursor": first["cursor"]})
    newest = [message.id for message in walk.thread.messages(order="newest", limit=6)]
    assert [message["msgServerId"] for message in first["items"] + second["items"]] == newest
    assert first["hasMore"]


@step
def _(walk: Walk) -> None:
    """Alice asks for messages of some types."""
    asked = {**in_thread(walk.oolong), "pageSize": 5, "searchDirection": "down", "messageTypes": ["img", "loc"]}
    found = all_pages(walk.alice, "chat.getHistoryMessages", **asked)
    assert {message["type"] for message in found} == {"image", "location"}
    ids = [message.id for message in walk.thread.messages(types=["img", "loc"])]
    assert [message["msgServerId"] for message in found] == ids


@step
def _(walk: Walk) -> None:
    """Alice asks for messages of some senders."""
    walk.carol.thread(walk.oolong).send("from Carol")
    asked = {**in_thread(walk.oolong), "pageSize": 50, "searchDirection": "down"}
    for senders in (["bob"], ["bob", "carol"], ["nobody"]):
        found = all_pages(walk.alice, "chat.getHistoryMessages", **asked, senderIds=senders)
        ids = [message.id for message in walk.thread.messages() if message.sender in senders]
        assert [message["msgServerId"] for message in found] == ids


@step
def _(walk: Walk) -> None:
    """Alice asks for messages of a range of time."""
    whole = list(walk.thread.messages())
    first, last = whole[5], whole[-5]
    times = {"startTime": int(first.time.timestamp() * 1000), "endTime": int(last.time.timestamp() * 1000)}
    for direction in ("down", "up"):
        asked = {**in_thread(walk.oolong), **times, "pageSize": 50, "searchDirection": direction}
        found = all_pages(walk.alice, "chat.getHistoryMessages", **asked)
        between = [message.id for message in whole if first.time <= message.time < last.time]
        expected = between if direction == "down" else between[::-1]
        # A message of the very last millisecond may come or not: docs/protocol.md#roaming-history.
        assert [message["msgServerId"] for message in found if message["timestamp"] < times["endTime"]] == expected


@step
def _(walk: Walk) -> None:
    """Alice asks with all filters at once."""
    since, until = list(walk.thread.messages())[3].time, datetime.now(UTC) + timedelta(minutes=1)
    times = {"startTime": int(since.timestamp() * 1000), "endTime": int(until.timestamp() * 1000)}
    asked = {**in_thread(walk.oolong), **times, "searchDirection": "up", "pageSize": 2}
    found = all_pages(walk.alice, "chat.getHistoryMessages", **asked, messageTypes=["txt"], senderIds=["bob"])
    texts = walk.thread.messages(since, until, types=["txt"], sender="bob", order="newest")
    # On the wire a bundle is a text as well.
    assert [message["msgServerId"] for message in found if message["type"] == "text"] == [text.id for text in texts]


@step
def _(walk: Walk) -> None:
    """An edited message is in the history with its new text and its edits."""
    asked = {**in_thread(walk.oolong), "pageSize": 50, "searchDirection": "up"}
    found = all_pages(walk.alice, "chat.getHistoryMessages", **asked)
    (edited,) = [message for message in found if message["body"].get("content") == "Dong Ding"]
    assert (edited["modifiedInfo"]["operatorId"], edited["modifiedInfo"]["operationCount"]) == ("alice", 1)


@step
def _(walk: Walk) -> None:
    """The parent message in the history of the group shows what the thread is."""
    asked = {**in_thread(walk.tea), "pageSize": 50, "searchDirection": "down"}
    found = all_pages(walk.alice, "chat.getHistoryMessages", **asked)
    (parent,) = [message for message in found if message["msgServerId"] == walk.parent["msgServerId"]]
    overview = parent["chatThreadOverview"]
    assert (overview["chatThreadId"], overview["name"]) == (walk.oolong, "乌龙")
    assert overview["messageCount"] == len(list(walk.thread.messages()))


@step
def _(walk: Walk) -> None:
    """Alice and Bob see the same last message of a thread, also of one without messages."""
    empty = next(thread for thread in walk.bob.group(walk.tea).threads() if thread.name == "topic 0")
    sent = walk.thread.send("the last word")
    asked = {"chatThreadIds": [walk.oolong, empty.id]}
    found = walk.alice.call("chatThread.getChatThreadLastMessageList", asked)["items"]
    last = {item["chatThreadId"]: item["lastMessage"] for item in found}
    assert last[walk.oolong]["msgId"] == sent.id
    assert last[walk.oolong]["body"]["msg"] == "the last word"
    assert not last[empty.id]


@step
def _(walk: Walk) -> None:
    """Alice may not read the history of a thread that she is not in."""
    group = walk.dave.create_group("closed")
    asked = {**in_thread(group.id), "pageSize": 5}
    assert refused(walk.alice, "chat.getHistoryMessages", asked).type == FORBIDDEN


# ---------------------------------------------------------------- delivery


@step
def _(walk: Walk) -> None:
    """Sixty messages that Alice sends at once reach Bob in order, each once."""
    words = [f"cup {number}" for number in range(60)]
    sends = [walk.alice.start_send(walk.oolong, content=text) for text in words]
    ids = [send.result(WAIT)["msgServerId"] for send in sends]
    assert len(set(ids)) == 60
    heard(walk.bob, ids[-1])
    fence = walk.says("fence")
    heard(walk.bob, fence)
    store = walk.bob.events(imkit.MessageReceived)
    texts = []
    for event in store:
        if event.message.id == fence:
            break
        if (event.message.text or "").startswith("cup "):
            texts.append(event.message.text)
    assert texts == words


@step
def _(walk: Walk) -> None:
    """Sixty messages that Bob sends at once reach Alice in order, each once."""
    words = [f"pot {number}" for number in range(60)]
    for text in words:
        walk.thread.send(text)
    fence = walk.thread.send("fence")
    walk.alice.wait("onMessage", msgServerId=fence.id)
    texts = [message["body"]["content"] for message in walk.alice.seen("onMessage", type="text")]
    assert [text for text in texts if text.startswith("pot ")] == words


@step
def _(walk: Walk) -> None:
    """A cut connection is opened again, and brings what was sent meanwhile, once."""
    walk.alice.clear()
    walk.proxy.refuse("alice")
    walk.proxy.cut("alice")
    walk.alice.wait("onConnecting", state="reconnecting")
    sent = [walk.thread.send(f"while cut {number}").id for number in range(3)]
    walk.proxy.accept()
    walk.alice.wait("onConnected")
    fence = walk.thread.send("fence")
    walk.alice.wait("onMessage", msgServerId=fence.id)
    found = [message["msgServerId"] for message in walk.alice.seen("onMessage")]
    assert found == [*sent, fence.id]


@step
def _(walk: Walk) -> None:
    """After the cut Alice can write again."""
    assert heard(walk.bob, walk.says("still here")).text == "still here"


@step
def _(walk: Walk) -> None:
    """Alice closes her page; what is sent then comes when she opens it again, in order and once."""
    walk.alice.leave()
    assert eventually(lambda: online_devices(walk, "alice") == 0)
    sent = [walk.thread.send(f"while away {number}").id for number in range(5)]
    sent.append(walk.thread.send(imkit.Image(PNG, file_name="leaf.png")).id)
    walk.alice.clear()
    walk.alice.show()
    walk.alice.open("alice", pwd=PASSWORD)
    fence = walk.thread.send("fence")
    walk.alice.wait("onMessage", msgServerId=fence.id)
    assert walk.alice.seen("onOfflineMessageSyncStart")
    walk.alice.wait("onOfflineMessageSyncFinish")
    assert [message["msgServerId"] for message in walk.alice.seen("onMessage")] == [*sent, fence.id]


@step
def _(walk: Walk) -> None:
    """What Alice has acknowledged does not come again at the next login."""
    walk.alice.close()
    assert eventually(lambda: online_devices(walk, "alice") == 0)
    sent = walk.thread.send("one more").id
    walk.alice.clear()
    walk.alice.open("alice", pwd=PASSWORD)
    fence = walk.thread.send("fence")
    walk.alice.wait("onMessage", msgServerId=fence.id)
    assert [message["msgServerId"] for message in walk.alice.seen("onMessage")] == [sent, fence.id]


def app_token(walk: Walk) -> str:
    credentials = {"grant_type": "client_credentials", "client_id": "app", "client_secret": walk.sandbox.secret}
    return str(ask(walk.sandbox, "POST", "/token", credentials, "")["access_token"])


def token_for(walk: Walk, user: str, seconds: float) -> str:
    """Return a token that the app server issues."""
    wanted = {"grant_type": "inherit", "username": user, "ttl": seconds}
    return str(ask(walk.sandbox, "POST", "/token", wanted, app_token(walk))["access_token"])


def online_devices(walk: Walk, user: str) -> int:
    """Return how many devices of a user the server holds for online."""
    return len(ask(walk.sandbox, "GET", f"/users/{user}/resources", None, app_token(walk))["data"])


# ---------------------------------------------------------------- a second device


@step
def _(walk: Walk) -> None:
    """Alice logs in on a tablet as well; each device knows the other."""
    walk.tablet = walk.sdk.device(walk.sandbox, deviceId="tablet")
    walk.tablet.open("alice", pwd=PASSWORD)
    assert len(walk.tablet.call("client.getSelfIdsOnOtherPlatform")) == 1
    assert len(walk.alice.call("client.getSelfIdsOnOtherPlatform")) == 1


def tablet(walk: Walk) -> Sdk5Device:
    assert walk.tablet is not None
    return walk.tablet


@step
def _(walk: Walk) -> None:
    """A message of Bob reaches both devices of Alice; a message of one device reaches the other."""
    sent = walk.thread.send("to both")
    for device in (walk.alice, tablet(walk)):
        device.wait("onMessage", msgServerId=sent.id)
    copy = tablet(walk).wait("onMessage", msgServerId=walk.says("from the page"))
    assert (copy["direct"], copy["conversationId"]) == ("SEND", walk.oolong)
    assert copy["chatThread"]["parentId"] == walk.tea


@step
def _(walk: Walk) -> None:
    """What one device does with threads, the other is told."""
    walk.alice.clear()
    parent = walk.alice.send(walk.tea, content="another", thread=False)["msgServerId"]
    named = {"parentId": walk.tea, "name": "new", "messageId": parent}
    made = {"chatThreadId": walk.alice.call("chatThread.createChatThread", named)["chatThreadId"]}
    events = {"threadId": made["chatThreadId"], "parentId": walk.tea}
    tablet(walk).wait("onMultiDeviceThread", operation="THREAD_CREATE", **events)
    walk.alice.call("chatThread.updateChatThreadName", {**made, "name": "newer"})
    tablet(walk).wait("onMultiDeviceThread", operation="THREAD_UPDATE", threadName="newer", **events)
    walk.alice.call("chatThread.leaveChatThread", made)
    tablet(walk).wait("onMultiDeviceThread", operation="THREAD_LEAVE", **events)
    walk.alice.call("chatThread.joinChatThread", made)
    tablet(walk).wait("onMultiDeviceThread", operation="THREAD_JOIN", **events)
    walk.alice.call("chatThread.destroyChatThread", made)
    tablet(walk).wait("onMultiDeviceThread", operation="THREAD_DESTROY", **events)
    assert walk.alice.seen("onMultiDeviceThread") == []


@step
def _(walk: Walk) -> None:
    """A recall and an edit on one device reach the other."""
    edited, recalled = walk.says("to edit"), walk.says("to recall")
    edit = {**in_thread(walk.oolong), "messageId": edited}
    walk.alice.call("modify", "text", {"content": "edited", **in_thread(walk.oolong)}, edit)
    walk.alice.call("chat.recallMessage", {**in_thread(walk.oolong), "messageId": recalled})
    assert tablet(walk).wait("onMessageUpdated", messageId=edited)["message"]["body"]["content"] == "edited"
    tablet(walk).wait("onMessageRecalled", messageId=recalled)


@step
def _(walk: Walk) -> None:
    """A token that ends is told before and after; the tablet is then disconnected, the page is not."""
    short = token_for(walk, "alice", 2)
    tablet(walk).clear()
    walk.alice.clear()
    tablet(walk).call("client.renewToken", short)
    tablet(walk).wait("onTokenWillExpire")
    tablet(walk).wait("onTokenExpired")
    tablet(walk).wait("onDisconnected")
    assert walk.alice.call("client.getConnectionState") == "connected"
    assert walk.alice.seen("onTokenExpired") == []


@step
def _(walk: Walk) -> None:
    """An expired token does not log in."""
    expired = token_for(walk, "alice", 0.001)
    assert refused(tablet(walk), "client.login", {"userId": "alice", "token": expired}).type == TOKEN_EXPIRED


# ---------------------------------------------------------------- conversations, and imkit as Alice's other device


@step
def _(walk: Walk) -> None:
    """Alice logs in on a laptop with imkit; what one device does with threads, the other is told."""
    app = imkit.App(walk.sandbox.app_key, rest_url=walk.sandbox.rest_url, ws_url=walk.sandbox.ws_url)
    walk.laptop = walk.held.enter_context(imkit.login("alice", password=PASSWORD, app=app))
    other = next(thread for thread in walk.bob.group(walk.tea).threads() if thread.name == "topic 1")
    walk.alice.call("chatThread.joinChatThread", {"chatThreadId": other.id})
    changes = walk.laptop.events(imkit.DeviceChanged)
    changes.next(timeout=WAIT, where=lambda event: (event.thread_id, event.operation) == (other.id, "join"))
    walk.laptop.thread(other.id).leave()
    walk.alice.wait("onMultiDeviceThread", operation="THREAD_LEAVE", threadId=other.id)


@step
def _(walk: Walk) -> None:
    """What Alice writes on one device, the other receives."""
    copy = heard(laptop(walk), walk.says("from the page"))
    assert (copy.sender, copy.to) == ("alice", walk.oolong)
    sent = laptop(walk).thread(walk.oolong).send("from the laptop")
    assert walk.alice.wait("onMessage", msgServerId=sent.id)["direct"] == "SEND"


@step
def _(walk: Walk) -> None:
    """Alice clears the unread count of a group in the page, and the laptop is told and agrees."""
    walk.bob.group(walk.tea).send("unread")
    assert eventually(lambda: unread(walk) > 0)
    walk.alice.call("chat.clearConversationUnreadMessageCount", in_thread(walk.tea))
    conversation_changed(walk, walk.tea, "read")
    assert unread(walk) == 0


@step
def _(walk: Walk) -> None:
    """Alice pins, unpins, marks and deletes a conversation in the page, and the laptop is told."""
    coffee = in_thread(walk.coffee)
    walk.alice.call("chat.setConversationPinned", {**coffee, "pinned": True})
    conversation_changed(walk, walk.coffee, "pin")
    pinned = {info.conversation.id: info.pinned_at for info in laptop(walk).conversations()}
    assert pinned[walk.coffee] is not None
    walk.alice.call("chat.setConversationPinned", {**coffee, "pinned": False})
    conversation_changed(walk, walk.coffee, "unpin")
    walk.alice.call("chat.addConversationMark", {"conversations": [coffee], "mark": 3})
    assert conversation_changed(walk, walk.coffee, "mark").mark == 3
    walk.alice.call("chat.removeConversationMark", {"conversations": [coffee], "mark": 3})
    conversation_changed(walk, walk.coffee, "unmark")
    walk.alice.call("chat.deleteConversation", {**coffee, "deleteRoamingMessages": False})
    conversation_changed(walk, walk.coffee, "delete")
    assert walk.coffee not in [info.conversation.id for info in laptop(walk).conversations()]


@step
def _(walk: Walk) -> None:
    """Alice deletes a message for herself: her history lacks it, the laptop is told, Bob keeps it."""
    sent = walk.thread.send("not for her").id
    walk.alice.wait("onMessage", msgServerId=sent)
    walk.alice.call("chat.removeHistoryMessages", {**in_thread(walk.oolong), "messageIds": [sent]})
    asked = {**in_thread(walk.oolong), "pageSize": 5, "searchDirection": "up"}
    found = walk.alice.call("chat.getHistoryMessages", asked)["items"]
    assert sent not in [message["msgServerId"] for message in found]
    assert sent in [message.id for message in walk.thread.messages(order="newest", limit=1)]
    gone = laptop(walk).events(imkit.HistoryForgotten).next(timeout=WAIT, where=lambda event: sent in event.message_ids)
    assert isinstance(gone, imkit.HistoryForgotten)
    assert gone.to == walk.oolong


@step
def _(walk: Walk) -> None:
    """Alice deletes a message for herself on the laptop, and the page is told."""
    sent = walk.thread.send("nor this").id
    walk.alice.wait("onMessage", msgServerId=sent)
    laptop(walk).thread(walk.oolong).forget(sent)
    walk.alice.wait("onMultiDeviceMessageRemoved", lambda event: event["messageIds"] == [sent])


def laptop(walk: Walk) -> imkit.Session:
    assert walk.laptop is not None
    return walk.laptop


def unread(walk: Walk) -> int:
    """Return how many messages of "tea" Alice has not read, as her laptop is told."""
    counts = {info.conversation.id: info.unread for info in laptop(walk).conversations()}
    return counts.get(walk.tea, 0)


def conversation_changed(walk: Walk, conversation: str, operation: str) -> imkit.ConversationChanged:
    """Return what Alice's laptop hears, or has heard, of a change in the list of conversations."""
    wanted = (conversation, operation)
    changes = laptop(walk).events(imkit.ConversationChanged)
    change = changes.next(timeout=WAIT, where=lambda event: (event.conversation_id, event.operation) == wanted)
    assert isinstance(change, imkit.ConversationChanged)
    return change


# ---------------------------------------------------------------- ends


@step
def _(walk: Walk) -> None:
    """Alice leaves Bob's thread; she can no longer write there, and joins again."""
    mocha = {"chatThreadId": walk.mocha}
    walk.alice.call("chatThread.leaveChatThread", mocha)
    assert list(walk.bob.thread(walk.mocha).members()) == ["bob"]
    walk.alice.call("chatThread.joinChatThread", mocha)


@step
def _(walk: Walk) -> None:
    """After the time limit Alice can no longer recall her message in Bob's group."""
    assert walk.early is not None
    last_moment = walk.early.time + timedelta(seconds=RECALL_SECONDS)
    while datetime.now(UTC) <= last_moment:
        eventually(lambda: datetime.now(UTC) > last_moment)
    error = refused(walk.alice, "chat.recallMessage", {**in_thread(walk.mocha), "messageId": walk.early.id})
    assert (error.type, error.message) == (REFUSED, "exceed recall time limit")


@step
def _(walk: Walk) -> None:
    """Bob removes Alice from his thread, and she is told."""
    walk.bob.thread(walk.mocha).remove("alice")
    removed = walk.alice.wait("onChatThreadUserRemoved", chatThreadId=walk.mocha)
    assert removed["parentId"] == walk.coffee
    assert (removed["operatorId"], removed["memberId"]) == ("bob", "alice")


@step
def _(walk: Walk) -> None:
    """Bob destroys his thread, and Alice is told."""
    walk.bob.thread(walk.mocha).destroy()
    destroyed = walk.alice.wait("onChatThreadDestroyed", chatThreadId=walk.mocha)
    assert (destroyed["parentId"], destroyed["operatorId"]) == (walk.coffee, "bob")


@step
def _(walk: Walk) -> None:
    """Alice removes Carol from her thread, and Carol is told."""
    walk.alice.call("chatThread.removeChatThreadMember", {"chatThreadId": walk.oolong, "memberId": "carol"})
    change = told(walk.carol, walk.oolong, "member_removed")
    assert (change.user, change.operator, change.group_id) == ("carol", "alice", walk.tea)


@step
def _(walk: Walk) -> None:
    """Alice destroys her thread: Bob is told, and it is gone."""
    walk.alice.call("chatThread.destroyChatThread", {"chatThreadId": walk.oolong})
    assert told(walk.bob, walk.oolong, "destroy").operator == "alice"
    assert refused(walk.alice, "chatThread.getChatThreadInfo", {"chatThreadId": walk.oolong}).type == NOT_FOUND


@step
def _(walk: Walk) -> None:
    """Alice destroys her group, and the members are told."""
    walk.alice.call("group.destroyGroup", {"groupId": walk.tea})
    for member in (walk.bob, walk.carol):
        group_changed(member, walk.tea, "destroy")
    assert walk.tea not in [group.id for group in walk.bob.groups()]


@step
def _(walk: Walk) -> None:
    """A new password ends the login of the page, and the page does not connect again."""
    token = walk.alice.call("token", "alice", PASSWORD)
    walk.alice.clear()
    ask(walk.sandbox, "PUT", "/users/alice/password", {"newpassword": "another"}, token)
    ended = walk.alice.wait("onDisconnected")
    assert ended["errorCode"] == PASSWORD_CHANGED
