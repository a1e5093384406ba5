"""Order, cut connections, and messages that wait for a user who is away."""

from itertools import takewhile

import imkit
from tests.peer.pictures import PNG
from tests.peer.walk.company import PASSWORD, Steps, Walk, heard, online_devices
from tests.waits import WAIT, eventually

steps = Steps()


@steps.add
def _(walk: Walk) -> None:
    """Sixty messages that Alice sends at once reach Bob in order, each once."""
    words = [f"cup {number}" for number in range(60)]
    sends = [walk.alice.start_send(walk.oolong, content=text) for text in words]
    ids = [send.result(WAIT)["msgServerId"] for send in sends]
    assert len(set(ids)) == 60
    fence = walk.says("fence")
    heard(walk.bob, fence)
    messages = (event.message for event in walk.bob.events(imkit.MessageReceived))
    texts = [message.text or "" for message in takewhile(lambda message: message.id != fence, messages)]
    assert [text for text in texts if text.startswith("cup ")] == words


@steps.add
def _(walk: Walk) -> None:
    """Sixty messages that Bob sends one after another reach Alice in order, each once."""
    words = [f"pot {number}" for number in range(60)]
    for text in words:
        walk.thread.send(text)
    fence = walk.thread.send("fence")
    walk.alice.wait("onMessage", msgServerId=fence.id)
    texts = [message["body"]["content"] for message in walk.alice.seen("onMessage", type="text")]
    assert [text for text in texts if text.startswith("pot ")] == words


@steps.add
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


@steps.add
def _(walk: Walk) -> None:
    """After the cut Alice can write again."""
    assert heard(walk.bob, walk.says("still here")).text == "still here"


@steps.add
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


@steps.add
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
