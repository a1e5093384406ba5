"""The command line: `imkit sandbox`, and what else imkit does from a shell."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        arguments: what stands behind `imkit`; None takes it from the process.
    """
    parsed = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = parsed.command
    return command(parsed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="imkit", description="Easemob IM chat threads (子区) from Python.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_sandbox(commands)
    return parser


# ---------------------------------------------------------------- imkit sandbox


def _add_sandbox(commands: Any) -> None:
    parser = commands.add_parser(
        "sandbox",
        help="run a local IM server to learn and test with",
        description="Run a local IM server: REST and MSYNC on one port. Prints one JSON line with app_key, rest_url "
        "and ws_url when it accepts connections, and serves until SIGINT or SIGTERM. Not for production.",
    )
    parser.set_defaults(command=_sandbox)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=int, default=0, help="port (default: a free one)")
    kept = parser.add_mutually_exclusive_group()
    kept.add_argument("--data", type=Path, metavar="FILE", help="keep the data here (default: in IMKIT_HOME)")
    kept.add_argument("--memory", action="store_true", help="keep nothing")
    parser.add_argument("--open-registration", action="store_true", help="anyone may register users")
    parser.add_argument("--push", action="store_true", help="send messages unasked instead of a notice first")
    parser.add_argument("--latency-ms", type=float, default=0, metavar="N", help="delay every reply")
    parser.add_argument("--recall-seconds", type=float, metavar="N", help="how long a message may be recalled (120)")
    parser.add_argument("--token-seconds", type=float, metavar="N", help="how long a token lives (60 days)")
    parser.add_argument("--requests-per-second", type=float, metavar="N", help="refuse REST calls beyond this")
    parser.add_argument("--fail", action="append", default=[], metavar="NAME:RATE", help="a fault and its rate, 0 to 1")
    parser.add_argument("--fail-seed", type=int, default=0, metavar="N", help="makes the faults repeatable")
    parser.add_argument("--idle-exit-minutes", type=float, metavar="N", help="end after so long without a connection")
    # How a parent process holds a server of its own: see imkit/sandbox/process.py.
    parser.add_argument("--parent", action="store_true", help=argparse.SUPPRESS)


def _sandbox(parsed: argparse.Namespace) -> int:
    # Imported here: other commands must not wait for a web server's libraries.
    from imkit.sandbox.home import home
    from imkit.sandbox.options import Options
    from imkit.sandbox.server import Server, listen

    logging.basicConfig(level=os.environ.get("IMKIT_LOG", "WARNING").upper(), format="%(levelname)s %(message)s")
    given = {
        name: value
        for name in ("recall_seconds", "token_seconds", "requests_per_second")
        if (value := getattr(parsed, name)) is not None
    }
    try:
        options = Options(
            open_registration=parsed.open_registration,
            push=parsed.push,
            latency_ms=parsed.latency_ms,
            fail=dict(map(_fault, parsed.fail)),
            fail_seed=parsed.fail_seed,
            **given,
        )
    except ValueError as error:
        return _complain(str(error))
    try:
        listening = listen(parsed.host, parsed.port)
    except (OSError, OverflowError) as error:
        return _complain(f"cannot listen on {parsed.host} port {parsed.port}: {error}")
    path = None if parsed.memory else parsed.data or home() / "sandbox.db"
    idle = None if parsed.idle_exit_minutes is None else parsed.idle_exit_minutes * 60
    server = Server(options, path, idle_exit_seconds=idle)
    port = listening.getsockname()[1]
    host = f"[{parsed.host}]" if ":" in parsed.host else parsed.host
    address = {
        "app_key": options.app_key,
        "rest_url": f"http://{host}:{port}",
        "ws_url": f"ws://{host}:{port}/websocket",
    }
    if parsed.parent:
        address["secret"] = options.secret
        _stop_with_parent(server.stop)

    def announce() -> None:
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps(address), flush=True)

    server.run(listening, announce)
    return 0


def _fault(text: str) -> tuple[str, float]:
    name, _, rate = text.partition(":")
    try:
        return name, float(rate or 1)
    except ValueError:
        raise ValueError(f"--fail wants NAME:RATE, not {text!r}") from None


def _complain(why: str) -> int:
    print(f"imkit: {why}", file=sys.stderr)
    return 2


def _stop_with_parent(stop: Callable[[], None]) -> None:
    """End when the parent does: it holds our standard input, which then ends. True on every system."""

    def watch() -> None:
        while sys.stdin.buffer.read(4096):
            pass
        stop()

    threading.Thread(target=watch, name="sandbox-parent", daemon=True).start()
