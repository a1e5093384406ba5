"""The tutorials as HTML to share: run in a real JupyterLab, pictures, tables and forms included: `make tutorials`.

A page asks for nothing: no script, no style, no font and no picture from anywhere. Its forms, which need a kernel, are
pictures of what the reader of the notebook saw. It is written only if nothing secret that its kernel knew is in it.
"""

import ast
import base64
import re
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nbformat
from nbconvert import HTMLExporter
from playwright.sync_api import Locator, Page

from imkit.sandbox.state import read_state
from tests.browser import chromium
from tests.browser.jupyter import Lab, OpenNotebook
from tests.test_notebooks import NOTEBOOKS

ROOT = Path(__file__).parents[2]
START = "00-start"
_WIDGET = "application/vnd.jupyter.widget-view+json"

# JupyterLab's own look, without what it loads from other hosts. The policy has the browser itself refuse every script
# and every request, whatever the outputs hold.
_TEMPLATE = """
{%- extends 'lab/index.html.j2' -%}
{%- block html_head_js -%}
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; form-action 'none'">
{%- endblock -%}
{%- block html_head_js_mathjax -%}{%- endblock -%}
{%- block html_head_js_mermaidjs -%}{%- endblock -%}
{%- block html_head_css -%}
<style>
body.jp-Notebook { padding: 0; overflow: auto; }
main, nav { max-width: 1000px; margin: 0 auto; padding: 0 1rem; box-sizing: border-box; }
nav { display: flex; gap: 1.5rem; padding: 1rem 1rem 0 5.5rem; font: 14px system-ui, sans-serif; }
nav a { color: var(--jp-content-link-color); }
.jp-OutputArea-output { overflow-x: auto; }
.jp-OutputArea-child:not(.jp-OutputArea-executeResult) > .jp-OutputPrompt { padding: 0 6px; }
.jp-OutputArea-child:not(.jp-OutputArea-executeResult) > .jp-RenderedText { padding-left: 1ch; }
.jp-RenderedMarkdown .highlight { margin-bottom: 1em; }
.jp-RenderedImage img { max-width: 100%; height: auto; }
</style>
{%- endblock -%}
{%- block data_png -%}{{ super() | replace("<img", "<img alt='" ~ output.metadata.alt ~ "'") }}{%- endblock -%}
{%- block data_svg -%}{{ super() | replace("<img", "<img alt='" ~ output.metadata.alt ~ "'") }}{%- endblock -%}
{%- block body_header -%}
{{ super() }}
<nav aria-label="Tutorials">
{%- for name, words in resources.ways -%}<a href="{{ name }}">{{ words }}</a>{%- endfor -%}
</nav>
{%- endblock -%}
"""

# What no page may hold, known by its shape: tokens of the service, signed calls, what opens an attachment.
_SHAPES = re.compile(r"YWMt[\w-]{12,}|Bearer\s+[\w.-]{12,}|share-secret[\"']?\s*[=:]\s*[\"']?[\w-]{8,}")
# Everything secret that imkit's objects in a kernel hold, one a line.
_KNOWN_THERE = """"\\n".join(
    value
    for thing in __import__("gc").get_objects()
    if str(type(thing).__module__).startswith("imkit.")
    for name in ("secret", "thumbnail_secret", "_password", "_token", "_sandbox_secret")
    for value in [getattr(thing, name, None)]
    if isinstance(value, str) and len(value) > 7
)"""


def page_of(notebook: Any, name: str, ways: Iterable[tuple[str, str]] = ()) -> str:
    """Return a notebook that was run as one HTML file that needs nothing else.

    Args:
        notebook: with its outputs.
        name: the notebook's, without its ending; a first heading makes a better title.
        ways: links for the top of the page, each an address and its words.
    """
    shown = nbformat.from_dict(notebook)
    for cell in shown.cells:
        if cell.cell_type == "markdown":
            cell.source = re.sub(r"(?<=\]\()([\w-]+)\.ipynb(?=\))", lambda link: file_of(link[1]), cell.source)
        for output in cell.get("outputs", ()):
            if "metadata" in output:
                output.metadata.setdefault("alt", "What the cell above draws")
    # The state of the widgets is as large as the page, and of no use without scripts.
    shown.metadata.pop("widgets", None)
    heading = re.match(r"#\s+(.+)", shown.cells[0].source) if shown.cells else None
    shown.metadata["title"] = heading[1] if heading else name
    exporter = HTMLExporter(raw_template=_TEMPLATE, embed_images=True)
    page, _ = exporter.from_notebook_node(shown, {"ways": list(ways), "metadata": {"name": name}})
    return page


def file_of(name: str) -> str:
    return "index.html" if name == START else f"{name}.html"


