"""The same forms on every ipykernel: in which thread a click lands differs from one version to the next.

`make test` runs this on the version that is installed, `make kernels` on those before it too.
"""

from importlib.metadata import version
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.forms import begin, button, ended, open_cells, picture, run
from tests.browser.jupyter import Lab

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]
expect.set_options(timeout=30_000)

IPYKERNEL = version("ipykernel")


# During which cells a kernel takes a click: True, False, or None where it depends on which of its threads was the last
# to publish something of that control. What it does not take during a cell, it takes afterwards.
ARRIVES: dict[str, dict[str, bool | None]] = {
    "6": {"blocking": False, "awaiting": False},
    "7.0 to 7.3": {"blocking": True, "awaiting": True},  # comms have a thread beside that of the cells
    "7.4": {"blocking": None, "awaiting": True},  # comms are taken between the steps of an awaited cell
}


def arrives(kind: str) -> bool | None:
    release = tuple(int(part) for part in IPYKERNEL.split(".")[:2])
    return ARRIVES["6" if release < (7, 0) else "7.0 to 7.3" if release < (7, 4) else "7.4"][kind]


SETUP = """
import asyncio, imkit, imkit.widgets, ipykernel, pathlib, time
from imkit.portal import portal
me, other = imkit.login("kai"), imkit.login("kim")
group = me.create_group("tea", members=["kim"])
thread = group.create_thread("Oolong", group.send("Which oolong?"))
at_other = other.thread(thread.id).join()
print(ipykernel.__version__)
"""
FORMS = """
from ipywidgets import VBox
feed = imkit.widgets.LiveFeed(me, thread, lang="en", height=200)
composer = imkit.widgets.Composer(thread, lang="en")
VBox([feed, composer])
"""
# Each goes on until the test has seen what it waits for, and says what was sent by clicks while it ran.
CELLS = {
    "blocking": """
before = composer.sent_list._count
portal().submit(at_other.send.aio("said during the blocking cell"))
while not pathlib.Path("blocking-may-end").exists(): time.sleep(0.05)
print("clicks:", composer.sent_list._count - before)
""",
    "awaiting": """
before = composer.sent_list._count
portal().submit(at_other.send.aio("said during the awaiting cell"))
while not pathlib.Path("awaiting-may-end").exists(): await asyncio.sleep(0.05)
print("clicks:", composer.sent_list._count - before)
""",
}
NUMBERS = {"blocking": 2, "awaiting": 3}


def send_by_both_kinds_of_control(page: Page, what: str) -> None:
    """By our own text box, which sends a message to the kernel, and by a button of ipywidgets, which changes state."""
    page.get_by_role("tab", name="Text", exact=True).click()
    page.get_by_role("textbox", name="Message", exact=True).fill(f"text, {what}")
    button(page, "Send").locator("visible=true").click()
    page.get_by_role("tab", name="Command", exact=True).click()
    page.get_by_role("textbox", name="Action", exact=True).fill(f"command, {what}")
    page.locator(".imkit-form .jupyter-button:visible", has_text="Send").click()


def expect_both_sent(page: Page, what: str) -> None:
    for kind in ("text", "command"):
        item = page.locator(".imkit-sent-list li", has_text=f"{kind}, {what}")
        expect(item.get_by_text("✓ sent")).to_be_visible()
    expect(page.locator(".imkit-feed").get_by_text(f"text, {what}")).to_be_visible()


def test_clicks_work_whatever_the_kernel_is_doing(lab: Lab, page: Page) -> None:
    opened = open_cells(lab, page, "kernels", SETUP, FORMS, *CELLS.values())
    told = opened.run_cell(0)
    assert told is not None
    assert told.text.strip() == IPYKERNEL
    run(opened, 1)
    send_by_both_kinds_of_control(page, "idle")
    expect_both_sent(page, "idle")

    for kind, number in NUMBERS.items():
        begin(page, number)
        # Whatever the version, what is said elsewhere comes in while the cell runs.
        expect(page.locator(".imkit-feed").get_by_text(f"said during the {kind} cell")).to_be_visible()
        send_by_both_kinds_of_control(page, kind)
        if arrives(kind):
            expect_both_sent(page, kind)
        Path(lab.root / f"{kind}-may-end").touch()
        ended(page)
        if arrives(kind) is not None:
            assert opened.shown(number).strip() == f"clicks: {2 if arrives(kind) else 0}"
        expect_both_sent(page, kind)  # at the latest now: none is lost
    picture(page, f"kernels-{IPYKERNEL}")
