"""The live feed: what comes, what is sent to the page, what the reader can do, and that it keeps up."""

import io
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from PIL import Image as Picture

import imkit
from imkit.events import MessageRecalled, MessageReceived
from imkit.portal import portal
from imkit.times import from_milliseconds
from imkit.widgets import LiveFeed
from imkit.widgets.feed_rows import KEPT, Rows, as_row
from imkit.widgets.pictures import SIDE, drawn_anew
from tests.widgets.conftest import Page, Tea, until


def message(number: int, text: str = "tea?", sender: str = "alice") -> imkit.Message:
    body = imkit.Text(text)
    return imkit.Message(str(10**18 + number), sender, "42", from_milliseconds(1_795_390_000_000 + number), body)


def rows_of(page: Page) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for told in page.told:
        if told["do"] == "rows":
            found |= {row["key"]: row for row in told["rows"]}
    return found


@pytest.fixture
def opened(tea: Tea, forms: list[Any]) -> tuple[LiveFeed, Page]:
    feed = LiveFeed(tea.bob, tea.at_bob, lang="en")
    forms.append(feed)
    page = Page(feed.view)
    page.say(do="open")
    return feed, page


def test_it_shows_what_comes_what_was_there_and_what_the_session_sends_itself(
    tea: Tea, opened: tuple[LiveFeed, Page]
) -> None:
    _, page = opened
    first = tea.thread.send("Dong Ding")
    own = tea.at_bob.send("Tie Guan Yin 铁观音")
    edited = tea.thread.send("tpyo")
    tea.thread.edit(edited, "typo")
    oops = tea.thread.send("oops")
    tea.thread.recall(oops)
    until(lambda: rows_of(page).get(oops.id, {}).get("recalled"))
    found = rows_of(page)
    assert (found[first.id]["text"], found[first.id].get("own")) == ("Dong Ding", None)
    assert (found[own.id]["text"], found[own.id]["own"]) == ("Tie Guan Yin 铁观音", True)
    assert 100_000 < found[own.id]["left"] <= 120_000
    assert (found[edited.id]["text"], found[edited.id]["edited"]) == ("typo", 1)
    assert (found[oops.id]["text"], found[oops.id]["recalled"]) == ("oops", tea.alice.user)
    until(lambda: page.last("head").get("parent"))
    assert page.last("head")["parent"]["text"] == "Which oolong?"
    assert page.last("head")["name"] == "Oolong"


def test_a_page_that_comes_later_gets_everything_and_the_history(tea: Tea, forms: list[Any]) -> None:
    said = [tea.thread.send(f"number {number}").id for number in range(3)]
    feed = LiveFeed(tea.alice, tea.thread, lang="en")
    forms.append(feed)
    page = Page(feed.view)
    until(lambda: len(feed._rows) == 3)
    assert page.told == []  # nobody looks
    page.say(do="open")
    until(lambda: page.last("rows").get("anew"))
    assert [row["key"] for row in page.last("rows")["rows"]] == said


def test_the_reader_recalls_and_edits(tea: Tea, opened: tuple[LiveFeed, Page]) -> None:
    _, page = opened
    heard = tea.alice.events(imkit.MessageRecalled, imkit.MessageEdited)
    one, two = tea.at_bob.send("one"), tea.at_bob.send("two")
    until(lambda: two.id in rows_of(page))
    page.say(do="edit", key=one.id, text="one, edited")
    page.say(do="recall", key=two.id)
    until(lambda: rows_of(page)[two.id].get("recalled") and rows_of(page)[one.id].get("edited"))
    assert {type(heard.next(timeout=10)) for _ in range(2)} == {imkit.MessageRecalled, imkit.MessageEdited}


def test_a_refused_recall_is_said(tea: Tea, opened: tuple[LiveFeed, Page]) -> None:
    feed, page = opened
    theirs = tea.thread.send("mine, not Bob's")
    until(lambda: theirs.id in rows_of(page))
    page.say(do="recall", key=theirs.id)
    until(lambda: feed.status.tone == "bad")
    assert page.last("done")["key"] == theirs.id  # its button is on again
    page.say(do="recall", key="no such thing")
    page.say(do=7)


