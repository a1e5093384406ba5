"""Files in the folder of the notebooks, of a student or a stranger, do not run as modules or settings of a program."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from jupyter_client.blocking.client import BlockingKernelClient

from tests.started_lab import started_lab
from tests.waits import WAIT

JUPYTER = [
    "IPython",
    "ipykernel",
    "ipykernel_launcher",
    "jupyter_core",
    "jupyter_server",
    "jupyterlab",
    "tornado",
    "zmq",
]
SETTINGS = ["jupyter_config", "jupyter_server_config", "jupyter_lab_config", "ipython_config", "ipython_kernel_config"]
SITE = ["sitecustomize", "usercustomize", "imkit", "httpx"]
PYTHON = [name for name in sorted(sys.stdlib_module_names) if not name.startswith("_")]


def fill(folder: Path, names: list[str]) -> None:
    """Put a module of each name into a folder, which leaves a file `name.ran` beside it and fails."""
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / f"{name}.py").write_text(f"open(__file__ + '.ran', 'w').close()\nraise ImportError({name!r})\n")


def what_ran(folder: Path) -> list[str]:
    return sorted(path.name.removesuffix(".py.ran") for path in folder.glob("*.ran"))


@pytest.mark.timeout(120)
def test_neither_jupyterlab_nor_a_kernel_runs_modules_of_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    fill(folder, PYTHON + JUPYTER + SETTINGS + SITE)
    (folder / "jupyter_server_config.json").write_text('{"ServerApp": {"allow_root": "of a stranger"}}')
    (folder / "mymodule.py").write_text("TEA = 'oolong'\n")
    with started_lab(tmp_path) as address:
        place = urlsplit(address)
        request = urllib.request.Request(
            f"http://{place.netloc}/api/kernels",
            json.dumps({"name": "python3", "path": "x.ipynb"}).encode(),
            {"Authorization": f"token {parse_qs(place.query)['token'][0]}"},
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        kernel = json.load(opener.open(request, timeout=WAIT))["id"]
        client = BlockingKernelClient(connection_file=str(tmp_path / "jupyter_runtime_dir" / f"kernel-{kernel}.json"))
        client.load_connection_file()
        client.start_channels(hb=False)  # a heartbeat that is a second late would count as the death of the kernel
        try:
            client.wait_for_ready(timeout=WAIT)
            said: list[str] = []
            # A module of the user's own is found; a name of Python's is Python's.
            code = "import json, random, mymodule; print(mymodule.TEA, json.dumps([random.__name__]))"
            reply = client.execute_interactive(
                code, timeout=WAIT, output_hook=lambda message: said.append(message["content"].get("text", ""))
            )
            assert reply["content"]["status"] == "ok", reply["content"]
            assert "".join(said).strip() == 'oolong ["random"]'
        finally:
            client.stop_channels()
    assert what_ran(folder) == []


@pytest.mark.parametrize("command", [["-m", "imkit"], ["-P", "-m", "imkit"]])
def test_the_command_runs_no_module_of_the_working_directory(tmp_path: Path, command: list[str]) -> None:
    # Without -P Python itself imports modules from there, before imkit can do anything: importlib, warnings and others.
    names = PYTHON + SITE if "-P" in command else ["json", "logging", "random", "httpx", "argparse", "subprocess"]
    fill(tmp_path, names)
    done = subprocess.run(
        [sys.executable, *command, "sandbox", "--port=-1"], cwd=tmp_path, capture_output=True, text=True, timeout=WAIT
    )
    assert "the sandbox cannot start" in done.stderr
    assert what_ran(tmp_path) == []
