"""The tutorials run in a real JupyterLab and show what they should."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.browser.jupyter import CellResult, Lab, OpenNotebook
from tests.installed_imkit import ROOT
from tests.test_notebooks import each_notebook

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

# Texts that JupyterLab and its renderers show in place of an output that they cannot draw.
BROKEN = ("Error displaying widget", "Error loading script", "Javascript Error", "Error rendering")


# If these helpers missed failures, all notebooks would pass; so they are tested first.
def test_outputs_widgets_and_errors_are_seen(lab: Lab, page: Page) -> None:
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
    assert notebook.screenshot().stat().st_size > 10_000


def test_a_request_to_the_outside_is_seen(lab: Lab, page: Page, outside_requests: list[str]) -> None:
    name = lab.write(
        "outside.ipynb", "from IPython.display import HTML; HTML('<img src=\"https://cdn.invalid/x.png\">')"
    )
    with page.expect_event("requestfailed"):
        OpenNotebook(page, lab, name).run()
    page.close()  # JupyterLab may draw the output again, which requests the picture again
    assert set(outside_requests) == {"https://cdn.invalid/x.png"}
    outside_requests.clear()  # else the `page` fixture fails this test


def test_the_tutorials_run_in_an_environment_that_has_the_wheel_alone(
    lab: Lab, page: Page, installed_python: Path
) -> None:
    name = lab.write(
        "installed.ipynb",
        "import json, sys, imkit\nprint(json.dumps([sys.executable, imkit.__file__, *sys.path]))",
        # What imkit does not need, so what the tests bring.
        "import importlib.util\n[n for n in ('pytest', 'playwright', 'hatchling') if importlib.util.find_spec(n)]",
    )
    told, extra = OpenNotebook(page, lab, name).run()
    python, module, *places = map(Path, json.loads(told.text))
    environment = installed_python.parents[1]
    assert python == installed_python
    assert module.is_relative_to(environment)
    assert [place for place in places if place.is_relative_to(ROOT)] == []
    assert extra.text == "[]"


def check_quickstart(notebook: OpenNotebook, ran: list[CellResult]) -> None:
    shown = "\n".join(notebook.shown(cell.index) for cell in ran)
    assert "recalled 'Dong Ding" in shown
    assert "RecallExpired 504" in shown
    assert "Bob quotes     Quote(" in shown
    assert "爱丽丝 Alice" in shown
    table = notebook.page.locator(".jp-Cell-outputArea table.dataframe tbody tr")
    assert table.count() >= 5
    # SVG: altair's default renderer loads scripts from a CDN and shows nothing without a network.
    assert notebook.page.locator(".jp-Cell-outputArea .jp-RenderedSVG").count() == 1


def contains(*words: str) -> Callable[[OpenNotebook, list[CellResult]], None]:
    def check(notebook: OpenNotebook, ran: list[CellResult]) -> None:
        shown = "\n".join(notebook.shown(cell.index) for cell in ran)
        assert [word for word in words if word not in shown] == []

    return check


def check_analysis(notebook: OpenNotebook, ran: list[CellResult]) -> None:
    # tests/sandbox/server/test_demo.py tests that the facts are true; this tests that the page shows them.
    contains("8,000 messages of", "complete", "Blue gaiwan, lost", "ayumi.sato", "林晓梅", "ids intact: True")(
        notebook, ran
    )
    assert notebook.page.locator(".jp-Cell-outputArea .jp-RenderedSVG").count() == 4


def check_forms(notebook: OpenNotebook, ran: list[CellResult]) -> None:
    page = notebook.page
    feed = page.locator(".imkit-feed")
    # Forms may be drawn some time after their cell has ended.
    for words in ("bob recalled this", "Lugu 鹿谷, Nantou", "Both 🍵🍵", "Which oolong should we order?"):
        feed.get_by_text(words).wait_for()
    for language in ("en", "zh"):
        page.locator(f".imkit-box[lang={language}] textarea").wait_for()
    page.locator(".imkit-conversation.thread", has_text="Oolong 乌龙").first.wait_for()
    assert "4 messages of" in "\n".join(notebook.shown(cell.index) for cell in ran)
    notebook.screenshot()


# By tutorial: checks what the page shows at its end.
EXPECTED_OUTPUT = {
    "00-start": contains("works: alice is logged in at imkit#sandbox"),
    "01-quickstart": check_quickstart,
    "02-live-events": contains(
        *("Good morning, Bob", "edited:   Tea at four", "recalled: Tea at four", "You said: Is anybody"),
        *("bob added 🍵", "bob has read it and says 'coming'", "NOTICE", "200 GET /thread/", "'thread_name': 'Live'"),
    ),
    "03-threads": contains(
        "AlreadyExists", "Oolong 乌龙, autumn", "member_removed", "1300", "爱丽丝 Alice", "alice recalled True"
    ),
    "04-message-types": contains(
        "836 of 836 bytes",
        "cup.png · 240 × 120 pixels",
        "说明.txt",
        "not a picture",
        "Lugu 鹿谷, Nantou",
        "grams",
        "('ALL',) ('bob',)",
    ),
    "05-forms": check_forms,
    "06-history-to-dataframe": check_analysis,
    "07-two-notebooks": contains(
        "bob.there: Here I am, in process",
        "You said: 茶到了吗？",
        "I did read it before you took it back: Don't tell Carol",
        "waiting for Bob was: PS",
    ),
    "08-your-own-app": contains(
        *(
            "is not an app key",
            "connected: True",
            "Both are reached.",
            "thread not exist",
            "All connection attempts failed",
        ),
        *("TooLarge", "at most 5,120 can be sent", "shorten it"),
    ),
    "09-archive": contains(
        "stopped after", "complete: False", "= 60,000", "sound;", "206 unchanged", "all three agree: True"
    ),
}


@pytest.mark.notebook
@each_notebook
def test_the_tutorial_runs_from_top_to_bottom(lab: Lab, page: Page, path: Path) -> None:
    notebook = OpenNotebook(page, lab, lab.add(path))
    ran = notebook.run()
    picture = notebook.screenshot()
    assert [cell.error for cell in ran if cell.error] == [], f"see {picture}"
    for cell in ran:
        shown = notebook.shown(cell.index)
        assert not [words for words in BROKEN if words in shown], f"cell {cell.index} is not drawn: see {picture}"
    EXPECTED_OUTPUT[path.stem](notebook, ran)