def test_pictures_come_as_bytes_files_are_saved_bundles_open(
    tea: Tea, opened: tuple[LiveFeed, Page], monkeypatch: pytest.MonkeyPatch
) -> None:
    feed, page = opened
    drawn = io.BytesIO()
    Picture.new("RGB", (900, 300), "#8a5a2b").save(drawn, "PNG")
    cup = tea.thread.send(imkit.Image(drawn.getvalue(), file_name="../<cup>.png"))
    foreign = tea.thread.send(imkit.Image(url="http://10.0.0.1/x.png", file_name="x.png"))
    bundle = tea.thread.send(imkit.Combine("talk", [tea.thread.send("inner")]))
    until(lambda: bundle.id in rows_of(page))
    for what in (cup, foreign):
        page.say(do="picture", key=what.id)
    until(lambda: sum(told["do"] == "picture" for told in page.told) == 2)
    answers = {told["key"]: (told, sent) for told, sent in zip(page.told, page.buffers, strict=True) if "kind" in told}
    told, buffers = answers[cup.id]
    with Picture.open(io.BytesIO(buffers[0])) as shown:
        assert (told["kind"], shown.size[0]) == ("image/jpeg", SIDE)
    refused = next(told for told in page.told if told["do"] == "picture" and told["key"] == foreign.id)
    assert "not at the app's own server" in refused["why"]
    page.say(do="download", key=cup.id)
    until(lambda: "downloads" in feed.status.text)
    page.say(do="unpack", key=bundle.id)
    until(lambda: page.last("unpacked"))
    assert [row["text"] for row in page.last("unpacked")["rows"]] == ["inner"]


def test_bursts_come_in_few_paints_and_only_what_changed(tea: Tea, opened: tuple[LiveFeed, Page]) -> None:
    feed, page = opened
    until(lambda: page.last("head"))
    template = tea.thread.send("template")
    until(lambda: template.id in rows_of(page))
    page.told.clear()
    began = time.monotonic()
    at = datetime.now(UTC)
    for number in range(2_000):
        one = replace(template, id=str(int(template.id) + 1 + number), time=at)
        portal().run(lambda one=one: feed._take(MessageReceived(one)))
    until(lambda: len(rows_of(page)) == 2_000)
    paints = [told for told in page.told if told["do"] == "rows"]
    assert sum(len(told["rows"]) for told in paints) == 2_000
    assert len(paints) <= (time.monotonic() - began) * 5 + 3


def test_rows_are_sorted_bounded_and_told_once() -> None:
    rows = Rows("alice")
    rows.add(message(number) for number in range(KEPT + 500))
    assert len(rows) == KEPT
    told = rows.delta()
    assert (len(told["rows"]), told["first"][1]) == (KEPT, str(10**18 + 500))
    assert not rows.dirty
    rows.add([message(3), message(700)])  # too old, and known
    assert not rows.dirty
    rows.edit(replace(message(700), body=imkit.Text("now"), edit_count=1))
    rows.recall(MessageRecalled(str(10**18 + 900), "42", "bob", datetime.now(UTC)))
    assert [row["key"] for row in rows.delta()["rows"]] == [str(10**18 + 700), str(10**18 + 900)]
    assert len(rows.everything()["rows"]) == KEPT
    rows.recall(MessageRecalled("2" * 19, "42", "bob", datetime.now(UTC)))  # gone before anybody saw it
    (unseen,) = rows.delta()["rows"]
    assert (unseen["text"], unseen["recalled"]) == ("…", "bob")


def test_keeps_up_with_far_more_than_200_a_second() -> None:
    rows = Rows("alice")
    began = time.perf_counter()
    for tick in range(50):
        rows.add(message(tick * 400 + number) for number in range(400))
        rows.delta()
    assert 20_000 / (time.perf_counter() - began) > 4_000


def test_strangers_words_cannot_steer() -> None:
    row = as_row(message(1, "a\u202eb\x1b[2J\nc", sender="e\u202evil"))
    assert row["text"] == "a\\u202eb\\x1b[2J\nc"
    assert "\u202e" not in row["who"]


@pytest.mark.parametrize(
    "data", [b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", b"", b"\x89PNG\r\n\x1a\n"]
)
def test_what_is_no_picture_is_not_shown(data: bytes) -> None:
    with pytest.raises(ValueError, match="no picture"):
        drawn_anew(data)


def test_what_hides_in_a_picture_is_gone_and_an_enormous_one_is_refused() -> None:
    drawn = io.BytesIO()
    Picture.new("RGBA", (20, 10), "#0000").save(drawn, "PNG")
    data, kind = drawn_anew(drawn.getvalue() + b"<script>alert(1)</script>")
    assert (b"script" in data, kind) == (False, "image/png")
    bomb = io.BytesIO()
    Picture.new("1", (9_000, 9_000)).save(bomb, "PNG")
    with pytest.raises(ValueError, match="too many"):
        drawn_anew(bomb.getvalue())
