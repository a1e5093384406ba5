"""`Form`: closed forms leave no tasks, widgets, threads or connections; errors in callbacks are shown."""

import asyncio
import gc
import threading
from typing import Any

from ipywidgets.widgets import widget
from websockets.asyncio.client import ClientConnection
from websockets.protocol import State

import imkit
from imkit.client.http import HttpClient
from imkit.portal import portal
from imkit.sandbox.process import Sandbox
from imkit.widgets import Composer, Explorer, HistoryForm, LiveFeed, LoginForm, ThreadPicker, WireView
from tests.stand_ins import token_of
from tests.widgets.conftest import FakePage, Tea, until


def tasks() -> set[asyncio.Task[Any]]:
    """Return the tasks on imkit's event loop, but not the one that asks."""
    return portal().run(lambda: asyncio.all_tasks() - {asyncio.current_task()})


def connections() -> set[int]:
    """Return the open WebSockets and HTTP clients. An HTTP client opens and closes its own connections."""
    # type() and not isinstance(): isinstance() may raise for a weak reference.
    websockets = [one for one in gc.get_objects() if type(one) is ClientConnection]
    clients = [one for one in gc.get_objects() if type(one) is HttpClient]
    in_use = [id(one) for one in clients if not one.is_closed]
    return {id(one) for one in websockets if one.state is State.OPEN} | set(in_use)


def test_closed_forms_leave_nothing(tea: Tea, sandbox: Sandbox) -> None:
    account = tea.bob.account
    # What earlier tests have left may end meanwhile, so what is new counts, and not how many there are.
    tasks_before, connections_before = tasks(), connections()

    def round_trip() -> tuple[object, ...]:
        """Open, use and close all forms; return what is left."""
        feeds = [LiveFeed(tea.bob, tea.bobs_thread) for _ in range(5)]
        history, login = HistoryForm(tea.bob, [tea.bobs_thread]), LoginForm()
        explorer = Explorer(tea.bob)
        forms: list[Any] = [*feeds, ThreadPicker(tea.bob), Composer(tea.bobs_thread), WireView(tea.bob)]
        forms += [history, login, explorer]
        for feed in feeds:
            FakePage(feed.view).send(do="open")
        picker = explorer.picker
        assert picker is not None
        until(lambda: not picker.tree.is_loading)
        FakePage(picker.list).send(do="pick", key=f"thread:{tea.thread.id}")
        until(lambda: explorer.feed)
        history.load.click()
        until(lambda: history.frame is not None)
        login.place.value, login.method.value, login.user.value = "app", "token", "life-login"
        login.app_key.value = sandbox.app_key
        login.rest_url.value, login.ws_url.value = sandbox.rest_url, sandbox.ws_url
        login.secret._handle_custom_msg({"secret": token_of(sandbox, "life-login")}, [])
        login.log_in_button.click()
        until(lambda: login.session)
        assert tasks() - tasks_before
        assert connections() - connections_before
        login.log_out_button.click()
        until(lambda: login.session is None and not login.log_out_button.disabled)
        for form in forms:
            form.close()
            form.close()  # a second call does nothing
        until(lambda: not tasks() - tasks_before)
        gc.collect()
        streams = portal().run(lambda: len(account.events._streams))
        # asyncio keeps the threads of its pool.
        threads = [thread.name for thread in threading.enumerate() if not thread.name.startswith("asyncio_")]
        widgets = sorted(repr(one)[:90] for one in widget._instances.values())
        return widgets, sorted(threads), len(account.echo_listeners), streams, connections() - connections_before

    first = round_trip()
    assert round_trip() == first
    assert tea.bob.connected


def test_an_error_in_a_callback_is_shown_and_escaped(tea: Tea) -> None:
    form = Composer(tea.bobs_thread, lang="en")

    async def fails() -> None:
        raise ValueError("<b>\u202eno</b>")

    form.start(fails)
    until(lambda: form.status.tone == "bad")
    assert form.status.text == "ValueError: <b>\\u202eno</b>"
    form.close()
    form.start(fails)  # does nothing: the form is closed


def test_the_forms_are_reachable_from_imkit() -> None:
    assert imkit.widgets.LiveFeed is LiveFeed
    assert imkit.explore.__name__ == "explore"
