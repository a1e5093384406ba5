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
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imkit.sandbox.demo import Demo
    from imkit.sandbox.options import Options
    from imkit.sandbox.server import Server

_MANY = 50_000  # messages of a community, which take a while


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
    parser.add_argument("--demo", action="store_true", help="fill it with a made-up community, once")
    parser.add_argument("--demo-seed", type=int, metavar="N", help="which community (7)")
    parser.add_argument("--demo-threads", type=int, metavar="N", help="how many threads it has (40)")
    parser.add_argument("--demo-messages", type=int, metavar="N", help="how many messages (8000)")
    parser.add_argument("--open-registration", action="store_true", help="anyone may register users")
    parser.add_argument("--push", action="store_true", help="send messages unasked instead of a notice first")
    parser.add_argument("--latency-ms", type=float, default=0, metavar="N", help="delay every reply")
    parser.add_argument("--recall-seconds", type=float, metavar="N", help="how long a message may be recalled (120)")
    parser.add_argument("--token-seconds", type=float, metavar="N", help="how long a token lives (60 days)")
    parser.add_argument("--requests-per-second", type=float, metavar="N", help="refuse REST calls beyond this")
    parser.add_argument("--fail", action="append", default=[], metavar="NAME:RATE", help="a fault and its rate, 0 to 1")
    parser.add_argument("--fail-seed", type=int, default=0, metavar="N", help="makes the faults repeatable")
    parser.add_argument("--idle-exit-minutes", type=float, metavar="N", help="end after so long without a connection")
    # How another process holds a server: see imkit/sandbox/process.py.
    parser.add_argument("--parent", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--state", type=Path, help=argparse.SUPPRESS)


def _sandbox(parsed: argparse.Namespace) -> int:
    # Imported here: other commands must not wait for a web server's libraries.
    import sqlite3

    from filelock import FileLock, Timeout

    from imkit.sandbox.home import home
    from imkit.sandbox.own import version
    from imkit.sandbox.server import Server, listen
    from imkit.sandbox.state import State, remove_state, write_state

    logging.basicConfig(
        level=os.environ.get("IMKIT_LOG", "WARNING").upper(), format="%(asctime)s %(levelname)s %(message)s"
    )
    try:
        options, demo = _sandbox_options(parsed), _demo(parsed)
    except ValueError as error:
        return _complain(str(error))
    os.umask(0o077)  # what people said is for the owner of the files
    with contextlib.ExitStack() as leave:
        try:
            path = None if parsed.memory else parsed.data or home() / "sandbox.db"
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                # One server for one file. A moment's patience: the one before may be about to end.
                leave.enter_context(FileLock(f"{path}.lock", timeout=3))
            listening = leave.enter_context(listen(parsed.host, parsed.port))
            idle = None if parsed.idle_exit_minutes is None else parsed.idle_exit_minutes * 60
            server = Server(options, path, idle_exit_seconds=idle)
            if demo is not None:
                _furnish(server, demo)
        except KeyboardInterrupt:  # while the community was being made: nothing of it is kept
            return 130
        except Timeout as taken:
            return _complain(f"the data in {taken.lock_file.removesuffix('.lock')} are in use by another sandbox")
        except (OSError, OverflowError, sqlite3.Error) as error:
            return _complain(f"the sandbox cannot start (port {parsed.port}): {error}")
        address = _address(options.app_key, parsed.host, listening.getsockname()[1])
        if parsed.parent:
            _stop_with_parent(server.stop)
        if parsed.state is not None:
            leave.callback(remove_state, parsed.state, server.instance)

        def announce() -> None:
            if parsed.state is not None:
                secret, instance = options.secret, server.instance
                state = State(**address, version=version(), instance=instance, pid=os.getpid(), secret=secret)
                write_state(parsed.state, state)
            print(json.dumps(address), flush=True)

        server.run(listening, announce)
    return 0


def _sandbox_options(parsed: argparse.Namespace) -> Options:
    from imkit.sandbox.options import Options

    given = {
        name: value
        for name in ("recall_seconds", "token_seconds", "requests_per_second")
        if (value := getattr(parsed, name)) is not None
    }
    if parsed.parent and (secret := sys.stdin.readline().strip()):
        given["secret"] = secret  # the parent's choice: it stays the same when it starts us again
    return Options(
        open_registration=parsed.open_registration,
        push=parsed.push,
        latency_ms=parsed.latency_ms,
        fail=dict(map(_fault, parsed.fail)),
        fail_seed=parsed.fail_seed,
        **given,
    )


def _furnish(server: Server, demo: Demo) -> None:
    if demo.messages >= _MANY and sys.stderr.isatty():
        print(f"imkit: making {demo.messages:,} messages", file=sys.stderr)
    if not server.furnish(demo):
        print("imkit: the data hold a community already; it stays as it is", file=sys.stderr)


def _demo(parsed: argparse.Namespace) -> Demo | None:
    from imkit.sandbox.demo import Demo

    given = {
        name: value
        for name in ("seed", "threads", "messages")
        if (value := getattr(parsed, f"demo_{name}")) is not None
    }
    if given and not parsed.demo:
        raise ValueError("--demo-seed, --demo-threads and --demo-messages go with --demo")
    return Demo(**given) if parsed.demo else None


def _address(app_key: str, host: str, port: int) -> dict[str, str]:
    named = f"[{host}]" if ":" in host else host
    return {
        "app_key": app_key,
        "rest_url": f"http://{named}:{port}",
        "ws_url": f"ws://{named}:{port}/websocket",
    }


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
