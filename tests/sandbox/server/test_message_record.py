"""The message record: pages of a conversation."""

from hypothesis import given
from hypothesis import strategies as st

from imkit.sandbox.server.message_record import MessageRecord
from imkit.sandbox.server.store import ID_BITS, Store


@given(
    times=st.lists(st.integers(0, 30), max_size=40),
    limit=st.integers(1, 7),
    newest_first=st.booleans(),
    since=st.none() | st.integers(-1, 31),
    until=st.none() | st.integers(-1, 31),
    kinds=st.sets(st.sampled_from(["txt", "img", "combine"])),
)
def test_pages_are_slices_of_the_filtered_list(
    times: list[int], limit: int, newest_first: bool, since: int | None, until: int | None, kinds: set[str]
) -> None:
    begin = 10**12
    store = Store(None)
    record = MessageRecord(store)
    names = ["txt", "img", "combine"]
    rows = [
        ((begin + time << ID_BITS) + number, "21", "alice", names[number % 3], b"%d" % number)
        for number, time in enumerate(sorted(times))
    ]
    with store.transaction():
        record.add_many(rows)
        record.add(store.new_id(), "22", "alice", "txt", b"elsewhere")
    wanted = kinds | ({"combine"} if "txt" in kinds else set())
    expected = [
        (row[0], row[4])
        for row in rows
        if (since is None or row[0] >> ID_BITS >= begin + since)
        and (until is None or row[0] >> ID_BITS <= begin + until)
        and (not wanted or row[3] in wanted)
    ]
    found, after = [], None
    while True:
        page = record.page(
            "21",
            limit=limit,
            newest_first=newest_first,
            after=after,
            since=None if since is None else begin + since,
            until=None if until is None else begin + until,
            kinds=kinds,
        )
        found += page.messages
        if page.is_last:
            break
        after = int(page.next_key)
    assert found == (expected[::-1] if newest_first else expected)


def test_twenty_thousand_messages_are_added_at_once() -> None:
    """The demo community adds its messages so."""
    store = Store(None)
    with store.transaction():
        rows = ((store.new_id(), "21", "alice", "txt", b"x" * 200) for _ in range(20_000))
        MessageRecord(store).add_many(rows)
    assert len(MessageRecord(store).page("21", limit=50, newest_first=True).messages) == 50
