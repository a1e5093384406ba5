"""A new user's first steps, by mouse only: `imkit lab`, send a message, recall it, load a DataFrame."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.forms import button, screenshot
from tests.browser.jupyter import TIMEOUT_SECONDS
from tests.started_lab import started_lab

# Notes in each frame how far below the forms' upper edge the button "Send" is.
NOTE_PLACES = """() => {
    window.placesOfSend = new Set();
    const look = () => {
        const panes = document.querySelector('.imkit-panes');
        const send = [...panes.querySelectorAll('button')].find(one => one.textContent === 'Send' && one.offsetParent);
        if (send) window.placesOfSend.add(send.getBoundingClientRect().y - panes.getBoundingClientRect().y);
        requestAnimationFrame(look);
    };
    look();
}"""

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]


def test_a_new_user_gets_a_dataframe_by_mouse_only(page: Page, installed_python: Path, tmp_path: Path) -> None:
    with started_lab(tmp_path, installed_python) as start_page:
        page.set_viewport_size({"width": 1280, "height": 900})
        page.goto(start_page)
        get_a_dataframe(page)


def get_a_dataframe(page: Page) -> None:
    page.locator(".jp-RenderedMarkdown a", has_text="Forms").click()
    notebook = page.locator(".jp-NotebookPanel:visible", has=page.get_by_role("heading", name="05 · Forms"))
    page.locator("#jp-main-statusbar").get_by_text("Idle").wait_for()  # a user reads the first lines meanwhile
    run = notebook.locator("[data-jp-item-name=run]").locator("button, jp-button").first
    notebook.locator(".jp-CodeCell .cm-content").first.click()
    run.click()
    run.click()
    # The form is in view: the user need not scroll.
    expect(button(page, "Log in").first).to_be_in_viewport(timeout=TIMEOUT_SECONDS * 1000)
    button(page, "Log in").first.click()
    form = notebook.locator(".imkit-form").first
    thread = form.locator(".imkit-conversation.thread", has_text="Oolong 乌龙").first
    thread.wait_for()
    page.evaluate(NOTE_PLACES)
    devtools = page.context.new_cdp_session(page)
    devtools.send("Emulation.setCPUThrottlingRate", {"rate": 10})  # so that each form is drawn in a frame of its own
    thread.click()
    button(page, "Send").first.click()
    mine = form.locator(".imkit-feed").get_by_text("Dong Ding, please 🍵")
    form.locator(".imkit-feed-parent", has_text="Which oolong should we order?").wait_for()
    devtools.send("Emulation.setCPUThrottlingRate", {"rate": 1})
    # The button did not move when the feed was drawn: a click in that moment would have been lost.
    assert page.evaluate("window.placesOfSend.size") == 1
    mine.hover()
    button(page, "Recall").click()
    form.locator(".imkit-feed").get_by_text("alice recalled this").wait_for()
    form.get_by_role("tab", name="History").click()
    button(page, "Load").click()
    form.locator("table tbody tr", has_text="Tie Guan Yin 铁观音!").wait_for()
    button(page, "Show as code").click()
    button(page, "Put it in the next cell").click()
    run.click()
    shown = notebook.locator(".jp-Cell-outputArea", has=page.locator("table.dataframe"))
    shown.get_by_text(re.compile(r"^3 messages of \d+: complete$")).wait_for()
    # JupyterLab showed no dialog, such as the question whether it may fetch news.
    assert page.locator(".jp-Dialog, .jp-toastContainer .Toastify__toast").count() == 0
    screenshot(page, "newcomer")
