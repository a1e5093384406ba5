"""`Explorer`: which forms are there before and after the login, at a picked conversation, and after the logout."""

from typing import Any

import pytest

import imkit
from imkit.portal import portal
from imkit.sandbox.process import Sandbox
from imkit.widgets import Explorer
from imkit.widgets.base import Status
from imkit.widgets.feed import LiveFeed
from tests.stand_ins import token_of
from tests.widgets.conftest import FakePage, RestGate, Tea, until


def log_in(explorer: Explorer, sandbox: Sandbox, user: str, rest_url: str = "") -> None:
    """Fill in the login form and click its button; `rest_url` replaces the sandbox's own."""
    form = explorer.login
    form.place.value, form.method.value, form.user.value = "app", "token", user
    form.app_key.value, form.ws_url.value = sandbox.app_key, sandbox.ws_url
    form.rest_url.value = rest_url or sandbox.rest_url
    form.secret._handle_custom_msg({"secret": token_of(sandbox, user)}, [])
    form.log_in_button.click()
    until(lambda: explorer.picker is not None and form.session is not None)


def log_out(explorer: Explorer) -> None:
    explorer.login.log_out_button.click()
    until(lambda: explorer.picker is None and not explorer.login.log_out_button.disabled)


def pick(explorer: Explorer, conversation: imkit.Thread | imkit.Group) -> None:
    """Pick a conversation as soon as it is in the list."""
    kind = "thread" if isinstance(conversation, imkit.Thread) else "group"
    key = f"{kind}:{conversation.id}"
    until(lambda: explorer.picker.tree.find(key))
    FakePage(explorer.picker.list).send(do="pick", key=key)
    until(lambda: explorer.composer.thread is not None and explorer.composer.thread.id == conversation.id)


def forms_of(explorer: Explorer) -> list[Any]:
    """Return all forms but the login form."""
    return [explorer.picker, explorer.composer, explorer.feed, explorer.history, explorer.wire]


@pytest.fixture
def explorer(tea: Tea, forms: list[Any]) -> Explorer:
    """An explorer of Bob's session, before a conversation is picked."""
    explorer = Explorer(tea.bob, draft="Dong Ding, please", lang="en")
    forms.append(explorer)
    return explorer


def test_a_login_opens_the_forms_and_a_logout_closes_them(tea: Tea, sandbox: Sandbox, forms: list[Any]) -> None:
    explorer = imkit.explore(tea.bob.user, draft="hello", lang="en")
    forms.append(explorer)
    assert explorer.login.user.value == tea.bob.user
    assert forms_of(explorer) == [None] * 5
    assert (explorer.session, explorer.thread, explorer.frame) == (None, None, None)
    log_in(explorer, sandbox, tea.bob.user)
    session = explorer.session
    assert explorer.picker.session is explorer.history.session is session
    assert explorer.composer.text.draft == "hello"
    pick(explorer, tea.thread)
    explorer.history.load.click()
    until(lambda: explorer.frame is not None)
    opened = forms_of(explorer)
    log_out(explorer)
    assert not session.connected
    assert all(form._closed for form in opened)
    assert forms_of(explorer) == [None] * 5
    assert (explorer.session, explorer.thread, explorer.frame) == (None, None, None)
    assert explorer._forms_box.children == ()


def test_a_second_login_lists_what_the_second_user_has(tea: Tea, sandbox: Sandbox, forms: list[Any]) -> None:
    tea.alice.create_group("Alice alone")
    explorer = Explorer(lang="en")
    forms.append(explorer)
    log_in(explorer, sandbox, tea.bob.user)
    pick(explorer, tea.thread)
    log_out(explorer)
    log_in(explorer, sandbox, tea.alice.user)
    until(lambda: not explorer.picker.tree.is_loading)
    names = {row["name"] for row in portal().run(explorer.picker.tree.as_rows)}
    assert names == {"tea", "Oolong", "Alice alone"}
    assert (explorer.thread, explorer.feed) == (None, None)
    pick(explorer, tea.thread)
    assert explorer.feed._conversation == explorer.session.thread(tea.thread.id)
    log_out(explorer)


def test_a_logout_while_the_list_is_loading_closes_the_forms(
    tea: Tea, sandbox: Sandbox, gate: RestGate, forms: list[Any]
) -> None:
    listing = gate.hold(f"/threads/chatgroups/{tea.group.id}")
    explorer = Explorer(lang="en")
    forms.append(explorer)
    log_in(explorer, sandbox, tea.bob.user, str(gate.bob.app.rest_url))
    listing.wait()
    picker = explorer.picker
    log_out(explorer)
    until(lambda: not picker.tree.is_loading)
    assert forms_of(explorer) == [None] * 5
    assert explorer.login.status.text == explorer.labels("login_over")
    listing.release()


def test_a_session_that_is_given_needs_no_login_form_and_stays_open(tea: Tea, explorer: Explorer) -> None:
    assert explorer.login is None
    assert explorer.session is tea.bob
    pick(explorer, tea.thread)
    opened = forms_of(explorer)
    explorer.close()
    assert all(form._closed for form in opened)
    assert forms_of(explorer) == [None] * 5
    assert tea.bob.connected
    portal().run(lambda: explorer._show_conversation(tea.bobs_thread))  # a click that comes late does nothing
    assert explorer.feed is None


def test_a_note_is_there_until_a_conversation_is_picked(tea: Tea, explorer: Explorer) -> None:
    (note,) = explorer._feed_box.children
    assert isinstance(note, Status)
    assert note.text == explorer.labels("explore_pick")
    assert explorer.composer.layout.display == "none"
    assert (explorer.thread, explorer.feed) == (None, None)
    FakePage(explorer.picker.list).send(do="pick", key="thread:9")  # not in the list
    pick(explorer, tea.thread)
    assert explorer.thread == tea.bobs_thread
    assert explorer.composer.layout.display is None
    assert explorer._feed_box.children == (explorer.feed,)
    assert explorer.history._chosen == [f"thread:{tea.thread.id}"]


def test_a_typed_text_survives_the_change_to_another_conversation(tea: Tea, explorer: Explorer) -> None:
    pick(explorer, tea.thread)
    first, composer = explorer.feed, explorer.composer
    assert isinstance(first, LiveFeed)
    pick(explorer, tea.group)
    assert first._closed
    assert explorer.thread is None  # a group is picked
    assert explorer.feed._conversation == tea.bob.group(tea.group.id)
    assert explorer.composer is composer
    assert composer.text.comm is not None  # it is still on the page, with what was typed into it
    assert composer.text.draft == "Dong Ding, please"
    assert explorer.history._chosen == [f"group:{tea.group.id}"]


def test_an_error_while_the_list_loads_is_told_and_the_other_forms_work(
    tea: Tea, gate: RestGate, forms: list[Any]
) -> None:
    coffee = tea.alice.create_group("coffee", members=[tea.bob.user])
    gate.refuse(f"/threads/chatgroups/{coffee.id}")
    explorer = Explorer(gate.bob, lang="en")
    forms.append(explorer)
    until(lambda: not explorer.picker.tree.is_loading and explorer.picker.status.tone == "bad")
    assert coffee.id in explorer.picker.status.text
    pick(explorer, tea.thread)
    assert explorer.thread == gate.bob.thread(tea.thread.id)
