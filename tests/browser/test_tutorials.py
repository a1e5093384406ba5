"""`make tutorials` with a notebook that has forms, plots, hostile HTML and secrets."""

from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Page, Request

from tests.browser.jupyter import Lab
from tests.browser.tutorials import Run, page_of, secrets_in

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

# Elements that load something from outside, and a script.
HOSTILE = """<img src="https://cdn.invalid/x.png"><link rel="stylesheet" href="https://cdn.invalid/x.css">
<iframe src="https://cdn.invalid/"></iframe><script>document.title = "stolen"</script><b>shown all the same</b>"""


def test_the_html_file_loads_nothing_and_has_no_secret(
    lab: Lab, page: Page, outside_requests: list[str], tmp_path: Path
) -> None:
    name = lab.write(
        "to-share.ipynb",
        "import imkit\n\nalice = imkit.login('sharer')\ngroup = alice.create_group('shared')\n"
        "sent = group.send(imkit.File(b'tea', file_name='tea.txt'))\ngroup.history()[['sender', 'file_name']]",
        "import altair as alt, pandas as pd\n\nalt.renderers.enable('svg')\n"
        "alt.Chart(pd.DataFrame({'n': [1, 2]}), width=300).mark_bar().encode(x='n:O', y='n:Q')",
        "composer = imkit.widgets.Composer(group)\ncomposer",
    )
    run = Run(page, lab, name)
    written = run.notebook
    written.cells.insert(0, nbformat.v4.new_markdown_cell("# To share\n\n[before](00-start.ipynb) `$x$`"))
    hostile = nbformat.v4.new_output("display_data", {"text/html": HOSTILE, "text/plain": "hostile"})
    written.cells.append(nbformat.v4.new_code_cell("hostile", outputs=[hostile]))
    html = page_of(written, "to-share", [("index.html", "All tutorials")])
    # The kernel knew at least the app's secret and the share-secret of the attachment.
    assert len(run.known) >= 2
    assert secrets_in(html, run.known) == []
    file = tmp_path / "to-share.html"
    file.write_text(html, encoding="utf-8")

    failed_requests: dict[str, str | None] = {}
    shared = page.context.new_page()

    def note(request: Request) -> None:
        failed_requests[request.url] = request.failure

    shared.on("requestfailed", note)
    shared.goto(file.as_uri())
    shared.wait_for_load_state("networkidle")
    # The page requested only two URLs of the hostile output, and its Content-Security-Policy refused them.
    assert failed_requests == dict.fromkeys(("https://cdn.invalid/x.png", "https://cdn.invalid/x.css"), "csp")
    assert sorted(outside_requests) == sorted(failed_requests)
    outside_requests.clear()
    assert shared.title() == "To share"
    assert shared.get_by_text("shown all the same").is_visible()
    assert shared.get_by_role("link", name="before").get_attribute("href") == "index.html"
    assert shared.get_by_role("cell", name="tea.txt").is_visible()
    chart, form = shared.locator(".jp-OutputArea-output img").nth(0), shared.locator(".jp-RenderedImage img")
    for picture in (chart, form):
        assert picture.evaluate("image => image.complete && image.naturalWidth > 100")
    assert form.get_attribute("alt")
    assert html.count("<script") == HOSTILE.count("<script")
    assert "widget-view" not in html


def test_secrets_in_a_page_are_found() -> None:
    # Put together here, so that secret scanners do not report this file.
    token, opens = "YW" + "Mt" + "x" * 30, "share-" + "secret"
    cells = [
        nbformat.v4.new_code_cell("1", outputs=[nbformat.v4.new_output("stream", name="stdout", text=text)])
        for text in (
            token,
            f"https://a1.invalid/f?{opens}=abcdefghijk",
            "Bearer abcdef.ghijkl.mnopqr",
            "the word hunter2",
        )
    ]
    html = page_of(nbformat.v4.new_notebook(cells=cells), "leaky")
    assert secrets_in(html, ["hunter2", "not there"]) == ["hunter…", "YWMtxx…", "share-…", "Bearer…"]
    # The result does not repeat the secret.
    assert token not in str(secrets_in(html, [token]))
