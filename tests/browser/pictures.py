"""The README's pictures, taken in a real JupyterLab: `make pictures`.

One is a window on the quickstart after its run; the others are forms over the demo community, used by mouse as their
readers would.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Locator, Page

from tests.browser import chromium
from tests.browser.accessibility import set_theme
from tests.browser.forms import button, open_cells, run
from tests.browser.jupyter import Lab, OpenNotebook
from tests.browser.tutorials import settle

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "docs" / "pictures"
_DEMO = """
import imkit
demo = imkit.Sandbox.demo()
reader = imkit.login("jiang.nan", app=demo.app)
"""


def quickstart(page: Page, lab: Lab) -> Page:
    """The quickstart, run, from its history on."""
    page.set_viewport_size({"width": 1000, "height": 930})
    opened = OpenNotebook(page, lab, lab.add(ROOT / "notebooks" / "01-quickstart.ipynb"))
    opened.run_to_the_end()
    opened.alone()
    heading = page.get_by_role("heading", name="The history, as a DataFrame")
    heading.evaluate("heading => heading.scrollIntoView({block: 'start'})")
    return page


def explorer(page: Page, lab: Lab) -> Locator:
    """The explorer: a thread with pictures, a message of one's own that may still be recalled."""
    shown = "imkit.explore(session=reader, lang='en')"
    run(open_cells(lab, page, "explorer", _DEMO, shown, width=1100, height=1500), 0, 1)
    form = page.locator(".imkit-form").first
    form.locator(".imkit-conversation.thread", has_text="Photo wall").first.click()
    feed = form.locator(".imkit-feed")
    feed.locator("img").last.wait_for()
    form.locator(".imkit-box textarea").first.fill("The light on the terrace! 📷")
    button(page, "Send").first.click()
    feed.get_by_text("The light on the terrace!").wait_for()
    # It is on top of its group now.
    form.locator(".imkit-conversation[aria-selected=true]").first.scroll_into_view_if_needed()
    return form


def history(page: Page, lab: Lab) -> Locator:
    """The history form in 中文 and in the dark: all of a thread is loaded, and said as code."""
    thread = "next(one for one in reader.threads() if one.name.startswith('Photo wall'))"
    shown = f"imkit.widgets.HistoryForm(reader, [{thread}], lang='zh')"
    run(open_cells(lab, page, "history", _DEMO, shown, width=1100, height=1500), 0, 1)
    set_theme(page, "JupyterLab Dark")
    button(page, "加载").click()
    form = page.locator(".imkit-form").first
    form.locator("input").first.fill("Photo")
    form.locator("table tbody tr").first.wait_for()
    button(page, "显示代码").click()
    form.locator(".imkit-code pre").wait_for()
    return form


WANTED: tuple[Callable[[Page, Lab], Page | Locator], ...] = (quickstart, explorer, history)


def take(browser: Browser, lab: Lab, wanted: Callable[[Page, Lab], Page | Locator]) -> Path:
    context = browser.new_context(timezone_id="Asia/Shanghai", locale="en-US")
    page = context.new_page()
    shown = wanted(page, lab)
    settle(page)
    file = PICTURES / f"{wanted.__name__}.png"
    shown.screenshot(path=file)
    context.close()
    lab.end_kernels()
    # A page has few colours: a palette makes a third of the bytes of it, and no difference to the eye.
    Image.open(file).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(file, optimize=True)
    return file


def main() -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, Lab(Path(folder)) as lab, chromium.running() as browser:
        for wanted in WANTED:
            file = take(browser, lab, wanted)
            print(file, f"{file.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
