"""A real JupyterLab in a real browser, controlled through its application object, `window.jupyterapp`.

Cells are not run by clicks: the toolbar shows "idle" before there is a session, and a click then does nothing. The
application object knows when the notebook is ready, and its commands return when a cell has ended.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import urllib.request
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import nbformat
from playwright.sync_api import Locator, Page

from tests.conftest import end_shared_sandbox
from tests.installed_imkit import variables_for
from tests.started_lab import private_folders, until_it_answers
from tests.waits import eventually

HERE = Path(__file__).parent
SCREENSHOTS = HERE / "screenshots"
TIMEOUT_SECONDS = 60.0
_OUTPUT = ":scope > .jp-OutputArea-output"
# Whether a notebook is open, with an idle kernel and all its cells.
NOTEBOOK_IS_READY = """() => {
    const panel = window.jupyterapp?.shell?.currentWidget;
    return panel?.context?.isReady && panel.sessionContext?.session?.kernel?.status === 'idle'
        && panel.content.widgets.length === panel.content.model.cells.length;
}"""

SETTINGS: dict[str, dict[str, Any]] = {
    # Keep cells in the page that are out of view.
    "notebook-extension/tracker": {"windowingMode": "none"},
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}


class Lab:
    """A JupyterLab process with a port, a configuration, an imkit home and a notebooks folder of its own.

    Args:
        place: the folder for all of these.
        python: the Python whose JupyterLab and imkit it runs; `None` for the running one.
    """

    def __init__(self, place: Path, python: Path | None = None) -> None:
        self.root = place / "notebooks"
        self.root.mkdir(parents=True)
        own_folders = private_folders(place)
        self.imkit_home = place / "imkit-home"
        settings = Path(own_folders["JUPYTERLAB_SETTINGS_DIR"])
        for name, content in SETTINGS.items():
            file = settings / "@jupyterlab" / f"{name}.jupyterlab-settings"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(content))
        options = {
            "ServerApp.ip": "127.0.0.1",
            "ServerApp.port": "0",
            "ServerApp.root_dir": str(self.root),
            "ServerApp.password": "",
            "ServerApp.disable_check_xsrf": "True",
            "IdentityProvider.token": "",
            "LabApp.expose_app_in_browser": "True",
            "LabApp.extension_manager": "readonly",
            "LabApp.news_url": "None",
        }
        # The user's own IMKIT_ variables may name a real app; tests and screenshots must not use it.
        environment = {name: value for name, value in variables_for(python).items() if not name.startswith("IMKIT_")}
        self._process = subprocess.Popen(
            [
                *(str(python or sys.executable), "-m", "jupyterlab", "--no-browser", "--allow-root"),
                *(f"--{name}={value}" for name, value in options.items()),
            ],
            cwd=self.root,
            env=environment | own_folders | {"IMKIT_HOME": str(self.imkit_home)},
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # kernels are in its process group, so that `close` can end them too
        )
        self._log: deque[str] = deque(maxlen=60)
        self._running = threading.Event()
        self.url = ""
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()
        if not self._running.wait(TIMEOUT_SECONDS) or not self.url:
            self.close()
            raise RuntimeError(f"JupyterLab did not start:\n{''.join(self._log)}")
        until_it_answers(self.url)

    def _read_log(self) -> None:
        for line in self._process.stderr:
            self._log.append(line)
            address = re.search(r"(http://127\.0\.0\.1:[1-9]\d*)/lab", line)
            if address and not self.url:
                self.url = address[1]
                self._running.set()
        self._running.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def end_kernels(self) -> None:
        """Shut all kernels down; a kernel of an earlier test would keep its users logged in and take their messages.

        First their pages must be gone. JupyterLab connects to a kernel that ends before its page again and again, and
        the servers of other tests get its ports.
        """
        kernels: list[dict[str, Any]] = []

        def pages_are_gone() -> bool:
            kernels[:] = json.load(self._ask("GET", "kernels"))
            return not any(kernel["connections"] for kernel in kernels)

        eventually(pages_are_gone)
        for kernel in kernels:
            self._ask("DELETE", f"kernels/{kernel['id']}")

    def close(self) -> None:
        """End the kernels through JupyterLab's API, then the sandbox that they started, then the process group."""
        if self.url:
            self.end_kernels()
        end_shared_sandbox(self.imkit_home)
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)
            try:
                self._process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
        self._reader.join(5)
        self._process.stderr.close()

    def _ask(self, method: str, path: str) -> Any:
        # The caller may ignore the reply: that of a DELETE is empty.
        return urllib.request.urlopen(
            urllib.request.Request(f"{self.url}/api/{path}", method=method), timeout=TIMEOUT_SECONDS
        )

    def add(self, notebook: Path) -> str:
        """Copy a notebook into the notebooks folder, so that runs do not write into the repository; return its name."""
        shutil.copyfile(notebook, self.root / notebook.name)
        return notebook.name

    def write(self, name: str, *cells: str) -> str:
        """Write a notebook with these code cells into the notebooks folder; return its name."""
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
        # Without a kernelspec JupyterLab asks the user to choose a kernel.
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(notebook, self.root / name)
        return name


