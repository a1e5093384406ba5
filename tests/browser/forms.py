"""What the journeys through the forms share: a notebook made of cells, and what a person does with a form."""

from pathlib import Path

from playwright.sync_api import Locator, Page

from tests.browser.jupyter import PATIENCE, READY, SCREENSHOTS, Lab, OpenNotebook

# Whatever a stranger may call a thread, a file or a person; each would be seen if it did something.
HOSTILE = "<img src=x onerror=\"document.title='stolen'\"><script>document.title='stolen'</script>"


def open_cells(lab: Lab, page: Page, name: str, *cells: str, width: int = 1280, height: int = 1000) -> OpenNotebook:
    """A notebook of these cells, open in the page, with nothing beside it."""
    page.set_viewport_size({"width": width, "height": height})
    opened = OpenNotebook(page, lab, lab.write(f"{name}.ipynb", *cells))
    opened.alone()
    return opened


def run(notebook: OpenNotebook, *indexes: int) -> None:
    for index in indexes:
        ran = notebook.run_cell(index)
        assert ran is not None
        assert ran.error is None, ran.error


def begin(page: Page, index: int) -> None:
    """Run a cell without waiting for its end; `ended` does that."""
    page.evaluate(
        """index => {
            const app = window.jupyterapp;
            app.shell.currentWidget.content.activeCellIndex = index;
            window.begun = app.commands.execute('notebook:run-cell');
        }""",
        index,
    )


def ended(page: Page) -> None:
    page.evaluate("() => window.begun")


def picture(page: Page, name: str) -> Path:
    SCREENSHOTS.mkdir(exist_ok=True)
    page.evaluate("() => new Promise(requestAnimationFrame)")
    page.screenshot(path=SCREENSHOTS / f"{name}.png")
    return SCREENSHOTS / f"{name}.png"


def button(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=name, exact=True)


def prepare(me: str, other: str) -> str:
    """A cell with two people and two threads. Each journey has people of its own: the sandbox is everybody's."""
    return f"""
import imkit
me, other = imkit.login({me!r}), imkit.login({other!r}, resource="setup")
group = me.create_group("tea 茶", members=[{other!r}])
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
    """Reload the page, as a browser does; the kernel goes on."""
    save(page)
    page.reload()
    page.wait_for_function(READY, timeout=PATIENCE * 1000)
