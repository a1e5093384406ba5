"""Forms work with all versions of ipykernel, which handle clicks in different threads.

`make test` uses the installed version; `make kernels` also uses older ones.
"""

from importlib.metadata import version
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.forms import button, open_cells, run_cells, screenshot, start_cell, wait_for_cell
from tests.browser.jupyter import Lab

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]
expect.set_options(timeout=30_000)

IPYKERNEL = version("ipykernel")


# Whether a kernel handles a click while a cell runs. `None`: it depends on which of its threads last published a change
# of that control. A click that is not handled during the cell is handled after it.
HANDLES_CLICKS: dict[str, dict[str, bool | None]] = {
    "6": {"blocking": False, "awaiting": False},
    "7.0 to 7.3": {"blocking": True, "awaiting": True},  # comms have a thread of their own
    "7.4": {"blocking": None, "awaiting": True},  # comms are handled while a cell awaits something
}


def handles_clicks(kind: str) -> bool | None:
    release = tuple(int(part) for part in IPYKERNEL.split(".")[:2])
    return HANDLES_CLICKS["6" if release < (7, 0) else "7.0 to 7.3" if release < (7, 4) else "7.4"][kind]


SETUP = """
import asyncio, imkit, imkit.widgets, ipykernel, pathlib, time
from imkit.portal import portal
me, other = imkit.login("kai"), imkit.login("kim")
group = me.create_group("tea", members=["kim"])
thread = group.create_thread("Oolong", group.send("Which oolong?"))
others_thread = other.thread(thread.id).join()
print(ipykernel.__version__)
"""
FORMS = """
from ipywidgets import VBox
feed = imkit.widgets.LiveFeed(me, thread, lang="en", height=200)
composer = imkit.widgets.Composer(thread, lang="en")
VBox([feed, composer])
"""
# Each cell runs until the test creates a file, and prints how many messages clicks have sent meanwhile.
CELLS = {
    "blocking": """
before = composer.sent_list._count
portal().submit(others_thread.send.aio("sent during the blocking cell"))
while not pathlib.Path("blocking-may-end").exists(): time.sleep(0.05)
print("clicks:", composer.sent_list._count - before)
""",
    "awaiting": """
before = composer.sent_list._count
portal().submit(others_thread.send.aio("sent during the awaiting cell"))
while not pathlib.Path("awaiting-may-end").exists(): await asyncio.sleep(0.05)
print("clicks:", composer.sent_list._count - before)
""",
}
NUMBERS = {"blocking": 2, "awaiting": 3}


def send_by_both_kinds_of_control(page: Page, text: str) -> None:
    """Send by the text box, whose script sends a custom message, and by a button of ipywidgets."""
    page.get_by_role("tab", name="Text", exact=True).click()
    page.get_by_role("textbox", name="Message", exact=True).fill(f"text, {text}")
    button(page, "Send").locator("visible=true").click()
    page.get_by_role("tab", name="Command", exact=True).click()
    page.get_by_role("textbox", name="Action", exact=True).fill(f"command, {text}")
    page.locator(".imkit-form .jupyter-button:visible", has_text="Send").click()


def expect_both_sent(page: Page, text: str) -> None:
    for kind in ("text", "command"):
        item = page.locator(".imkit-sent-list li", has_text=f"{kind}, {text}")
        expect(item.get_by_text("✓ sent")).to_be_visible()
    expect(page.locator(".imkit-feed").get_by_text(f"text, {text}")).to_be_visible()


def test_clicks_work_while_the_kernel_is_idle_blocked_or_awaiting(lab: Lab, page: Page) -> None:
    opened = open_cells(lab, page, "kernels", SETUP, FORMS, *CELLS.values())
    told = opened.run_cell(0)
    assert told is not None
    assert told.text.strip() == IPYKERNEL
    run_cells(opened, 1)
    send_by_both_kinds_of_control(page, "idle")
    expect_both_sent(page, "idle")

    for kind, number in NUMBERS.items():
        start_cell(page, number)
        # With every version, messages of other users arrive while the cell runs.
        expect(page.locator(".imkit-feed").get_by_text(f"sent during the {kind} cell")).to_be_visible()
        send_by_both_kinds_of_control(page, kind)
        if handles_clicks(kind):
            expect_both_sent(page, kind)
        Path(lab.root / f"{kind}-may-end").touch()
        wait_for_cell(page)
        if handles_clicks(kind) is not None:
            assert opened.shown(number).strip() == f"clicks: {2 if handles_clicks(kind) else 0}"
        expect_both_sent(page, kind)  # after the cell, no click is lost
    screenshot(page, f"kernels-{IPYKERNEL}")
