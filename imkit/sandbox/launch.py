"""Starting a server as a process of its own, and hearing from it where it listens."""

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

START_SECONDS = 20.0  # far more than it takes (0.3 s): a machine may be busy

# Like `python -m imkit`, with two differences. The folder of the notebook is not searched for modules (-P): a file
# called random.py there must not break the server. And it runs the imkit that starts it, be it installed or not.
_PROGRAM = (
    "import sys; root = sys.argv.pop(1); root in sys.path or sys.path.insert(0, root); "
    "from imkit.cli import main; sys.exit(main())"
)
_ROOT = str(Path(__file__).parents[2])


def launch(
    arguments: Sequence[str], *, stdin: int | None = None, errors: IO[bytes], detached: bool = False
) -> subprocess.Popen[bytes]:
    """Start `imkit sandbox` with these arguments.

    Args:
        arguments: what stands behind `imkit sandbox`.
        stdin: as for `subprocess.Popen`.
        errors: takes what the server logs.
        detached: in a process session of its own, so that what stops its parent (a kernel's interrupt, its group being
            killed) leaves it alone.
    """
    how: dict[str, Any] = {}
    if detached and sys.platform == "win32":
        how["creationflags"] = subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP
    elif detached:
        how["start_new_session"] = True
    command = [sys.executable, "-P", "-c", _PROGRAM, _ROOT, "sandbox", *arguments]
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL if stdin is None else stdin, stdout=subprocess.PIPE, stderr=errors, **how
    )


def hear_address(
    process: subprocess.Popen[bytes], errors: IO[bytes], log_start: int = 0, *, patience: float = START_SECONDS
) -> dict[str, str]:
    """Wait for the line that says where the server listens.

    Args:
        process: as `launch` returned it.
        errors: where its log goes, readable.
        log_start: where in it this server's part begins.
        patience: how many seconds it may take.

    Raises:
        IMError: the server ended instead; the error tells its last words.
    """
    lines: list[bytes] = []
    assert process.stdout is not None
    stdout = process.stdout
    # A thread: the line is waited for, not polled for, and a pipe cannot be waited on with a limit everywhere.
    reader = threading.Thread(target=lambda: lines.append(stdout.readline()), name="sandbox-start", daemon=True)
    reader.start()
    reader.join(patience)
    if lines and lines[0].strip():
        stdout.close()  # the server says nothing more on it
        address: dict[str, str] = json.loads(lines[0])
        return address
    process.kill()
    process.wait()
    reader.join()
    stdout.close()
    errors.seek(log_start)
    last_words = errors.read()[-4000:].decode("utf-8", "replace").strip()
    raise IMError(
        "the sandbox did not start",
        reason=last_words.rpartition("\n")[2].removeprefix("imkit: "),
        hint="Run `python -m imkit sandbox` in a terminal to see all it says.",
    )


def end(process: subprocess.Popen[bytes], seconds: float = 5.0) -> None:
    """End a server that was started with a pipe as its standard input: its end tells it to stop."""
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
