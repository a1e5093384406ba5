"""Roaming history: the request for one page, and how a chain of pages ends."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import imkit
from imkit.client.roaming import PAGE_SIZE, PageChain, Query, RoamingPage, fetch_page
from imkit.portal import portal
from tests.client.rest_stand_in import rest_at
from tests.stand_ins import Answer, roamed, text_meta


def page(*entries: bytes, cursor: str | int | None = "next", is_last: bool = False) -> RoamingPage:
    return RoamingPage(list(entries), cursor, is_last, is_empty=not entries)


def full_page(name: str, cursor: str) -> RoamingPage:
    return page(*(f"{name} {number}".encode() for number in range(PAGE_SIZE)), cursor=cursor)


# ---------------------------------------------------------------------- PageChain


def test_a_chain_begins_at_minus_one_and_takes_the_cursor_of_each_page() -> None:
    chain = PageChain(Query(), newest_first=True)
    cursors = [chain.cursor]
    for number in range(3):
        chain.follow(full_page(f"page {number}", f"cursor {number}"))
        cursors.append(chain.cursor)
    assert cursors == [-1, "cursor 0", "cursor 1", "cursor 2"]
    assert not chain.is_over


@pytest.mark.parametrize(
    "last", [page(b"m", is_last=True), page(), page(b"m", cursor=None), page(b"m", cursor=None, is_last=True)]
)
def test_a_last_page_an_empty_page_and_no_cursor_end_a_chain(last: RoamingPage) -> None:
    chain = PageChain(Query(), newest_first=True)
    chain.follow(full_page("first", "a"))
    chain.follow(last)
    assert (chain.is_over, chain.is_stuck) == (True, False)


def test_a_short_page_with_a_used_cursor_is_the_end() -> None:
    chain = PageChain(Query(), newest_first=True)
    chain.follow(full_page("first", "a"))
    chain.follow(page(b"m1", b"m2", cursor="a"))
    assert (chain.is_over, chain.is_stuck) == (True, False)


def test_a_full_page_with_a_used_cursor_is_stuck() -> None:
    chain = PageChain(Query(), newest_first=True)
    chain.follow(full_page("first", "a"))
    chain.follow(full_page("second", "a"))
    assert (chain.is_over, chain.is_stuck) == (True, True)


def test_the_same_page_again_is_stuck_unless_it_is_one_message() -> None:
    for entries, is_stuck in (((b"m1", b"m2"), True), ((b"m1",), False)):
        chain = PageChain(Query(), newest_first=True)
        chain.follow(page(*entries, cursor="a"))
        chain.follow(page(*entries, cursor="b"))
        assert (chain.is_over, chain.is_stuck) == (True, is_stuck)


PAGES = st.builds(
    lambda entries, cursor, is_last: page(*entries, cursor=cursor, is_last=is_last),
    st.lists(st.binary(min_size=1, max_size=1), max_size=3),
    st.one_of(st.none(), st.integers(0, 3), st.sampled_from(["", "a", "b", "c"])),
    st.booleans(),
)


@given(pages=st.lists(PAGES, min_size=10, max_size=20))
def test_no_cursor_is_used_twice_and_each_chain_ends(pages: list[RoamingPage]) -> None:
    chain = PageChain(Query(), newest_first=False)
    used: list[Any] = []
    for following in pages:
        if chain.is_over:
            break
        used.append(chain.cursor)
        chain.follow(following)
    assert len(used) == len(set(used))
    assert chain.is_over  # there are fewer cursors than pages
    assert used[0] == -1


# ---------------------------------------------------------------------- fetch_page


def fetch(wanted: Query, cursor: str | int = -1, newest_first: bool = False) -> tuple[RoamingPage, dict[str, Any]]:
    """Fetch a page; return it and the body of the request."""
    data = {"msgs": roamed(text_meta(1, "Oolong"), "no base64"), "is_last": False, "next_key": "7"}
    with rest_at(lambda _: Answer(200, {"data": data})) as (rest, server):
        found = portal().call(fetch_page(rest, "alice", "42", wanted, cursor, newest_first))
        [asked] = server.asked
    assert (asked.method, asked.path) == ("POST", "/org/app/users/alice/messageroaming")
    return found, asked.json


def test_the_request_for_a_first_page() -> None:
    found, body = fetch(Query())
    assert body == {
        "queue": "42@conference.easemob.com",
        "start": -1,
        "end": -1,
        "pull_number": 50,
        "is_positive": True,
        "msgType": "",
        "startTime": None,
        "endTime": None,
        "userId": None,
    }
    assert [message.text for message in found.messages] == ["Oolong", None]
    assert (found.cursor, found.is_last, found.is_empty) == ("7", False, False)


def test_the_request_carries_the_filters_the_cursor_and_the_direction() -> None:
    types = frozenset({"img", "combine", "audio", "txt"})
    _, body = fetch(Query(types=types, sender="bob"), cursor="7", newest_first=True)
    assert (body["start"], body["is_positive"], body["userId"]) == ("7", False, "bob")
    assert body["msgType"] == "audio,img,txt"  # a bundle has the type txt on the wire


@pytest.mark.parametrize(
    ("since", "until", "start", "end"),
    [(1_000, 2_000, 999, 2_001), (None, 2_000, 0, 2_001), (0, 2_000, 0, 2_001), (1, 2, 0, 3)],
)
def test_the_times_of_a_request_are_widened_by_a_millisecond(
    since: int | None, until: int, start: int, end: int
) -> None:
    _, body = fetch(Query(since=since, until=until))
    assert (body["startTime"], body["endTime"]) == (start, end)


def test_an_open_end_is_a_time_in_the_far_future() -> None:
    _, body = fetch(Query(since=1_000))
    assert body["startTime"] == 999
    assert body["endTime"] > 4_000_000_000_000  # whatever this machine's clock says


def test_an_answer_that_is_not_a_page_names_the_conversation() -> None:
    with rest_at(lambda _: Answer(200, {"nothing": []})) as (rest, _):
        with pytest.raises(imkit.ProtocolError, match="the history of 42") as caught:
            portal().call(fetch_page(rest, "alice", "42", Query(), -1, True))
    assert caught.value.status == 200


# --------------------------------------------------------------------------- Query


@given(moment=st.integers(0, 10), since=st.none() | st.integers(0, 10), until=st.none() | st.integers(0, 10))
def test_since_is_inclusive_and_until_is_exclusive(moment: int, since: int | None, until: int | None) -> None:
    is_inside = moment in range(0 if since is None else since, 11 if until is None else until)
    assert Query(since=since, until=until).holds(moment) is is_inside
