"""Notices, pages, keys and devices: fact sheet section 3, and the house's rules about device queues."""

from typing import Any

from imkit.sandbox.process import Sandbox
from imkit.wire import schema
from tests.sandbox.server.raw_client import (
    ROOMS,
    SYNC,
    Device,
    TeaGroup,
    close_everything,
    frame,
    is_text,
    new_name,
    texts,
)


def queue(sandbox: Sandbox, name: str) -> Any:
    return schema.JID(appKey=sandbox.app_key, name=name, domain=ROOMS)


def page(device: Device) -> Any:
    return schema.CommSyncDL.FromString(device.next(SYNC).payload)


def test_a_queue_is_announced_fetched_acknowledged_and_then_empty(tea: TeaGroup, sandbox: Sandbox) -> None:
    bob = Device(sandbox, tea.bob.user, resource="tablet", acknowledge=False)
    sent = tea.alice.send(tea.thread, "one")
    where = queue(sandbox, tea.thread)
    bob.fetch(where)
    first = page(bob)
    assert [meta.id for meta in first.metas] == [sent]
    assert first.nextKey == sent
    assert not first.isLast
    # Without a key nothing is acknowledged: it comes again.
    bob.fetch(where)
    assert [meta.id for meta in page(bob).metas] == [sent]
    bob.fetch(where, sent)
    last = page(bob)
    assert (last.isLast, list(last.metas), last.queue.name) == (True, [], tea.thread)
    bob.fetch(where)
    assert page(bob).isLast
    assert sorted(bob.notices) == sorted([tea.thread, "sys"])


def test_a_queue_is_announced_once_until_it_is_drained_or_unread_names_it(tea: TeaGroup, sandbox: Sandbox) -> None:
    bob = Device(sandbox, tea.bob.user, resource="tablet", acknowledge=False)
    sent = [tea.alice.send(tea.thread, f"{number}") for number in range(5)]
    reply = bob.ask_unread()
    assert bob.notices.count(tea.thread) == 1
    assert {each.queue.name: each.n for each in reply.unread} == {tea.thread: 5, "sys": 5}
    # An acknowledgement of a part leaves the rest, without a new notice.
    bob.fetch(queue(sandbox, tea.thread), sent[2])
    assert [meta.id for meta in page(bob).metas] == sent[3:]
    bob.fetch(queue(sandbox, tea.thread), sent[4])
    assert page(bob).isLast
    tea.alice.send(tea.thread, "more")
    bob.ask_unread()
    assert bob.notices.count(tea.thread) == 2


def test_long_queues_come_in_pages_in_order_and_once(tea: TeaGroup, sandbox: Sandbox) -> None:
    tea.bob.settle()
    tea.bob.leave()
    numbers = [tea.alice.post(tea.thread, text) for text in map(body, range(250))]
    ids = [tea.alice.reply_to(number).serverId for number in numbers]
    assert ids == sorted(set(ids))
    bob = Device(sandbox, tea.bob.user)
    bob.until(is_text("249"))
    bob.settle()
    assert [meta.id for meta in bob.metas if meta.ns == 1] == ids
    assert max(len(each.metas) for each in bob.pages) <= 100
    bob.leave()
    again = Device(sandbox, tea.bob.user)
    assert not again.ask_unread().unread


def body(number: int) -> Any:
    return schema.MessageBody(type=2, contents=[schema.Content(type=0, text=str(number))])


def test_what_was_not_acknowledged_comes_again_after_a_cut(tea: TeaGroup, sandbox: Sandbox) -> None:
    tea.bob.settle()
    tea.bob.acknowledge = False
    tea.alice.send(tea.thread, "once")
    tea.bob.ask_unread()
    tea.bob.cut()
    back = Device(sandbox, tea.bob.user)
    back.until(is_text("once"))
    back.settle()
    assert texts(back.metas) == ["once"]
    back.leave()
    assert texts(Device(sandbox, tea.bob.user).metas) == []


