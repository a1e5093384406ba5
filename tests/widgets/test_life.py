"""Closed forms leave no tasks, widgets, threads or connections. Also: how IPython shows a history frame."""

import asyncio
import gc
import subprocess
import sys
import threading
from typing import Any

from ipywidgets.widgets import widget
from websockets.asyncio.client import ClientConnection
from websockets.protocol import State

import imkit
from imkit.client.http import HttpClient
from imkit.history.summary import as_html, line_above
from imkit.portal import portal
from imkit.sandbox.process import Sandbox
from imkit.widgets import Composer, Explorer, HistoryForm, LiveFeed, LoginForm, ThreadPicker, WireView
from tests.stand_ins import token_of
from tests.widgets.conftest import FakePage, Tea, until


def tasks() -> tuple[int, int]:
    """Return the number of coroutines submitted to imkit's event loop, and of all tasks on it."""
    return portal().run(lambda: (len(portal()._work), len(asyncio.all_tasks())))


def connections() -> int:
    """Return the number of open WebSockets and HTTP clients. An HTTP client opens and closes its own connections."""
    # type() and not isinstance(): isinstance() may raise for a weak reference.
    websockets = [one for one in gc.get_objects() if type(one) is ClientConnection]
    clients = [one for one in gc.get_objects() if type(one) is HttpClient]
    in_use = [one for one in clients if not one.is_closed]
    return sum(one.state is State.OPEN for one in websockets) + len(in_use)


def test_closed_forms_leave_nothing(tea: Tea, sandbox: Sandbox) -> None:
    account = tea.bob.account
    tasks_before, connections_before = tasks(), connections()

    def round_trip() -> tuple[object, ...]:
        forms: list[Any] = [LiveFeed(tea.bob, tea.bobs_thread) for _ in range(5)]
        forms += [
            ThreadPicker(tea.bob),
            Composer(tea.bobs_thread),
            HistoryForm(tea.bob, [tea.bobs_thread]),
            LoginForm(),
        ]
        forms += [WireView(tea.bob), Explorer(tea.bob)]
        for form in forms[:5]:
            FakePage(form.view).send(do="open")
        explorer = forms[-1]
        until(lambda: not explorer.picker.tree.is_loading)
        FakePage(explorer.picker.list).send(do="pick", key=f"thread:{tea.thread.id}")
        until(lambda: explorer.feed)
        forms[7].load.click()
        until(lambda: forms[7].frame is not None)
        login = forms[8]
        login.place.value, login.method.value, login.user.value = "app", "token", "life-login"
        login.app_key.value = sandbox.app_key
        login.rest_url.value, login.ws_url.value = sandbox.rest_url, sandbox.ws_url
        login.secret._handle_custom_msg({"secret": token_of(sandbox, "life-login")}, [])
        login.log_in_button.click()
        until(lambda: login.session)
        assert tasks() > tasks_before
        assert connections() > connections_before
        login.log_out_button.click()
        until(lambda: login.session is None and not login.log_out_button.disabled)
        for form in forms:
            form.close()
            form.close()  # a second call does nothing
        until(lambda: tasks() == tasks_before)
        gc.collect()
        streams = portal().run(lambda: len(account.events._streams))
        # asyncio keeps the threads of its pool.
        threads = [thread.name for thread in threading.enumerate() if not thread.name.startswith("asyncio_")]
        left = sorted(repr(one)[:90] for one in widget._instances.values())
        return left, sorted(threads), len(account.echo_listeners), streams, tasks(), connections()

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


def test_a_history_frame_shows_whether_it_is_complete(tea: Tea) -> None:
    tea.thread.send("<script>")
    frame = tea.thread.history()
    assert line_above(frame) == f"1 message of {tea.thread.id}: complete"
    assert line_above(frame.head(0)) == f"0 rows, made from 1 message of {tea.thread.id}: complete"
    assert line_above(frame[["text"]]) is None
    html = as_html(frame)
    assert html is not None
    assert html.index("complete") < html.index("<table")
    frame.attrs["imkit"]["reason"] = "<script>"
    assert "<script>" not in (as_html(frame) or "")


def test_ipython_shows_that_line_and_other_frames_unchanged() -> None:
    code = """if True:
        from IPython.core.interactiveshell import InteractiveShell
        shell = InteractiveShell.instance()
        import imkit, sys
        assert "pandas" not in sys.modules
        from imkit.history.frames import frame_of
        import pandas
        show = shell.display_formatter.format
        data, _ = show(frame_of([], {"rows": 0, "thread_ids": ["42"], "complete": True}))
        assert "0 messages of 42: complete" in data["text/html"] and "complete" in data["text/plain"], data
        plain = pandas.DataFrame({"a": [1]})
        assert show(plain)[0]["text/html"] == plain._repr_html_()
        assert show(plain)[0]["text/plain"] == repr(plain)
    """
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_imkit_imports_the_forms_lazily() -> None:
    assert imkit.widgets.LiveFeed is LiveFeed
    assert imkit.explore.__name__ == "explore"
