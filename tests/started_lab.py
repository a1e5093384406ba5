"""`imkit lab` as a shell runs it, without any JupyterLab settings of the user."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tests.installed_imkit import variables_for

_WAIT = 60.0
_PRIVATE = (
    *("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"),
    *("JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR", "IPYTHONDIR"),
)


def private_folders(place: Path) -> dict[str, str]:
    """Return environment variables that make JupyterLab keep its files in `place`, not in the user's home."""
    return {name: str(place / name.lower()) for name in _PRIVATE}


def until_it_answers(address: str) -> None:
    """Wait until JupyterLab accepts connections: it prints its address a moment before."""
    place = urlsplit(address)
    ends, pause = time.monotonic() + _WAIT, threading.Event()
    while True:
        try:
            socket.create_connection((place.hostname, place.port or 80), timeout=_WAIT).close()
            return
        except ConnectionRefusedError:
            assert time.monotonic() < ends, f"nothing listens at {place.netloc}"
            pause.wait(0.05)  # no event tells that a port is open


@contextmanager
def started_lab(place: Path, python: Path | None = None) -> Iterator[str]:
    """Run `imkit lab` in a folder until the block ends, and yield the address that it prints.

    Args:
        place: the folder.
        python: that of an environment with an installed imkit, whose command `imkit` is run; `None` for this clone.
    """
    imkit = [str(python.with_name("imkit"))] if python else [sys.executable, "-m", "imkit"]
    clone = {} if python else {"PYTHONPATH": str(Path(__file__).parents[1])}
    with subprocess.Popen(
        [*imkit, "lab", "mine", "--no-browser", "--port=0"],
        cwd=place,
        env=variables_for(python) | private_folders(place) | clone,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as lab:
        assert lab.stderr is not None
        hurry = threading.Timer(_WAIT, os.killpg, (lab.pid, signal.SIGKILL))
        hurry.start()
        try:
            address = next(found[0] for line in lab.stderr if (found := re.search(r"http://127\S+token=\w+", line)))
            hurry.cancel()
            # JupyterLab goes on logging: a full pipe would block it.
            drain = threading.Thread(target=lab.stderr.read, daemon=True)
            drain.start()
            until_it_answers(address)
            yield address
            os.killpg(lab.pid, signal.SIGTERM)
            drain.join(_WAIT)  # until its last kernel has ended
        finally:
            hurry.cancel()
            if lab.poll() is None:
                os.killpg(lab.pid, signal.SIGKILL)
