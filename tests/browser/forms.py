"""Helpers of the tests of forms: make and run a notebook, log in, save, reload, take a screenshot."""

from pathlib import Path

from playwright.sync_api import Locator, Page

from tests.browser.jupyter import NOTEBOOK_IS_READY, SCREENSHOTS, TIMEOUT_SECONDS, Lab, OpenNotebook

# A name for threads, files and users. If it were used as markup, it would change the title of the page.
HOSTILE = "<img src=x onerror=\"document.title='stolen'\"><script>document.title='stolen'</script>"


def open_cells(lab: Lab, page: Page, name: str, *cells: str, width: int = 1280, height: int = 1000) -> OpenNotebook:
    """Open a new notebook with these code cells in the page, without the side bar."""
    page.set_viewport_size({"width": width, "height": height})
    opened = OpenNotebook(page, lab, lab.write(f"{name}.ipynb", *cells))
    opened.collapse_sidebar()
    return opened


def run_cells(notebook: OpenNotebook, *indexes: int) -> None:
    for index in indexes:
        ran = notebook.run_cell(index)
        assert ran is not None
        assert ran.error is None, ran.error


def start_cell(page: Page, index: int) -> None:
    """Start a cell; `wait_for_cell` waits for its end."""
    page.evaluate(
        """index => {
            const app = window.jupyterapp;
            app.shell.currentWidget.content.activeCellIndex = index;
            window.cellEnd = app.commands.execute('notebook:run-cell');
        }""",
        index,
    )


def wait_for_cell(page: Page) -> None:
    page.evaluate("() => window.cellEnd")


def screenshot(page: Page, name: str) -> Path:
    SCREENSHOTS.mkdir(exist_ok=True)
    page.evaluate("() => new Promise(requestAnimationFrame)")
    page.screenshot(path=SCREENSHOTS / f"{name}.png")
    return SCREENSHOTS / f"{name}.png"


def button(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=name, exact=True)


def setup_cell(user: str, other_user: str) -> str:
    """Return a cell that logs `me` in and makes two threads. Tests share a sandbox, so each uses its own users."""
    return f"""
import imkit
me, other = imkit.login({user!r}), imkit.login({other_user!r}, resource="setup")
group = me.create_group("tea 茶", members=[{other_user!r}])
thread = group.create_thread("Oolong 乌龙", group.send("Which oolong should we order?"))
hostile = group.create_thread({HOSTILE!r}[:64], group.send({HOSTILE!r}))
other.thread(thread.id).join(); other.thread(hostile.id).join()
other.close()
"""


def log_in(page: Page, user: str, enter: str = "Log in", field: str = "User") -> None:
    page.get_by_role("textbox", name=field, exact=True).fill(user)
    button(page, enter).click()


def save(page: Page) -> None:
    page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")


def reload(page: Page) -> None:
    """Save the notebook and reload the page; the kernel keeps running."""
    save(page)
    page.reload()
    page.wait_for_function(NOTEBOOK_IS_READY, timeout=TIMEOUT_SECONDS * 1000)
