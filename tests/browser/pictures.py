"""The README's pictures, taken of the tutorials in a real JupyterLab: `make pictures`.

Each is a window on one notebook that was run from top to bottom, scrolled to the cell that it is about.
"""

import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.browser import chromium
from tests.browser.jupyter import Lab, OpenNotebook
from tests.conftest import end_shared_sandbox

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "docs" / "pictures"
# picture → notebook, the words at the top of the window, its size
WANTED = {"quickstart": ("01-quickstart", "The history, as a DataFrame", (1000, 930))}


def main() -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, Lab(Path(folder)) as lab, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium.find(), args=["--no-sandbox", "--disable-gpu"])
        for name, (notebook, words, (width, height)) in WANTED.items():
            context = browser.new_context(viewport={"width": width, "height": height}, timezone_id="Asia/Shanghai")
            page = context.new_page()
            opened = OpenNotebook(page, lab, lab.add(ROOT / "notebooks" / f"{notebook}.ipynb"))
            failed = [cell.error for cell in opened.run() if cell.error]
            if failed:
                raise RuntimeError(f"{notebook}: {failed}")
            page.evaluate("() => window.jupyterapp.shell.collapseLeft()")
            page.get_by_role("heading", name=words).evaluate("heading => heading.scrollIntoView({block: 'start'})")
            page.wait_for_load_state("networkidle")
            page.screenshot(path=PICTURES / f"{name}.png")
            print(PICTURES / f"{name}.png")
            context.close()
        browser.close()
        end_shared_sandbox(lab.imkit_home)


if __name__ == "__main__":
    main()
