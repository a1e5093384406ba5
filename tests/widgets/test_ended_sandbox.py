"""A sandbox that has ended: each form says so, and what to do."""

import itertools
from pathlib import Path
from typing import Any

import pytest

import imkit
from imkit.sandbox.process import Sandbox
from imkit.widgets import Composer, HistoryForm, LiveFeed, ThreadPicker
from tests.people import new_name
from tests.timing import set_timing
from tests.widgets.conftest import FakePage, until

HINT = "sandbox.start() starts it again"


def test_each_form_says_that_the_sandbox_has_ended(
    tmp_path: Path, forms: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_timing(monkeypatch, delays=lambda: itertools.repeat(0.05))
    with Sandbox(tmp_path / "x.db") as sandbox, imkit.login(new_name(), app=sandbox.app) as session:
        group = session.create_group("tea")
        feed, composer = LiveFeed(session, group, lang="en"), Composer(group, lang="en")
        history, picker = HistoryForm(session, [group], lang="en"), ThreadPicker(session, lang="en")
        forms += [feed, composer, history, picker]
        page, sent_list = FakePage(feed.view), FakePage(composer.sent_list)
        page.send(do="open")
        until(lambda: not picker.tree.is_loading)
        sandbox.kill()
        until(lambda: HINT in page.last("header")["state"])
        FakePage(composer.text).send(do="send", text="hello?")
        history.load.click()
        picker.buttons["refresh"].click()
        until(lambda: HINT in str(sent_list.received[-1:]))
        until(lambda: HINT in history.status.hint)
        until(lambda: HINT in picker.status.hint)
        sandbox.start()
        until(lambda: page.last("header")["state"] == feed.labels("feed_connected"))
