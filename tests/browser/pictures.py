"""Take the README's pictures in a real JupyterLab: `make pictures`.

One shows the quickstart notebook after a run; the others show forms with the demo community, after some clicks.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Locator, Page

from tests.browser import chromium
from tests.browser.accessibility import set_theme
from tests.browser.forms import button, open_cells, run_cells
from tests.browser.jupyter import Lab, OpenNotebook
from tests.browser.tutorials import wait_until_quiet

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "docs" / "pictures"
_DEMO = """
import imkit
demo = imkit.Sandbox.demo()
reader = imkit.login("jiang.nan", app=demo.app)
"""


def quickstart(page: Page, lab: Lab) -> Page:
    """Run the quickstart and scroll to its history."""
    page.set_viewport_size({"width": 1000, "height": 930})
    opened = OpenNotebook(page, lab, lab.add(ROOT / "notebooks" / "01-quickstart.ipynb"))
    opened.run_to_the_end()
    opened.collapse_sidebar()
    heading = page.get_by_role("heading", name="The history, as a DataFrame")
    heading.evaluate("heading => heading.scrollIntoView({block: 'start'})")
    return page


def explorer(page: Page, lab: Lab) -> Locator:
    """Open the explorer on a thread with pictures and send a message that can still be recalled."""
    shown = "imkit.explore(session=reader, lang='en')"
    run_cells(open_cells(lab, page, "explorer", _DEMO, shown, width=1100, height=1500), 0, 1)
    form = page.locator(".imkit-form").first
    form.locator(".imkit-conversation.thread", has_text="Photo wall").first.click()
    feed = form.locator(".imkit-feed")
    feed.locator("img").last.wait_for()
    form.locator(".imkit-box textarea").first.fill("The light on the terrace! 📷")
    button(page, "Send").first.click()
    feed.get_by_text("The light on the terrace!").wait_for()
    # The new message moved the thread to the top of its group.
    form.locator(".imkit-conversation[aria-selected=true]").first.scroll_into_view_if_needed()
    return form


def history(page: Page, lab: Lab) -> Locator:
    """Load a thread in the history form, in 中文 and in a dark theme, and show the code."""
    thread = "next(one for one in reader.threads() if one.name.startswith('Photo wall'))"
    shown = f"imkit.widgets.HistoryForm(reader, [{thread}], lang='zh')"
    run_cells(open_cells(lab, page, "history", _DEMO, shown, width=1100, height=1500), 0, 1)
    set_theme(page, "JupyterLab Dark")
    button(page, "加载").click()
    form = page.locator(".imkit-form").first
    form.locator("input").first.fill("Photo")
    form.locator("table tbody tr").first.wait_for()
    button(page, "显示代码").click()
    form.locator(".imkit-code pre").wait_for()
    return form


PICTURES_TO_TAKE: tuple[Callable[[Page, Lab], Page | Locator], ...] = (quickstart, explorer, history)


def take(browser: Browser, lab: Lab, open_form: Callable[[Page, Lab], Page | Locator]) -> Path:
    context = browser.new_context(timezone_id="Asia/Shanghai", locale="en-US")
    page = context.new_page()
    shown = open_form(page, lab)
    wait_until_quiet(page)
    file = PICTURES / f"{open_form.__name__}.png"
    shown.screenshot(path=file)
    context.close()
    lab.end_kernels()
    # A screenshot has few colours: with a palette the file has a third of the bytes and looks the same.
    Image.open(file).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(file, optimize=True)
    return file


def main() -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, Lab(Path(folder)) as lab, chromium.running() as browser:
        for open_form in PICTURES_TO_TAKE:
            file = take(browser, lab, open_form)
            print(file, f"{file.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
