"""What forms leave behind: nothing. And how a history frame shows itself."""

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
from tests.widgets.conftest import Page, Tea, until


def tasks() -> tuple[int, int]:
    """How much runs on imkit's loop: what was handed to it, and all of it."""
    return portal().run(lambda: (len(portal()._work), len(asyncio.all_tasks())))


def lines() -> int:
    """How many open websockets and HTTP clients there are. The connections of an HTTP client come and go."""
    # By their types: to ask a weak reference what it is may raise.
    websockets = [one for one in gc.get_objects() if type(one) is ClientConnection]
    clients = [one for one in gc.get_objects() if type(one) is HttpClient]
    in_use = [one for one in clients if not one.is_closed]
    return sum(one.state is State.OPEN for one in websockets) + len(in_use)


def test_forms_that_were_closed_leave_nothing(tea: Tea, sandbox: Sandbox) -> None:
    account = tea.bob.account
    at_rest, at_rest_lines = tasks(), lines()

    def round_trip() -> tuple[object, ...]:
        forms: list[Any] = [LiveFeed(tea.bob, tea.at_bob) for _ in range(5)]
        forms += [ThreadPicker(tea.bob), Composer(tea.at_bob), HistoryForm(tea.bob, [tea.at_bob]), LoginForm()]
        forms += [WireView(tea.bob), Explorer(tea.bob)]
        for form in forms[:5]:
            Page(form.view).say(do="open")
        explorer = forms[-1]
        until(lambda: not explorer.picker.rooms.loading)
        Page(explorer.picker.list).say(do="pick", key=f"thread:{tea.thread.id}")
        until(lambda: explorer.feed)
        forms[7].load.click()
        until(lambda: forms[7].frame is not None)
        login = forms[8]
        login.place.value, login.way.value, login.user.value = "app", "token", "life-login"
        login.app_key.value = sandbox.app_key
        login.rest_url.value, login.ws_url.value = sandbox.rest_url, sandbox.ws_url
        login.secret._handle_custom_msg({"secret": token_of(sandbox, "life-login")}, [])
        login.enter.click()
        until(lambda: login.session)
        assert tasks() > at_rest
        assert lines() > at_rest_lines
        login.leave.click()
        until(lambda: login.session is None and not login.leave.disabled)
        for form in forms:
            form.close()
            form.close()  # twice does no harm
        until(lambda: tasks() == at_rest)
        gc.collect()
        streams = portal().run(lambda: len(account.events._streams))
        # The loop lends threads of a bounded pool to what may block; those stay.
        threads = [thread.name for thread in threading.enumerate() if not thread.name.startswith("asyncio_")]
        left = sorted(repr(one)[:90] for one in widget._instances.values())
        return left, sorted(threads), len(account.echo_listeners), streams, tasks(), lines()

    first = round_trip()
    assert round_trip() == first
    assert tea.bob.connected


def test_an_error_in_a_form_is_shown_and_escaped(tea: Tea) -> None:
    form = Composer(tea.at_bob, lang="en")

    async def fails() -> None:
        raise ValueError("<b>\u202eno</b>")

    form.start(fails)
    until(lambda: form.status.tone == "bad")
    assert form.status.text == "ValueError: <b>\\u202eno</b>"
    form.close()
    form.start(fails)  # closed: nothing runs any more


def test_a_history_frame_says_what_it_is(tea: Tea) -> None:
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


def test_ipython_shows_the_line_and_other_frames_as_ever() -> None:
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


def test_imkit_offers_the_forms_when_asked() -> None:
    assert imkit.widgets.LiveFeed is LiveFeed
    assert imkit.explore.__name__ == "explore"
