"""The picker: what it lists, how it keeps up, and what can be done from it."""

from typing import Any

import pytest

import imkit
from imkit.widgets import ThreadPicker
from tests.widgets.conftest import Page, Tea, until


@pytest.fixture
def picking(tea: Tea, forms: list[Any]) -> tuple[ThreadPicker, Page]:
    tea.thread.send("Dong Ding <b>")
    form = ThreadPicker(tea.bob, lang="en")
    forms.append(form)
    page = Page(form.list)
    page.say(do="open")
    until(lambda: page.last("rooms").get("loading") is False)
    return form, page


def listed(page: Page) -> dict[str, dict[str, Any]]:
    return {room["name"]: room for room in page.last("rooms").get("rooms", [])}


def test_it_lists_groups_and_threads_with_what_is_known(tea: Tea, picking: tuple[ThreadPicker, Page]) -> None:
    _, page = picking
    until(lambda: "1 message" in listed(page).get("Oolong", {}).get("facts", ()))
    rooms = listed(page)
    assert rooms["tea"]["facts"] == ["1 thread", "2 members"]
    assert rooms["Oolong"]["facts"] == ["joined", "2 members", "1 message"]
    assert rooms["Oolong"]["last"] == f"{tea.alice.user}: Dong Ding <b>"
    assert rooms["Oolong"]["at"] > 1_700_000_000_000


def test_it_keeps_up_with_others(tea: Tea, picking: tuple[ThreadPicker, Page]) -> None:
    _, page = picking
    other = tea.group.create_thread("Jasmine", tea.group.send("Jasmine?"))
    until(lambda: "Jasmine" in listed(page))
    other.rename("Jasmine 茉莉")
    until(lambda: "Jasmine 茉莉" in listed(page))
    tea.thread.send("news")
    until(lambda: "news" in listed(page)["Oolong"]["last"])
    until(lambda: "2 messages" in listed(page)["Oolong"]["facts"])
    other.destroy()
    until(lambda: "Jasmine 茉莉" not in listed(page))
    tea.alice.create_group("coffee", members=[tea.bob.user])
    until(lambda: "coffee" in listed(page))
    # The newest group is on top; no group moves because somebody wrote in another.
    tea.thread.send("more news")
    until(lambda: "more news" in listed(page)["Oolong"]["last"])
    groups = [room["name"] for room in page.last("rooms")["rooms"] if room["kind"] == "group"]
    assert groups[:2] == ["coffee", "tea"]


def test_a_refresh_counts_anew(tea: Tea, picking: tuple[ThreadPicker, Page]) -> None:
    form, page = picking
    until(lambda: "1 message" in listed(page).get("Oolong", {}).get("facts", ()))
    facts = tea.bob.account.known.threads[tea.thread.id]
    facts.message_count = 7  # as a notice told that is out of date
    form.buttons["refresh"].click()
    until(lambda: facts.message_count == 1)


def test_pick_leave_join_rename(tea: Tea, picking: tuple[ThreadPicker, Page]) -> None:
    form, page = picking
    form.buttons["leave"].click()
    until(lambda: form.status.tone == "bad")  # nothing is picked
    page.say(do="pick", key="thread:999")
    page.say(do="pick", key=f"thread:{tea.thread.id}")
    until(lambda: form.thread == tea.at_bob)
    assert form.group == tea.bob.group(tea.group.id)
    form.buttons["leave"].click()
    until(lambda: "joined" not in listed(page)["Oolong"]["facts"])
    form.buttons["join"].click()
    until(lambda: "joined" in listed(page)["Oolong"]["facts"] and not form.buttons["join"].disabled)
    assert sorted(tea.thread.members()) == sorted([tea.alice.user, tea.bob.user])
    form.buttons["rename"].click()
    until(lambda: form.status.text == "" and form.name.value == "Oolong")
    form.name.value = "Oolong 乌龙"
    form.confirm.click()
    until(lambda: form.status.tone == "bad")  # the creator and the group's owner may
    assert form.status.text.startswith("Forbidden")


def test_new_group_and_new_thread(tea: Tea, picking: tuple[ThreadPicker, Page]) -> None:
    form, page = picking
    form.buttons["new_group"].click()
    until(lambda: form._panel.children)
    form.name.value, form.members.value = "coffee", f"{tea.alice.user}，"
    form.confirm.click()
    until(lambda: form.group is not None and form.group.name == "coffee" and not form.confirm.disabled)
    form.buttons["new_thread"].click()
    until(lambda: form.parent_text in form._panel.children)
    form.name.value, form.parent_text.value = "Espresso", "Who wants one?"
    form.confirm.click()
    thread = until(lambda: form.thread)
    assert isinstance(thread, imkit.Thread)
    assert (thread.name, thread.parent().text) == ("Espresso", "Who wants one?")
    until(lambda: "Espresso" in listed(page))
