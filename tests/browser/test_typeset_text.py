"""JupyterLab typesets nothing that other users wrote: prices read as they were typed, and no rule paints the page."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.jupyter import Lab, OpenNotebook

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

PRICES = "It costs $5 here and $6 there"
TEXTS = [PRICES, r"$$\rule{900px}{900px}$$", r"\(x\) and \[y\]", r"\begin{align}z\end{align}"]
TYPESET = "mjx-container, .MathJax"


def test_nothing_that_others_wrote_is_typeset(lab: Lab, page: Page) -> None:
    cells = [
        f"""
import imkit, imkit.widgets
me = imkit.login("fay")
group = me.create_group({PRICES!r})
thread = group.create_thread({PRICES!r}, group.send({PRICES!r}))
sent = [thread.send(text) for text in {TEXTS!r}]
frame = thread.history()""",
        "frame",
        "frame[['text']].head()",
        "frame.style.hide()",
        "display(thread, group, *sent)",
        "imkit.widgets.LiveFeed(me, thread, lang='en', height=430)",
        "imkit.widgets.ThreadPicker(me, lang='en', height=200)",
        "form = imkit.widgets.HistoryForm(me, [thread], lang='en')\nform",
        # MathJax is at work on this page: this one it does typeset.
        f"from IPython.display import HTML\nHTML('<p>{PRICES}</p>')",
    ]
    page.set_viewport_size({"width": 1100, "height": 900})
    notebook = OpenNotebook(page, lab, lab.write("typeset-text.ipynb", *cells))
    notebook.run_to_the_end()
    page.locator(".imkit-form button", has_text="Load").last.click()
    expect(page.locator("table.dataTable tbody tr")).to_have_count(len(TEXTS), timeout=30_000)
    outputs = page.locator(".jp-Notebook .jp-Cell")
    outputs.last.locator(TYPESET).first.wait_for(state="attached", timeout=30_000)
    expect(page.locator(".imkit-feed .imkit-message")).to_have_count(len(TEXTS), timeout=30_000)
    picture = notebook.screenshot()
    for number in range(1, len(cells) - 1):
        shown = outputs.nth(number).locator(".jp-Cell-outputArea").first
        assert shown.locator(TYPESET).count() == 0, f"cell {number}: see {picture}"
        assert PRICES in shown.inner_text(), f"cell {number}: see {picture}"
