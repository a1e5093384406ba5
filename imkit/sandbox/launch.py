"""Starts a server as a separate process, and waits for the address where it listens."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from imkit.errors import IMError

START_SECONDS = 20.0  # a start takes 0.3 s, and much longer on a busy machine

# Like `python -m imkit`, with two differences. Python does not search the notebook's folder for modules (-P): a file
# random.py there would break the server. And the new process runs the same imkit as this one, installed or not.
_PROGRAM = (
    "import sys; root = sys.argv.pop(1); root in sys.path or sys.path.insert(0, root); "
    "from imkit.cli import main; sys.exit(main())"
)
_ROOT = str(Path(__file__).parents[2])


def launch(
    arguments: Sequence[str], *, stdin: int | None = None, errors: IO[bytes], detached: bool = False
) -> subprocess.Popen[bytes]:
    """Start `imkit sandbox` with these arguments, and return its process.

    Args:
        arguments: the arguments after `imkit sandbox`.
        stdin: as for `subprocess.Popen`; None for an empty one.
        errors: the file for the server's log.
        detached: start it in its own process session, so that signals to the parent's process group (a kernel's
            interrupt or end) do not reach it.
    """
    options: dict[str, Any] = {}
    if detached and sys.platform == "win32":
        options["creationflags"] = subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP
    elif detached:
        options["start_new_session"] = True
    command = [sys.executable, "-P", "-c", _PROGRAM, _ROOT, "sandbox", *arguments]
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL if stdin is None else stdin, stdout=subprocess.PIPE, stderr=errors, **options
    )


def wait_for_address(
    process: subprocess.Popen[bytes], errors: IO[bytes], log_start: int = 0, *, seconds: float = START_SECONDS
) -> dict[str, str]:
    """Wait until the server prints where it listens; return that as a dictionary.

    Args:
        process: the process that `launch` returned.
        errors: the file of the server's log, readable.
        log_start: the position in the file where this server's log begins.
        seconds: how long to wait.

    Raises:
        IMError: the server ended, or said nothing in time; the error has the last line of its log.
    """
    lines: list[bytes] = []
    assert process.stdout is not None
    stdout = process.stdout
    # A thread reads the line, because not every system can read a pipe with a time limit.
    reader = threading.Thread(target=lambda: lines.append(stdout.readline()), name="sandbox-start", daemon=True)
    reader.start()
    reader.join(seconds)
    if lines and lines[0].strip():
        stdout.close()  # the server prints nothing more
        address: dict[str, str] = json.loads(lines[0])
        return address
    process.kill()
    process.wait()
    reader.join()
    stdout.close()
    errors.seek(log_start)
    log = errors.read()[-4000:].decode("utf-8", "replace").strip()
    raise IMError(
        "the sandbox did not start",
        reason=log.rpartition("\n")[2].removeprefix("imkit: "),
        hint="Run `python -m imkit sandbox` in a terminal to see all it says.",
    )


def end(process: subprocess.Popen[bytes], seconds: float = 5.0) -> None:
    """End a server that was started with a pipe as its standard input.

    Closing the pipe tells the server to stop. It is killed if it is still running after `seconds`.
    """
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
