"""Run the tutorials in a real JupyterLab and write each as one HTML file to share: `make tutorials`.

The file contains everything it shows and loads nothing. Forms need a kernel, so the file contains screenshots of them.
A file that would contain a secret of its kernel is not written.
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

# nbconvert's template with the style of JupyterLab, without its scripts from other hosts. The Content-Security-Policy
# makes the browser refuse all scripts and all requests, also those in outputs.
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
{%- for name, text in resources.links -%}<a href="{{ name }}">{{ text }}</a>{%- endfor -%}
</nav>
{%- endblock -%}
"""

# Secrets with a known form: tokens of the service, Authorization headers, share-secrets of attachments.
_SHAPES = re.compile(r"YWMt[\w-]{12,}|Bearer\s+[\w.-]{12,}|share-secret[\"']?\s*[=:]\s*[\"']?[\w-]{8,}")
# An expression that returns all secrets in imkit's objects in a kernel, one a line.
_SECRETS_IN_KERNEL = """"\\n".join(
    value
    for thing in __import__("gc").get_objects()
    if str(type(thing).__module__).startswith("imkit.")
    for name in ("secret", "thumbnail_secret", "_password", "_token")
    for value in [getattr(thing, name, None)]
    if isinstance(value, str) and len(value) > 7
)"""


def page_of(notebook: Any, name: str, links: Iterable[tuple[str, str]] = ()) -> str:
    """Return a notebook with its outputs as the text of one HTML file.

    Args:
        notebook: with its outputs.
        name: the notebook's file name without the suffix; the title if the notebook has no heading.
        links: for the top of the page, each a file name and a text.
    """
    shown = nbformat.from_dict(notebook)
    for cell in shown.cells:
        if cell.cell_type == "markdown":
            cell.source = re.sub(r"(?<=\]\()([\w-]+)\.ipynb(?=\))", lambda link: file_of(link[1]), cell.source)
        for output in cell.get("outputs", ()):
            if "metadata" in output:
                output.metadata.setdefault("alt", "What the cell above draws")
    # Without scripts the widgets' state is useless, and it is as large as the rest.
    shown.metadata.pop("widgets", None)
    heading = re.match(r"#\s+(.+)", shown.cells[0].source) if shown.cells else None
    shown.metadata["title"] = heading[1] if heading else name
    exporter = HTMLExporter(raw_template=_TEMPLATE, embed_images=True)
    page, _ = exporter.from_notebook_node(shown, {"links": list(links), "metadata": {"name": name}})
    return page


def file_of(name: str) -> str:
    return "index.html" if name == START else f"{name}.html"


def secrets_in(page: str, known: Iterable[str]) -> list[str]:
    """Return the secrets in a page: those known, and texts with the form of one. Each is cut to a few characters."""
    found = [secret for secret in dict.fromkeys(known) if secret in page]
    found += _SHAPES.findall(page)
    return [f"{secret[:6]}…" for secret in found]


def open_the_explorer(page: Page) -> None:
    """Log in and pick the newest thread, so that the picture shows more than a login form."""
    form = page.locator(".imkit-form").first
    form.get_by_role("button", name="Log in").click()
    threads = form.locator(".imkit-pane").first.locator(".imkit-conversation.thread", has_text="Oolong 乌龙")
    threads.first.click()
    form.locator(".imkit-feed").get_by_text("Both 🍵🍵").wait_for()


# By notebook: clicks to make before the screenshots of its forms.
PREPARE_BY_MOUSE = {"05-forms.ipynb": open_the_explorer}


class Run:
    """A notebook that was run from top to bottom in JupyterLab.

    Attributes:
        notebook: with its outputs; forms are replaced by screenshots.
        known: the secrets that its kernel knew.
    """

    def __init__(self, page: Page, lab: Lab, name: str) -> None:
        opened = OpenNotebook(page, lab, name)
        opened.collapse_sidebar()
        ran = opened.run_to_the_end()
        if prepare := PREPARE_BY_MOUSE.get(name):
            prepare(page)
        wait_until_quiet(page)
        self.known = _secrets_in_kernel(page)
        # JSON.stringify leaves out undefined values, as saving does; evaluate() would make them null.
        saved = page.evaluate("() => JSON.stringify(window.jupyterapp.shell.currentWidget.content.model)")
        self.notebook = nbformat.reads(saved, as_version=4)
        for cell in ran:
            for number, output in enumerate(self.notebook.cells[cell.index].outputs):
                if _WIDGET in output.get("data", {}):
                    _put_picture(output, opened.output(cell.index, number))


def _put_picture(output: Any, place: Locator) -> None:
    place.scroll_into_view_if_needed()
    wait_until_quiet(place.page)
    picture, box = place.screenshot(), place.bounding_box()
    assert box is not None  # it has just been drawn
    output.data = {"image/png": base64.b64encode(picture).decode(), "text/plain": output.data.get("text/plain", "")}
    output.metadata = {"alt": "The form, as it looked in JupyterLab", "image/png": {"width": round(box["width"])}}


def wait_until_quiet(page: Page) -> None:
    """Wait until the page has not changed for 0.5 s, at most 5 s; forms are drawn some time after their cell."""
    page.wait_for_load_state("networkidle")
    page.evaluate(
        """() => new Promise(done => {
            let quiet = setTimeout(done, 500);
            new MutationObserver(() => { clearTimeout(quiet); quiet = setTimeout(done, 500); })
                .observe(document.body, { subtree: true, childList: true, characterData: true });
            setTimeout(done, 5000);
        })"""
    )


def _secrets_in_kernel(page: Page) -> list[str]:
    reply = page.evaluate(
        """async expression => {
            const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
            const asked = kernel.requestExecute({
                code: '', silent: true, store_history: false, user_expressions: { known: expression } });
            return (await asked.done).content.user_expressions.known;
        }""",
        _SECRETS_IN_KERNEL,
    )
    if reply["status"] != "ok":
        raise RuntimeError(f"the kernel did not return its secrets: {reply}")
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
            links = [("index.html", "All tutorials")] if number else []
            links += [(file_of(name), f"← {name}") for name in names[max(number - 1, 0) : number]]
            links += [(file_of(name), f"{name} →") for name in names[number + 1 : number + 2]]
            html = page_of(run.notebook, path.stem, links)
            state = read_state(lab.imkit_home / "sandbox.json")
            secrets = [*run.known, *([state.secret] if state else []), str(Path.home()), str(ROOT)]
            if found := secrets_in(html, secrets):
                raise RuntimeError(f"{path.name}: its page would contain secrets: {found}")
            (folder / file_of(path.stem)).write_text(html, encoding="utf-8")
            print(folder / file_of(path.stem), f"{len(html.encode()) / 1e6:.1f} MB")
            page.close()
            lab.end_kernels()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
