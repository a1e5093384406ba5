"""`LiveFeed`: what arrives, what the page gets, what the reader can do, and that it is fast enough."""

import io
import time
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from PIL import Image as Picture

import imkit
from imkit.events import MessageReceived
from imkit.portal import portal
from imkit.widgets import LiveFeed
from imkit.widgets.pictures import MAX_SIDE
from tests.waits import WAIT
from tests.widgets.conftest import FakePage, Tea, until


def rows_of(page: FakePage) -> dict[str, dict[str, Any]]:
    """Return the newest version of each row that the page got, by key."""
    rows: dict[str, dict[str, Any]] = {}
    for content in page.received:
        if content["do"] == "rows":
            rows |= {row["key"]: row for row in content["rows"]}
    return rows


@pytest.fixture
def opened(tea: Tea, forms: list[Any]) -> tuple[LiveFeed, FakePage]:
    feed = LiveFeed(tea.bob, tea.bobs_thread, lang="en")
    forms.append(feed)
    page = FakePage(feed.view)
    page.send(do="open")
    return feed, page


def test_it_shows_messages_of_others_own_messages_edits_and_recalls(
    tea: Tea, opened: tuple[LiveFeed, FakePage]
) -> None:
    _, page = opened
    first = tea.thread.send("Dong Ding")
    own = tea.bobs_thread.send("Tie Guan Yin 铁观音")
    edited = tea.thread.send("tpyo")
    tea.thread.edit(edited, "typo")
    oops = tea.thread.send("oops")
    until(lambda: oops.id in rows_of(page))  # a message that is recalled before it is delivered is never delivered
    tea.thread.recall(oops)
    until(lambda: rows_of(page).get(oops.id, {}).get("recalled_by"))
    rows = rows_of(page)
    assert (rows[first.id]["text"], rows[first.id].get("own")) == ("Dong Ding", None)
    assert (rows[own.id]["text"], rows[own.id]["own"]) == ("Tie Guan Yin 铁观音", True)
    assert 100_000 < rows[own.id]["recall_ms"] <= 120_000
    assert (rows[edited.id]["text"], rows[edited.id]["edit_count"]) == ("typo", 1)
    assert (rows[oops.id]["text"], rows[oops.id]["recalled_by"]) == ("oops", tea.alice.user)
    until(lambda: page.last("header").get("parent"))
    assert page.last("header")["parent"]["text"] == "Which oolong?"
    assert page.last("header")["name"] == "Oolong"


def test_a_page_opened_later_gets_all_rows_and_the_history(tea: Tea, forms: list[Any]) -> None:
    sent = [tea.thread.send(f"number {number}").id for number in range(3)]
    feed = LiveFeed(tea.alice, tea.thread, lang="en")
    forms.append(feed)
    page = FakePage(feed.view)
    until(lambda: len(feed._rows) == 3)
    assert page.received == []  # no page is open
    page.send(do="open")
    until(lambda: page.last("rows").get("reset"))
    assert [row["key"] for row in page.last("rows")["rows"]] == sent


def test_a_feed_has_what_its_session_sent_before_and_earlier_pages(
    tea: Tea, forms: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imkit.widgets.feed.PAGE_SIZE", 3)
    sent = [side.send(f"number {number}").id for number in range(4) for side in (tea.bobs_thread, tea.thread)]
    events = tea.alice.events(imkit.MessageReceived)
    events.next(timeout=WAIT, where=lambda event: event.message.id == sent[-2])
    feed = LiveFeed(tea.alice, tea.thread, lang="en")  # of its own messages it gets no events
    forms.append(feed)
    page = FakePage(feed.view)
    page.send(do="open")
    until(lambda: sent[-1] in rows_of(page))
    while page.last("header")["earlier"]:
        count = len(page.received)
        page.send(do="earlier")
        until(lambda: any(each["do"] == "header" for each in page.received[count:]))  # noqa: B023  # used at once
    until(lambda: sorted(rows_of(page)) == sent)


def test_the_reader_can_recall_and_edit_own_messages(tea: Tea, opened: tuple[LiveFeed, FakePage]) -> None:
    _, page = opened
    events = tea.alice.events(imkit.MessageRecalled, imkit.MessageEdited)
    one, two = tea.bobs_thread.send("one"), tea.bobs_thread.send("two")
    until(lambda: two.id in rows_of(page))
    page.send(do="edit", key=one.id, text="one, edited")
    page.send(do="recall", key=two.id)
    until(lambda: rows_of(page)[two.id].get("recalled_by") and rows_of(page)[one.id].get("edit_count"))
    assert {type(events.next(timeout=10)) for _ in range(2)} == {imkit.MessageRecalled, imkit.MessageEdited}


def test_a_refused_recall_is_shown(tea: Tea, opened: tuple[LiveFeed, FakePage]) -> None:
    feed, page = opened
    theirs = tea.thread.send("mine, not Bob's")
    until(lambda: theirs.id in rows_of(page))
    page.send(do="recall", key=theirs.id)
    until(lambda: feed.status.tone == "bad")
    assert page.last("done")["key"] == theirs.id  # the page enables its button again
    page.send(do="recall", key="no such thing")
    page.send(do=7)


def test_pictures_are_sent_as_bytes_files_are_saved_bundles_are_unpacked(
    tea: Tea, opened: tuple[LiveFeed, FakePage], monkeypatch: pytest.MonkeyPatch
) -> None:
    feed, page = opened
    drawn = io.BytesIO()
    Picture.new("RGB", (900, 300), "#8a5a2b").save(drawn, "PNG")
    cup = tea.thread.send(imkit.Image(drawn.getvalue(), file_name="../<cup>.png"))
    foreign = tea.thread.send(imkit.Image(url="http://10.0.0.1/x.png", file_name="x.png"))
    bundle = tea.thread.send(imkit.Combine("talk", [tea.thread.send("inner")]))
    until(lambda: bundle.id in rows_of(page))
    for picture in (cup, foreign):
        page.send(do="picture", key=picture.id)
    until(lambda: sum(content["do"] == "picture" for content in page.received) == 2)
    messages = list(zip(page.received, page.buffers, strict=True))
    ((content, buffers),) = [(one, data) for one, data in messages if "media_type" in one]
    assert content["key"] == cup.id
    with Picture.open(io.BytesIO(buffers[0])) as shown:
        assert (content["media_type"], shown.size[0]) == ("image/jpeg", MAX_SIDE)
    refused = next(one for one in page.received if one["do"] == "picture" and one["key"] == foreign.id)
    assert "not at the app's own server" in refused["error"]
    page.send(do="download", key=cup.id)
    until(lambda: "downloads" in feed.status.text)
    page.send(do="unpack", key=bundle.id)
    until(lambda: page.last("unpacked"))
    assert [row["text"] for row in page.last("unpacked")["rows"]] == ["inner"]


def test_a_burst_reaches_the_page_in_few_updates_of_changed_rows(tea: Tea, opened: tuple[LiveFeed, FakePage]) -> None:
    feed, page = opened
    until(lambda: page.last("header"))
    template = tea.thread.send("template")
    until(lambda: template.id in rows_of(page))
    page.received.clear()
    began = time.monotonic()
    at = datetime.now(UTC)
    for number in range(2_000):
        one = replace(template, id=str(int(template.id) + 1 + number), time=at)
        portal().run(partial(feed._take_event, MessageReceived(one)))
    until(lambda: len(rows_of(page)) == 2_000)
    updates = [content for content in page.received if content["do"] == "rows"]
    assert sum(len(content["rows"]) for content in updates) == 2_000
    assert len(updates) <= (time.monotonic() - began) * 5 + 3
