"""`HistoryForm`: what it loads, a stopped load, the code it shows, the files it exports."""

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

import imkit
from imkit.portal import portal
from imkit.sandbox.process import Sandbox
from imkit.widgets import HistoryForm
from imkit.widgets.code_snippet import code_for
from imkit.widgets.history_form import table_of
from tests.widgets.conftest import FakePage, Tea, until


def has_status(form: HistoryForm, text: str) -> bool:
    return form.status.text == text


async def fill(thread: imkit.Thread, count: int) -> None:
    for number in range(count):
        await thread.send.aio(f"message {number}")


async def fill_quickly(thread: imkit.Thread, count: int) -> None:
    await asyncio.gather(*(thread.send.aio(f"message {number}") for number in range(count)))


def test_it_loads_what_was_chosen_and_its_code_loads_the_same(tea: Tea, forms: list[Any]) -> None:
    portal().call(fill(tea.thread, 120))
    tea.bobs_thread.send(imkit.Location(1, 2, "here"))
    form = HistoryForm(tea.bob, [tea.bobs_thread], lang="en")
    forms.append(form)
    form.types["txt"].value = True
    form.sender.value = tea.alice.user
    form.limit.value, form.order.value = 70, "newest"
    form.load.click()
    until(lambda: form.frame is not None and not form.load.disabled)
    frame = form.frame
    assert (len(frame), frame.text[0], set(frame.type)) == (70, "message 119", {"txt"})
    assert "limit of 70" in form.progress.text
    code = code_for(tea.bob, [tea.bobs_thread], form._arguments())
    names: dict[str, Any] = {"imkit": imkit, tea.bob.user: tea.bob, "session": tea.bob}
    exec(code.partition("\n\n")[2].partition("\n")[2], names)  # without the login
    pd.testing.assert_frame_equal(names["frame"], frame)


def test_a_stopped_load_keeps_the_loaded_messages(forms: list[Any]) -> None:
    with Sandbox(latency_ms=20) as private, imkit.login("alice", app=private.app) as alice:
        group = alice.create_group("tea")
        thread = group.create_thread("long", group.send("?"))
        portal().call(fill_quickly(thread, 900))
        form = HistoryForm(alice, [thread], lang="en")
        forms.append(form)
        reached = []

        async def on_progress(done: int, total: int | None) -> None:
            reached.append(done)
            if len(reached) == 3:
                form.stop.click()

        form._on_progress = on_progress
        form.load.click()
        until(lambda: form.frame is not None)
        source = form.frame.attrs["imkit"]
        assert 0 < len(form.frame) < 900
        assert (source["complete"], source["reason"], source["rows"]) == (False, "stopped", len(form.frame))
        assert form.progress.text.endswith("not complete: stopped")
        assert form.bar.bar_style == "warning"


def test_export_never_overwrites_a_file(tea: Tea, forms: list[Any], imkit_home: Path) -> None:
    tea.thread.send("=1+1")
    form = HistoryForm(tea.alice, [tea.thread], lang="en")
    forms.append(form)
    form.load.click()
    until(lambda: form.frame is not None)
    for suffix in (".parquet", ".csv", ".jsonl", ".html"):
        form.kind.value = suffix
        form.export.click()
        exported = f"Exported to history{suffix}"
        until(partial(has_status, form, exported))
        assert Path(f"history{suffix}").stat().st_size
    until(lambda: not form.export.disabled)
    form.file.value = "../../history.html"
    form.export.click()
    until(lambda: form.status.tone == "bad")
    assert "history.html exists already" in form.status.text


def test_nothing_chosen_and_an_unknown_thread_are_shown_as_errors(tea: Tea, forms: list[Any]) -> None:
    form = HistoryForm(tea.alice, lang="en")
    forms.append(form)
    page = FakePage(form.list)
    page.send(do="open")
    form.load.click()
    until(lambda: form.status.tone == "bad")
    form.choose(tea.alice.thread("7"))
    until(lambda: not form.load.disabled)
    form.load.click()
    until(lambda: form.status.text.startswith("ThreadNotFound") or form.status.text.startswith("NotFound"))
    until(lambda: form.frame is not None)
    assert form.frame.attrs["imkit"]["complete"] is False


def test_the_table_begins_with_the_readable_columns_and_is_escaped(tea: Tea) -> None:
    tea.thread.send("a\u202eb <script>")
    shown = table_of(tea.thread.history())
    assert list(shown.columns[:4]) == ["time", "sender", "type", "text"]
    assert "lat" not in shown
    assert shown.text[0] == "a\\u202eb <script>"