def test_each_device_has_its_own_queue_and_a_new_one_gets_what_nobody_acknowledged(
    tea: TeaGroup, sandbox: Sandbox
) -> None:
    """Two devices, one acknowledges, the other is cut and returns: it gets the message; a third, new one does not."""
    phone = tea.bob
    tablet = Device(sandbox, tea.bob.user, resource="tablet", acknowledge=False)
    tea.alice.send(tea.thread, "to both")
    phone.until(is_text("to both"))
    phone.settle()
    tablet.ask_unread()
    tablet.cut()
    third = Device(sandbox, tea.bob.user, resource="third")
    third.settle()
    assert texts(third.metas) == []
    tablet = Device(sandbox, tea.bob.user, resource="tablet")
    tablet.until(is_text("to both"))
    tablet.settle()
    assert texts(tablet.metas) == ["to both"]


def test_with_nobody_online_the_first_to_come_takes_all(tea: TeaGroup, sandbox: Sandbox) -> None:
    tea.bob.settle()
    tea.bob.leave()
    tea.alice.send(tea.thread, "while away")
    first = Device(sandbox, tea.bob.user, resource="new")
    first.until(is_text("while away"))
    first.settle()
    first.leave()
    second = Device(sandbox, tea.bob.user, resource="phone")
    second.settle()
    assert texts(second.metas) == []


def test_the_senders_other_devices_get_a_copy_and_the_sending_one_none(tea: TeaGroup, sandbox: Sandbox) -> None:
    tablet = Device(sandbox, tea.alice.user, resource="tablet")
    tea.alice.send(tea.thread, "mine")
    tablet.until(is_text("mine"))
    tea.alice.settle()
    assert "mine" not in texts(tea.alice.metas)


def test_online_only_messages_are_for_those_who_are(tea: TeaGroup, sandbox: Sandbox) -> None:
    tea.alice.send(tea.thread, "now", routetype=1)
    tea.bob.until(is_text("now"))
    tea.bob.settle()
    tea.bob.leave()
    tea.alice.send(tea.thread, "missed", routetype=1)
    tea.alice.send(tea.thread, "kept")
    back = Device(sandbox, tea.bob.user)
    back.until(is_text("kept"))
    back.settle()
    assert texts(back.metas) == ["kept"]


def test_pages_can_come_unasked() -> None:
    with Sandbox(push=True) as sandbox:
        tea = TeaGroup(sandbox)
        for device in (tea.alice, tea.bob):
            device.settle()
            device.notices.clear()
        for number in range(30):
            tea.alice.send(tea.thread, f"push {number}")
        tea.bob.until(is_text("push 29"))
        tea.bob.settle()
        assert texts(tea.bob.metas)[-30:] == [f"push {number}" for number in range(30)]
        assert tea.bob.notices == []
        close_everything()


def test_a_slow_reader_gets_everything_and_holds_nobody_up(tea: TeaGroup, sandbox: Sandbox) -> None:
    """It asks for the same long page again and again and reads nothing: its own frames wait, and only its own."""
    slow = Device(sandbox, tea.bob.user, resource="slow", acknowledge=False)
    long = "x" * 4000
    numbers = [tea.alice.post(tea.thread, schema.MessageBody(contents=[schema.Content(text=long)])) for _ in range(100)]
    for number in numbers:
        tea.alice.reply_to(number)
    asks = 40
    for _ in range(asks):
        slow.fetch(queue(sandbox, tea.thread))
    tea.alice.send(tea.thread, "meanwhile")
    tea.bob.until(is_text("meanwhile"))
    pages = [page(slow) for _ in range(asks)]
    # A page ends early when it grows large.
    assert {len(each.metas) for each in pages} == {len(pages[0].metas)}
    assert 200_000 < pages[0].ByteSize() < 300_000


def test_user_names_and_queue_names_do_not_depend_on_case(tea: TeaGroup, sandbox: Sandbox) -> None:
    name = new_name("Mixed")
    tea.alice.api.ok("GET", f"/users/{Device(sandbox, name).user.upper()}")
    bob = Device(sandbox, tea.bob.user, resource="caps", acknowledge=False)
    sent = tea.alice.send(tea.thread.upper(), "to capitals")
    bob.fetch(queue(sandbox, tea.thread))
    assert [meta.id for meta in page(bob).metas] == [sent]


def test_a_raw_unread_of_a_stranger_is_empty(sandbox: Sandbox) -> None:
    device = Device(sandbox, new_name())
    device.socket.send(frame(SYNC, schema.CommSyncUL(queue=queue(sandbox, "12345"), key=99)))
    assert page(device).isLast
    assert not device.ask_unread().unread
