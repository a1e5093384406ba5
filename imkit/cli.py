"""The command line: `imkit lab`, `imkit sandbox`, `imkit export`.

Exit codes: 0 it is done; 1 the service or the disk said no; 2 it was asked for wrongly; 3 an export is not complete,
and says why; 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from imkit.client.app import App
    from imkit.sandbox.demo import Demo
    from imkit.sandbox.options import Options
    from imkit.sandbox.server.server import Server

_JUPYTER = Path(__file__).parent / "jupyter"  # settings of JupyterLab, a folder of JUPYTER_CONFIG_PATH
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
    _add_lab(commands)
    _add_sandbox(commands)
    _add_export(commands)
    return parser


# ---------------------------------------------------------------- imkit lab


def _add_lab(commands: Any) -> None:
    parser = commands.add_parser(
        "lab",
        help="open the tutorials in JupyterLab",
        description="Copy the tutorials into a folder and open JupyterLab on them. What you have changed there stays "
        "as it is; its new version, if there is one, is put beside it.",
    )
    parser.set_defaults(command=_lab)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("imkit-tutorials"), metavar="FOLDER")
    parser.add_argument("--copy-only", action="store_true", help="copy, and do not open JupyterLab")
    parser.add_argument("--no-browser", action="store_true", help="do not open a browser; the address is printed")
    parser.add_argument("--port", type=int, metavar="N", help="JupyterLab's port (8888, or the next free one)")


def _lab(parsed: argparse.Namespace) -> int:
    from imkit.tutorials import START, hand_out

    folder = parsed.folder.expanduser().absolute()
    try:
        handed = hand_out(folder)
    except OSError as error:
        return _complain(f"the tutorials cannot be put into {folder}: {error}", 1)
    fresh = sum(one.what in ("new", "updated") for one in handed)
    print(f"{len(handed)} tutorials in {folder}" + (f", {fresh} of them new or updated" if fresh else ""))
    for one in handed:
        if one.outdated:
            where = f"the new version is {one.beside}" if one.beside else "the new version is left out"
            print(f"  {one.name}: you have changed it, so it stays; {where}")
    if parsed.copy_only:
        return 0
    options = [
        f"--ServerApp.root_dir={folder}",
        f"--LabApp.default_url=/lab/tree/{START}",
        f"--ServerApp.default_url=/lab/tree/{START}",  # both: the one is opened, the other printed
        # So that a form can put its code into the next cell. It opens nothing new: a script in the page has the
        # page's cookie, and with it could do all that the application can; and JupyterLab lets none into it, neither
        # from outputs of a notebook that its reader has not run nor from Markdown.
        "--LabApp.expose_app_in_browser=True",
    ]
    if parsed.no_browser:
        options.append("--no-browser")
    if parsed.port is not None:
        options.append(f"--ServerApp.port={parsed.port}")
    if sys.platform != "win32" and os.geteuid() == 0:  # it refuses otherwise, and in containers all are root
        options.append("--allow-root")
    # Besides the reader's own settings, for this run alone: JupyterLab asks the network for news and newer versions
    # only if it may, but whether it may it asks in front of the form one is about to click into.
    settings = [str(_JUPYTER), *filter(None, [os.environ.get("JUPYTER_CONFIG_PATH")])]
    environment = os.environ | {"JUPYTER_CONFIG_PATH": os.pathsep.join(settings)}
    with subprocess.Popen([sys.executable, "-m", "jupyterlab", *options], cwd=folder, env=environment) as lab:
        while True:
            try:
                return lab.wait()
            except KeyboardInterrupt:  # JupyterLab hears it, too, and asks whether it is meant
                continue


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

    from imkit.sandbox.endpoints import version
    from imkit.sandbox.home import home
    from imkit.sandbox.server.server import Server, listen
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
                _add_demo(server, demo)
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


def _add_demo(server: Server, demo: Demo) -> None:
    if demo.messages >= _MANY and sys.stderr.isatty():
        print(f"imkit: making {demo.messages:,} messages", file=sys.stderr)
    if not server.add_demo(demo):
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


def _complain(why: str, code: int = 2) -> int:
    print(f"imkit: {why}", file=sys.stderr)
    return code


def _stop_with_parent(stop: Callable[[], None]) -> None:
    """End when the parent does: it holds our standard input, which then ends. True on every system."""

    def watch() -> None:
        while sys.stdin.buffer.read(4096):
            pass
        stop()

    threading.Thread(target=watch, name="sandbox-parent", daemon=True).start()


# ---------------------------------------------------------------- imkit export


def _add_export(commands: Any) -> None:
    parser = commands.add_parser(
        "export",
        help="write histories to a file",
        description="Load the roaming history (消息漫游) of threads and groups, and write it to one file. "
        "Credentials come from the environment or a .env file, never from the command line: IMKIT_USER, and "
        "IMKIT_PASSWORD or IMKIT_TOKEN; the app is IMKIT_APP_KEY's, or else the local sandbox's, which wants neither.",
    )
    parser.set_defaults(command=_export)
    parser.add_argument("threads", nargs="*", metavar="THREAD", help="id of a thread or a group")
    parser.add_argument(
        "--archive",
        metavar="PLACE",
        help="read an archive (归档) and ask no service; without a THREAD: all that is in it",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help=".parquet, .csv, .jsonl or .html")
    parser.add_argument("--since", metavar="TIME", help='ISO time or date, included: "2026-03-01" is local midnight')
    parser.add_argument("--until", metavar="TIME", help="ISO time or date, excluded")
    parser.add_argument("--types", metavar="TYPE,…", help="only these: txt img audio video file loc custom combine")
    parser.add_argument("--sender", metavar="USER", help="only this user's")
    parser.add_argument("--limit", type=int, metavar="N", help="at most so many, counted from the oldest")
    parser.add_argument("--newest", action="store_true", help="newest first, also for --limit")
    parser.add_argument("--user", metavar="USER", help="who logs in (IMKIT_USER)")
    parser.add_argument("--app-key", metavar="ORG#APP", help="the app (IMKIT_APP_KEY)")
    parser.add_argument("--rest-url", metavar="URL", help="its REST server (IMKIT_REST_URL, or discovered)")
    parser.add_argument("--ws-url", metavar="URL", help="its WebSocket server (IMKIT_WS_URL, or discovered)")


def _export(parsed: argparse.Namespace) -> int:
    import imkit
    from imkit.history import export
    from imkit.history.summary import described

    if parsed.out.suffix.lower() not in export.SUFFIXES:  # before anything is loaded, not after
        return _complain(f"--out: {parsed.out.name!r} should end with one of {', '.join(export.SUFFIXES)}")
    if not parsed.out.absolute().parent.is_dir():
        return _complain(f"--out: there is no folder {parsed.out.absolute().parent}")
    if not parsed.threads and not parsed.archive:
        return _complain("name a THREAD, or an --archive")
    try:
        frame = _kept(parsed) if parsed.archive else _loaded(parsed)
        export.write(frame, parsed.out)
    except KeyboardInterrupt:
        return _complain("stopped; nothing was written", 130)
    except imkit.InvalidMessage as error:
        return _complain(str(error))
    except imkit.IMError as error:
        return _complain(str(error), 1)
    except OSError as error:
        return _complain(f"{parsed.out} cannot be written: {error.strerror or error}", 1)
    source = frame.im.source
    print(f"imkit: {described(source)} → {parsed.out}", file=sys.stderr)
    return 0 if source["complete"] or parsed.limit is not None else 3


def _loaded(parsed: argparse.Namespace) -> pd.DataFrame:
    """Return the histories as the service gives them."""
    import imkit

    app, user, credential = _who(parsed)
    with imkit.login(user, app=app, **credential) as session, _progress() as progress:
        return session.history(
            [session.thread(room) for room in parsed.threads],
            parsed.since,
            parsed.until,
            types=parsed.types.split(",") if parsed.types else None,
            sender=parsed.sender,
            limit=parsed.limit,
            order="newest" if parsed.newest else "oldest",
            progress=progress,
        )


def _kept(parsed: argparse.Namespace) -> pd.DataFrame:
    """Return them as an archive has them."""
    import imkit
    from imkit.archive import catalogue
    from imkit.archive.storage import storage_at
    from imkit.history.arguments import query

    types = parsed.types.split(",") if parsed.types else None
    wanted = query(types=types, sender=parsed.sender, limit=parsed.limit)  # refuses what is wrong
    if not catalogue.load(storage_at(parsed.archive)).conversations:
        raise imkit.InvalidMessage(f"there is no archive at {parsed.archive}", hint="archive.sync(…) makes one.")
    frame = imkit.Archive(parsed.archive).frame(parsed.since, parsed.until, thread=parsed.threads or None)
    source = frame.im.source
    if wanted.types:
        frame = frame[frame["type"].isin(wanted.types)]
    if wanted.sender:
        frame = frame[frame["sender"] == wanted.sender]
    frame = (frame[::-1] if parsed.newest else frame).iloc[: parsed.limit].reset_index(drop=True)
    frame.attrs["imkit"] = {**source, "rows": len(frame)}
    return frame


def _who(parsed: argparse.Namespace) -> tuple[App | None, str, dict[str, Any]]:
    """Return the app (None: the environment's, or the sandbox), the user, and the credential if there is one."""
    import imkit
    from imkit.client.environment import settings

    found = settings()
    user = parsed.user or found.get("IMKIT_USER")
    if not user:
        hint = "Set IMKIT_USER in the environment or in a .env file, or give --user."
        raise imkit.InvalidMessage("nobody to log in as", hint=hint)
    credential = {
        name: value for name in ("password", "token") if (value := found.get(f"IMKIT_{name.upper()}") or None)
    }
    if parsed.app_key:
        return imkit.App(parsed.app_key, rest_url=parsed.rest_url, ws_url=parsed.ws_url), user, credential
    if parsed.rest_url or parsed.ws_url:
        raise imkit.InvalidMessage("--rest-url and --ws-url go with --app-key")
    return None, user, credential


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[int, int | None], None] | None]:
    """Keep one line on a terminal up to date; say nothing where standard error is a file."""
    if not sys.stderr.isatty():
        yield None
        return

    from imkit.history.progress import ProgressText

    words = ProgressText()

    def tell(done: int, total: int | None) -> None:
        print(f"\r\033[K{words(done, total)}", end="", file=sys.stderr, flush=True)

    try:
        yield tell
    finally:
        print("\r\033[K", end="", file=sys.stderr, flush=True)
