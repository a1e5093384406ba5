"""A real JupyterLab in a real browser, driven through the application object it exposes.

Clicks and keys are not used to run cells: the toolbar says "idle" before there is a session, and clicks then go
nowhere without an error. The application knows when it is ready, and its commands return when a cell is done.
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
from tests.started_lab import private_folders, until_it_answers

HERE = Path(__file__).parent
SCREENSHOTS = HERE / "screenshots"
PATIENCE = 60.0
_OUTPUT = ":scope > .jp-OutputArea-output"
# A notebook is open, with its kernel and all its cells.
READY = """() => {
    const panel = window.jupyterapp?.shell?.currentWidget;
    return panel?.context?.isReady && panel.sessionContext?.session?.kernel?.status === 'idle'
        && panel.content.widgets.length === panel.content.model.cells.length;
}"""

SETTINGS: dict[str, dict[str, Any]] = {
    # All cells are in the page, also those out of view.
    "notebook-extension/tracker": {"windowingMode": "none"},
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}


class Lab:
    """A JupyterLab of its own: own port, own configuration, own imkit home, own notebooks folder."""

    def __init__(self, place: Path) -> None:
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
        # What the machine's owner has configured is none of a test's business, and no picture's: it may be a real app.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("IMKIT_")}
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
                *(f"--{name}={value}" for name, value in options.items()),
            ],
            env=environment | own_folders | {"IMKIT_HOME": str(self.imkit_home)},
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # kernels stay in its group, so the end reaches them and nothing else
        )
        self._log: deque[str] = deque(maxlen=60)
        self._running = threading.Event()
        self.url = ""
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()
        if not self._running.wait(PATIENCE) or not self.url:
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
        """Shut every kernel down: one left running keeps its users logged in, and takes what is meant for others."""
        for kernel in json.load(self._ask("GET", "kernels")):
            self._ask("DELETE", f"kernels/{kernel['id']}")

    def close(self) -> None:
        """Kernels first, by the server's own word, then the sandbox that they started, then the process group."""
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
        # Closing without reading: a DELETE has nothing to say.
        return urllib.request.urlopen(urllib.request.Request(f"{self.url}/api/{path}", method=method), timeout=PATIENCE)

    def add(self, notebook: Path) -> str:
        """Copy a notebook where JupyterLab sees it; runs never write into the repository."""
        shutil.copyfile(notebook, self.root / notebook.name)
        return notebook.name

    def write(self, name: str, *cells: str) -> str:
        """Write a notebook of these code cells there."""
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
        # Without it JupyterLab asks the reader which kernel to start, and waits.
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(notebook, self.root / name)
        return name


@dataclass
class Ran:
    """What running one code cell gave."""

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
        """Everything the cell printed or showed as plain text."""
        parts = []
        for output in self.outputs:
            said = output.get("text", output.get("data", {}).get("text/plain", ""))
            parts.append("".join(said) if isinstance(said, list) else said)
        return "".join(parts)

    @property
    def kinds(self) -> set[str]:
        """The MIME types that the cell's outputs offer."""
        return {kind for output in self.outputs for kind in output.get("data", {})}


class OpenNotebook:
    """A notebook open in the page, with its kernel ready."""

    def __init__(self, page: Page, lab: Lab, name: str) -> None:
        self.page = page
        self.name = name
        # `reset` forgets the workspace of the test before.
        page.goto(f"{lab.url}/lab/tree/{name}?reset", timeout=PATIENCE * 1000)
        page.wait_for_function(READY, timeout=PATIENCE * 1000)

    def run(self, patience: float = PATIENCE) -> list[Ran]:
        """Run the cells one by one; stop after the first that raises, or that is not done in time."""
        count = self.page.evaluate("() => window.jupyterapp.shell.currentWidget.content.widgets.length")
        ran = []
        for index in range(count):
            done = self.run_cell(index, patience)
            if done is not None:
                ran.append(done)
                if done.error:
                    break
        return ran

    def run_to_the_end(self) -> list[Ran]:
        """Run the cells one by one, and raise what one of them raises."""
        ran = self.run()
        for cell in ran:
            if cell.error:
                raise RuntimeError(f"{self.name}: {cell.error}")
        return ran

    def alone(self) -> None:
        """Have nothing beside it."""
        self.page.evaluate("() => window.jupyterapp.shell.collapseLeft()")

    def run_cell(self, index: int, patience: float = PATIENCE) -> Ran | None:
        """Run one cell and wait until its kernel has finished it; None for prose."""
        result = self.page.evaluate(
            """async ([index, patience]) => {
                const app = window.jupyterapp;
                const notebook = app.shell.currentWidget.content;
                const cell = notebook.model.cells.get(index);
                if (cell.type !== 'code') return null;
                notebook.activeCellIndex = index;
                const late = new Promise((_, reject) => setTimeout(
                    () => reject(new Error(`cell ${index} is not done after ${patience} s`)), patience * 1000));
                await Promise.race([app.commands.execute('notebook:run-cell'), late]);
                return { source: cell.sharedModel.getSource(), outputs: cell.outputs.toJSON() };
            }""",
            [index, patience],
        )
        return None if result is None else Ran(index, result["source"], result["outputs"])

    def shown(self, index: int) -> str:
        """What a reader sees under a cell, widgets included."""
        return "\n".join(self._places(index).locator(_OUTPUT).all_inner_texts())

    def output(self, index: int, number: int) -> Locator:
        """One of the outputs under a cell."""
        return self._places(index).nth(number).locator(_OUTPUT)

    def _places(self, index: int) -> Locator:
        """What is under a cell: outputs, each with its prompt."""
        cell = self.page.locator(".jp-Notebook .jp-Cell").nth(index)
        # The cell's own area alone: an Output widget inside it has one too.
        return cell.locator(".jp-Cell-outputArea").first.locator(":scope > .jp-OutputArea-child")

    def picture(self) -> Path:
        """A screenshot of the whole notebook, for people to look at; the folder is not in git."""
        SCREENSHOTS.mkdir(exist_ok=True)
        # JupyterLab scrolls inside the page, so the page is made as tall as the cells, and then scrolled to their top.
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
