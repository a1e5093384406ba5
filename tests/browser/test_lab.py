"""The notebooks in a real JupyterLab, as a reader sees them."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.browser.jupyter import Lab, OpenNotebook, Ran
from tests.test_notebooks import each_notebook

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

# What JupyterLab and its renderers write where an output should be, when they cannot draw it.
BROKEN = ("Error displaying widget", "Error loading script", "Javascript Error", "Error rendering")


# A harness that could not see a failure would pass every notebook, so it is tested too.
def test_the_harness_sees_outputs_widgets_and_errors(lab: Lab, page: Page) -> None:
    name = lab.write(
        "harness.ipynb",
        "print('乌龙 🍵')",
        "import ipywidgets; ipywidgets.HTML('<b>drawn ' + 'in the browser</b>')",
        "1 / 0",
        "print('never')",
    )
    notebook = OpenNotebook(page, lab, name)
    printed, widget, failed = notebook.run()
    assert printed.text == "乌龙 🍵\n"
    assert "application/vnd.jupyter.widget-view+json" in widget.kinds
    page.get_by_text("drawn in the browser").wait_for()
    assert notebook.shown(1) == "drawn in the browser"
    assert failed.error == "ZeroDivisionError: division by zero"
    assert notebook.picture().stat().st_size > 10_000


def test_the_harness_sees_a_request_to_the_outside(lab: Lab, page: Page, asked_outside: list[str]) -> None:
    name = lab.write(
        "outside.ipynb", "from IPython.display import HTML; HTML('<img src=\"https://cdn.invalid/x.png\">')"
    )
    with page.expect_event("requestfailed"):
        OpenNotebook(page, lab, name).run()
    assert asked_outside == ["https://cdn.invalid/x.png"]
    asked_outside.clear()  # or the page fixture fails this test, as it should any other


def quickstart_shows_what_it_promises(notebook: OpenNotebook, ran: list[Ran]) -> None:
    shown = "\n".join(notebook.shown(cell.index) for cell in ran)
    assert "took back 'Dong Ding" in shown
    assert "RecallExpired 504" in shown
    table = notebook.page.locator(".jp-Cell-outputArea table.dataframe tbody tr")
    assert table.count() >= 5
    # Drawn here: the default renderer of altair would ask a CDN, and show nothing on a machine without a network.
    assert notebook.page.locator(".jp-Cell-outputArea .jp-RenderedSVG").count() == 1


def shows(*words: str) -> Callable[[OpenNotebook, list[Ran]], None]:
    def check(notebook: OpenNotebook, ran: list[Ran]) -> None:
        shown = "\n".join(notebook.shown(cell.index) for cell in ran)
        assert [word for word in words if word not in shown] == []

    return check


def analysis_shows_what_it_promises(notebook: OpenNotebook, ran: list[Ran]) -> None:
    # What it claims in words is tested on the data: tests/sandbox/server/test_demo.py. Here: it is on the page.
    shows("'rows': 8000", "Blue gaiwan, lost", "ayumi.sato", "林晓梅", "ids intact: True")(notebook, ran)
    assert notebook.page.locator(".jp-Cell-outputArea .jp-RenderedSVG").count() == 4


def forms_show_what_they_promise(notebook: OpenNotebook, ran: list[Ran]) -> None:
    page = notebook.page
    feed = page.locator(".imkit-feed")
    # Forms draw themselves when the page has time for it, not when their cell is done.
    for words in ("bob recalled this", "Lugu 鹿谷, Nantou", "Both 🍵🍵", "Which oolong should we order?"):
        feed.get_by_text(words).wait_for()
    for language in ("en", "zh"):
        page.locator(f".imkit-box[lang={language}] textarea").wait_for()
    page.locator(".imkit-conversation.thread", has_text="Oolong 乌龙").first.wait_for()
    assert "4 messages of" in "\n".join(notebook.shown(cell.index) for cell in ran)
    notebook.picture()


# What a reader must have seen at the end of each tutorial.
PROMISES = {
    "00-start": shows("works: alice is logged in at imkit#sandbox"),
    "01-quickstart": quickstart_shows_what_it_promises,
    "02-live-events": shows(
        "Good morning, Bob", "edited:   Tea at four", "recalled: Tea at four", "You said: Is anybody"
    ),
    "03-threads": shows("AlreadyExists", "Oolong 乌龙, autumn", "member_removed", "1300"),
    "04-message-types": shows("836 of 836 bytes", "说明.txt", "cup.png is no picture", "Lugu 鹿谷, Nantou", "grams"),
    "05-forms": forms_show_what_they_promise,
    "06-history-to-dataframe": analysis_shows_what_it_promises,
    "07-two-notebooks": shows(
        "bob.there: Here I am, in process",
        "You said: 茶到了吗？",
        "I did read it before you took it back: Don't tell Carol",
        "waiting for Bob was: PS",
    ),
    "08-your-own-app": shows("is no app key", "connected: True", "ConnectionLost", "ThreadNotFound", "TooLarge"),
    "09-archive": shows(
        "stopped after", "complete: False", "= 200,000", "sound;", "206 unchanged", "all three agree: True"
    ),
}


@pytest.mark.notebook
@each_notebook
def test_the_tutorial_runs_from_top_to_bottom(lab: Lab, page: Page, path: Path) -> None:
    notebook = OpenNotebook(page, lab, lab.add(path))
    ran = notebook.run()
    picture = notebook.picture()
    assert [cell.error for cell in ran if cell.error] == [], f"see {picture}"
    for cell in ran:
        shown = notebook.shown(cell.index)
        assert not [words for words in BROKEN if words in shown], f"cell {cell.index} is not drawn: see {picture}"
    PROMISES[path.stem](notebook, ran)
