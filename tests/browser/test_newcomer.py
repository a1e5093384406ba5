"""What a newcomer does first, by mouse alone: `imkit lab`, a message sent, a message recalled, a DataFrame."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.forms import button, picture
from tests.browser.jupyter import PATIENCE

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

PRIVATE = ("CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR", "LAB_SETTINGS_DIR", "LAB_WORKSPACES_DIR")


@pytest.fixture
def start_page(tmp_path: Path) -> Iterator[str]:
    """The address that `imkit lab` prints, on a machine that has never seen JupyterLab."""
    own = {f"JUPYTER{'' if name.startswith('LAB') else '_'}{name}": str(tmp_path / name.lower()) for name in PRIVATE}
    with subprocess.Popen(
        [sys.executable, "-m", "imkit", "lab", "--no-browser", "--port=0"],
        cwd=tmp_path,
        env=os.environ | own | {"IPYTHONDIR": str(tmp_path / "ipython"), "PYTHONPATH": str(Path(__file__).parents[2])},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as lab:
        assert lab.stderr is not None
        hurry = threading.Timer(PATIENCE, os.killpg, (lab.pid, signal.SIGKILL))
        hurry.start()
        address = next(found[0] for line in lab.stderr if (found := re.search(r"http://127\S+token=\w+", line)))
        hurry.cancel()
        drained = threading.Thread(target=lab.stderr.read, daemon=True)  # or its log would fill the pipe and stop it
        drained.start()
        yield address
        os.killpg(lab.pid, signal.SIGTERM)
        drained.join(PATIENCE)


def test_a_newcomer_gets_to_a_table_by_mouse_alone(start_page: str, page: Page) -> None:
    page.set_viewport_size({"width": 1280, "height": 900})
    page.goto(start_page)
    page.locator(".jp-RenderedMarkdown a", has_text="Forms").click()
    notebook = page.locator(".jp-NotebookPanel:visible", has=page.get_by_role("heading", name="05 · Forms"))
    run = notebook.locator("[data-jp-item-name=run]").locator("button, jp-button").first
    notebook.locator(".jp-CodeCell .cm-content").first.click()
    run.click()
    run.click()
    # What the tutorial says is where it says it: nothing had to be searched for or scrolled to.
    expect(button(page, "Log in").first).to_be_in_viewport(timeout=PATIENCE * 1000)
    button(page, "Log in").first.click()
    form = notebook.locator(".imkit-form").first
    form.locator(".imkit-room.thread", has_text="Oolong 乌龙").first.click()
    button(page, "Send").first.click()
    mine = form.locator(".imkit-feed").get_by_text("Dong Ding, please 🍵")
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
    # JupyterLab asked for nothing in between, such as whether it may fetch news.
    assert page.locator(".jp-Dialog, .jp-toastContainer .Toastify__toast").count() == 0
    picture(page, "newcomer")