def secrets_in(page: str, known: Iterable[str]) -> list[str]:
    """Return what of a page is secret, each cut to a hint of it: those known, and what has the shape of one."""
    found = [secret for secret in dict.fromkeys(known) if secret in page]
    found += _SHAPES.findall(page)
    return [f"{secret[:6]}…" for secret in found]


def open_the_explorer(page: Page) -> None:
    """Log in and pick the newest thread, or the picture would show a login and nothing else."""
    form = page.locator(".imkit-form").first
    form.get_by_role("button", name="Log in").click()
    threads = form.locator(".imkit-pane").first.locator(".imkit-conversation.thread", has_text="Oolong 乌龙")
    threads.first.click()
    form.locator(".imkit-feed").get_by_text("Both 🍵🍵").wait_for()


# What a reader does by mouse in a tutorial before its forms are worth a picture.
BY_MOUSE = {"05-forms.ipynb": open_the_explorer}


class Run:
    """A notebook, run from top to bottom in a JupyterLab.

    Attributes:
        notebook: with its outputs; where a form was, there is its picture.
        known: what is secret of what its kernel knows.
    """

    def __init__(self, page: Page, lab: Lab, name: str) -> None:
        opened = OpenNotebook(page, lab, name)
        opened.alone()
        ran = opened.run_to_the_end()
        if by_mouse := BY_MOUSE.get(name):
            by_mouse(page)
        settle(page)
        self.known = _known_there(page)
        # As it would be saved: what is undefined in the page is not there, and not null.
        saved = page.evaluate("() => JSON.stringify(window.jupyterapp.shell.currentWidget.content.model)")
        self.notebook = nbformat.reads(saved, as_version=4)
        for cell in ran:
            for number, output in enumerate(self.notebook.cells[cell.index].outputs):
                if _WIDGET in output.get("data", {}):
                    _put_picture(output, opened.output(cell.index, number))


def _put_picture(output: Any, place: Locator) -> None:
    place.scroll_into_view_if_needed()
    settle(place.page)
    picture, box = place.screenshot(), place.bounding_box()
    assert box is not None  # it has just been drawn
    output.data = {"image/png": base64.b64encode(picture).decode(), "text/plain": output.data.get("text/plain", "")}
    output.metadata = {"alt": "The form, as it looked in JupyterLab", "image/png": {"width": round(box["width"])}}


def settle(page: Page) -> None:
    """Wait until the page has not changed for half a second: forms draw themselves when there is time for it."""
    page.wait_for_load_state("networkidle")
    page.evaluate(
        """() => new Promise(done => {
            let quiet = setTimeout(done, 500);
            new MutationObserver(() => { clearTimeout(quiet); quiet = setTimeout(done, 500); })
                .observe(document.body, { subtree: true, childList: true, characterData: true });
            setTimeout(done, 5000);
        })"""
    )


def _known_there(page: Page) -> list[str]:
    reply = page.evaluate(
        """async expression => {
            const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
            const asked = kernel.requestExecute({
                code: '', silent: true, store_history: false, user_expressions: { known: expression } });
            return (await asked.done).content.user_expressions.known;
        }""",
        _KNOWN_THERE,
    )
    if reply["status"] != "ok":
        raise RuntimeError(f"the kernel does not say what is secret: {reply}")
    return ast.literal_eval(reply["data"]["text/plain"]).split("\n")


def main(folder: Path) -> None:
    names = [path.stem for path in NOTEBOOKS]
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place, Lab(Path(place)) as lab, chromium.running() as browser:
        context = browser.new_context(
            viewport={"width": 1000, "height": 1000}, device_scale_factor=1.5, timezone_id="Asia/Shanghai"
        )
        for number, path in enumerate(NOTEBOOKS):
            page = context.new_page()
            run = Run(page, lab, lab.add(path))
            ways = [("index.html", "All tutorials")] if number else []
            ways += [(file_of(name), f"← {name}") for name in names[max(number - 1, 0) : number]]
            ways += [(file_of(name), f"{name} →") for name in names[number + 1 : number + 2]]
            html = page_of(run.notebook, path.stem, ways)
            state = read_state(lab.imkit_home / "sandbox.json")
            secret = [*run.known, *([state.secret] if state else []), str(Path.home()), str(ROOT)]
            if found := secrets_in(html, secret):
                raise RuntimeError(f"{path.name}: its page would hold what is not to be shared: {found}")
            (folder / file_of(path.stem)).write_text(html, encoding="utf-8")
            print(folder / file_of(path.stem), f"{len(html.encode()) / 1e6:.1f} MB")
            page.close()
            lab.end_kernels()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
