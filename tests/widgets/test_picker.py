"""`ThreadPicker`: what the page gets, errors of a load, and each button."""

from typing import Any

import pytest

import imkit
from imkit.widgets import ThreadPicker
from tests.widgets.conftest import FakePage, RestGate, Tea, until


@pytest.fixture
def opened(tea: Tea, forms: list[Any]) -> tuple[ThreadPicker, FakePage]:
    tea.thread.send("Dong Ding <b>")
    form = ThreadPicker(tea.bob, lang="en")
    forms.append(form)
    page = FakePage(form.list)
    page.send(do="open")
    until(lambda: page.last("conversations").get("loading") is False)
    return form, page


def listed(page: FakePage) -> dict[str, dict[str, Any]]:
    """Return the rows that the page got last, by name."""
    return {row["name"]: row for row in page.last("conversations").get("rows", [])}


def test_a_refresh_loads_again_and_forgets_the_last_error(tea: Tea, opened: tuple[ThreadPicker, FakePage]) -> None:
    form, page = opened
    until(lambda: "1 message" in listed(page).get("Oolong", {}).get("facts", ()))
    facts = tea.bob.account.known.threads[tea.thread.id]
    facts.message_count = 7  # like an outdated notice
    form.buttons["leave"].click()
    until(lambda: form.status.tone == "bad")  # no thread is picked
    form.buttons["refresh"].click()
    until(lambda: facts.message_count == 1 and not form.buttons["refresh"].disabled)
    assert form.status.text == ""


def test_a_failed_load_is_shown_and_the_list_follows_later_events(tea: Tea, gate: RestGate, forms: list[Any]) -> None:
    threads = f"/threads/chatgroups/{tea.group.id}"
    gate.refuse(threads)
    form = ThreadPicker(gate.bob, lang="en")
    forms.append(form)
    page = FakePage(form.list)
    page.send(do="open")
    until(lambda: page.last("conversations").get("loading") is False)
    assert form.status.tone == "bad"
    assert tea.group.id in form.status.text
    assert "closed for today" in form.status.text
    form.status.show("")
    tea.alice.create_group("coffee", members=[tea.bob.user])  # the event causes a load, which fails too
    until(lambda: form.status.tone == "bad" and "coffee" in listed(page))
    gate.accept(threads)
    tea.alice.create_group("water", members=[tea.bob.user])
    until(lambda: {"water", "Oolong"} <= listed(page).keys())


def test_pick_leave_join_rename(tea: Tea, opened: tuple[ThreadPicker, FakePage]) -> None:
    form, page = opened
    form.buttons["leave"].click()
    until(lambda: form.status.tone == "bad")  # no thread is picked
    page.send(do="pick", key="thread:999")
    page.send(do="pick", key=f"thread:{tea.thread.id}")
    until(lambda: form.thread == tea.bobs_thread)
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
    until(lambda: form.status.tone == "bad")  # only the thread's creator and the group's owner may rename
    assert form.status.text.startswith("Forbidden")


def test_new_group_and_new_thread(tea: Tea, opened: tuple[ThreadPicker, FakePage]) -> None:
    form, page = opened
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