@dataclass
class CellResult:
    """Source and outputs of a code cell that was run."""

    index: int
    source: str
    outputs: list[dict[str, Any]] = field(repr=False)

    @property
    def error(self) -> str | None:
        for output in self.outputs:
            if output["output_type"] == "error":
                return f"{output['ename']}: {output['evalue']}"
        return None

    @property
    def text(self) -> str:
        """All printed text and all outputs as plain text."""
        parts = []
        for output in self.outputs:
            text = output.get("text", output.get("data", {}).get("text/plain", ""))
            parts.append("".join(text) if isinstance(text, list) else text)
        return "".join(parts)

    @property
    def kinds(self) -> set[str]:
        """MIME types of the outputs."""
        return {kind for output in self.outputs for kind in output.get("data", {})}


class OpenNotebook:
    """A notebook that is open in the page, with its kernel ready."""

    def __init__(self, page: Page, lab: Lab, name: str) -> None:
        self.page = page
        self.name = name
        # `reset` discards the workspace of the test before.
        page.goto(f"{lab.url}/lab/tree/{name}?reset", timeout=TIMEOUT_SECONDS * 1000)
        page.wait_for_function(NOTEBOOK_IS_READY, timeout=TIMEOUT_SECONDS * 1000)

    def run(self, timeout: float = TIMEOUT_SECONDS) -> list[CellResult]:
        """Run the cells one by one and stop after the first that raises.

        Args:
            timeout: of one cell, in seconds.

        Raises:
            playwright.sync_api.Error: a cell did not end in time.
        """
        count = self.page.evaluate("() => window.jupyterapp.shell.currentWidget.content.widgets.length")
        ran = []
        for index in range(count):
            done = self.run_cell(index, timeout)
            if done is not None:
                ran.append(done)
                if done.error:
                    break
        return ran

    def run_to_the_end(self) -> list[CellResult]:
        """Run all cells; raise if one of them raises."""
        ran = self.run()
        for cell in ran:
            if cell.error:
                raise RuntimeError(f"{self.name}: {cell.error}")
        return ran

    def collapse_sidebar(self) -> None:
        """Hide the file browser on the left."""
        self.page.evaluate("() => window.jupyterapp.shell.collapseLeft()")

    def run_cell(self, index: int, timeout: float = TIMEOUT_SECONDS) -> CellResult | None:
        """Run one cell and wait for its end; `None` for a Markdown cell."""
        result = self.page.evaluate(
            """async ([index, timeout]) => {
                const app = window.jupyterapp;
                const notebook = app.shell.currentWidget.content;
                const cell = notebook.model.cells.get(index);
                if (cell.type !== 'code') return null;
                notebook.activeCellIndex = index;
                const late = new Promise((_, reject) => setTimeout(
                    () => reject(new Error(`cell ${index} is not done after ${timeout} s`)), timeout * 1000));
                await Promise.race([app.commands.execute('notebook:run-cell'), late]);
                return { source: cell.sharedModel.getSource(), outputs: cell.outputs.toJSON() };
            }""",
            [index, timeout],
        )
        return None if result is None else CellResult(index, result["source"], result["outputs"])

    def shown(self, index: int) -> str:
        """Return the visible text of a cell's outputs, widgets included."""
        return "\n".join(self._output_rows(index).locator(_OUTPUT).all_inner_texts())

    def output(self, index: int, number: int) -> Locator:
        """Return one of a cell's outputs."""
        return self._output_rows(index).nth(number).locator(_OUTPUT)

    def _output_rows(self, index: int) -> Locator:
        """Return a cell's outputs, each with its prompt."""
        cell = self.page.locator(".jp-Notebook .jp-Cell").nth(index)
        # `first`: an Output widget inside the output has an output area too.
        return cell.locator(".jp-Cell-outputArea").first.locator(":scope > .jp-OutputArea-child")

    def screenshot(self) -> Path:
        """Take a screenshot of the whole notebook, for developers to look at; git ignores the folder."""
        SCREENSHOTS.mkdir(exist_ok=True)
        # JupyterLab scrolls inside the page: make the page as high as the cells, then scroll to their top.
        height = self.page.evaluate(
            """() => {
                const cells = [...document.querySelectorAll('.jp-NotebookPanel .jp-Cell')];
                return cells.at(-1).getBoundingClientRect().bottom - cells[0].getBoundingClientRect().top;
            }"""
        )
        width = self.page.viewport_size["width"]
        self.page.set_viewport_size({"width": width, "height": min(int(height) + 150, 16000)})
        self.page.evaluate(
            """() => {
                document.querySelector('.jp-NotebookPanel .jp-WindowedPanel-outer').scrollTop = 0;
                return new Promise(requestAnimationFrame);
            }"""
        )
        file = SCREENSHOTS / f"{Path(self.name).stem}.png"
        self.page.locator(".jp-NotebookPanel").first.screenshot(path=file)
        return file
