"""The command line: `imkit lab`, `imkit sandbox`, `imkit export`, `imkit doctor`.

Exit codes: 0 success; 1 the service or the disk refused; 2 an argument or a setting is wrong; 3 the export was written
but is not complete, or the service differs from what imkit assumes; 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import logging
import os
import platform
import queue
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from imkit.client.app import App
    from imkit.sandbox.demo import Demo
    from imkit.sandbox.options import Options
    from imkit.sandbox.server.server import Server
    from imkit.service_check.report import Finding
    from imkit.session import Session

_JUPYTER_SETTINGS = Path(__file__).parent / "jupyter"  # a folder for JUPYTER_CONFIG_PATH
_WAKE_SECONDS = 0.2  # on Windows an interrupt cannot end a wait without a timeout
_SLOW_DEMO = 50_000  # from this many messages on, making the demo community takes long enough to say so


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        arguments: the words after `imkit` on the command line; None: those of this process.
    """
    parsed = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = parsed.command
    return command(parsed)


class _Version(argparse.Action):
    """Prints the version; only then it looks for it, because that is slow."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from imkit.sandbox.endpoints import version

        print(f"imkit {version()}")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="imkit", description="Easemob IM chat threads (子区) from Python.")
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version of imkit and end")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_lab(commands)
    _add_sandbox(commands)
    _add_export(commands)
    _add_doctor(commands)
    return parser


# ---------------------------------------------------------------- imkit lab


def _add_lab(commands: Any) -> None:
    parser = commands.add_parser(
        "lab",
        help="open the tutorials in JupyterLab",
        description="Copy the tutorials into a folder and open JupyterLab on them. A copy that you have changed is "
        "never overwritten; a newer version is put beside it.",
    )
    parser.set_defaults(command=_lab)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("imkit-tutorials"), metavar="FOLDER")
    parser.add_argument("--copy-only", action="store_true", help="copy the tutorials, but do not open JupyterLab")
    parser.add_argument("--no-browser", action="store_true", help="do not open a browser, only print the address")
    parser.add_argument("--port", type=int, metavar="N", help="JupyterLab's port (8888, or the next free one)")


def _lab(parsed: argparse.Namespace) -> int:
    from imkit.tutorials import START, copy_tutorials

    folder = parsed.folder.expanduser().absolute()
    try:
        copied = copy_tutorials(folder)
    except OSError as error:
        return _complain(f"the tutorials cannot be copied into {folder}: {error}", 1)
    changed = sum(tutorial.outcome in ("new", "updated") for tutorial in copied)
    print(f"{len(copied)} tutorials in {folder}" + (f", {changed} of them new or updated" if changed else ""))
    for tutorial in copied:
        if tutorial.is_outdated:
            new_version = tutorial.new_version
            where = f"the new version is {new_version}" if new_version else "the new version was not copied"
            print(f"  {tutorial.name}: you have changed it, so it stays; {where}")
    return 0 if parsed.copy_only else _run_jupyterlab(parsed, folder, START)


def _run_jupyterlab(parsed: argparse.Namespace, folder: Path, start: str) -> int:
    """Run JupyterLab in a folder, open at one notebook, until the user ends it; return its exit code."""
    options = [
        f"--ServerApp.root_dir={folder}",
        "--ServerApp.kernel_spec_manager_class=imkit.kernels.KernelSpecs",
        # JupyterLab opens the first address and prints the second.
        f"--LabApp.default_url=/lab/tree/{start}",
        f"--ServerApp.default_url=/lab/tree/{start}",
        # A form needs this to put its code into the next cell. It gives a script in the page no new power: the script
        # has the page's cookie, and with the cookie it can do everything that the application can. And JupyterLab runs
        # no script from Markdown, nor from the outputs of a notebook that the user has not run.
        "--LabApp.expose_app_in_browser=True",
    ]
    if parsed.no_browser:
        options.append("--no-browser")
    if parsed.port is not None:
        options.append(f"--ServerApp.port={parsed.port}")
    if sys.platform != "win32" and os.geteuid() == 0:  # JupyterLab refuses root without it; in containers root is usual
        options.append("--allow-root")
    # These settings apply to this run only, beside the user's own. They switch off JupyterLab's news and update check:
    # it would ask for permission in a box that covers the form the user is about to use.
    settings = [str(_JUPYTER_SETTINGS), *filter(None, [os.environ.get("JUPYTER_CONFIG_PATH")])]
    environment = os.environ | {"JUPYTER_CONFIG_PATH": os.pathsep.join(settings)}
    # -P: Python does not search the folder for modules. A file json.py there would run instead of Python's own.
    command = [sys.executable, "-P", "-m", "jupyterlab", *options]
    with subprocess.Popen(command, cwd=folder, env=environment) as lab:
        while True:
            try:
                return lab.wait()
            except KeyboardInterrupt:  # JupyterLab gets Ctrl-C as well, and asks whether to end
                continue


# ---------------------------------------------------------------- imkit sandbox


def _add_sandbox(commands: Any) -> None:
    parser = commands.add_parser(
        "sandbox",
        help="run a local IM server, for learning and testing",
        description="Run a local IM server: REST and MSYNC on one port. It prints one JSON line with app_key, rest_url "
        "and ws_url (with --demo also demo_password) when it accepts connections, and runs until Ctrl-C or SIGTERM. "
        "Without --data or --memory it is the sandbox that imkit.login(…) and `imkit export` find by themselves; there "
        "is one at a time, and a second command says where the first one runs. It is not for production.",
    )
    parser.set_defaults(command=_sandbox)
    address = parser.add_argument_group("where it listens")
    address.add_argument("--host", default="127.0.0.1", help="address; 0.0.0.0 is all (default: this machine only)")
    address.add_argument("--port", type=int, default=0, metavar="N", help="port (default: a free one)")
    storage = parser.add_argument_group("a separate sandbox").add_mutually_exclusive_group()
    storage.add_argument("--data", type=Path, metavar="FILE", help="keep the data in this file")
    storage.add_argument("--memory", action="store_true", help="keep the data in memory only")
    community = parser.add_argument_group("the demo community")
    community.add_argument("--demo", action="store_true", help="fill the sandbox with a made-up community, once")
    community.add_argument("--demo-seed", type=int, metavar="N", help="which community (7)")
    community.add_argument("--demo-threads", type=int, metavar="N", help="its number of threads (40)")
    community.add_argument("--demo-messages", type=int, metavar="N", help="its number of messages (8000)")
    rules = parser.add_argument_group("how it behaves")
    rules.add_argument("--open-registration", action="store_true", help="anyone may register users")
    rules.add_argument("--recall-seconds", type=float, metavar="N", help="how long a message may be recalled (120)")
    rules.add_argument("--token-seconds", type=float, metavar="N", help="how long a token is valid (60 days)")
    rules.add_argument("--idle-exit-minutes", type=float, metavar="N", help="end after this time without a connection")
    rules.add_argument("--push", action="store_true", help="send messages directly, without a notice first")
    rules.add_argument("--latency-ms", type=float, default=0, metavar="N", help="delay of every reply, in ms")
    rules.add_argument("--requests-per-second", type=float, metavar="N", help="refuse REST calls above this rate")
    rules.add_argument(
        "--fail", action="append", default=[], metavar="NAME:RATE", help="a fault and its rate, as in html-502:0.1"
    )
    rules.add_argument("--fail-seed", type=int, default=0, metavar="N", help="makes the faults repeatable")
    # For a process that starts a sandbox: see imkit/sandbox/process.py.
    parser.add_argument("--parent", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--background", action="store_true", help=argparse.SUPPRESS)


def _sandbox(parsed: argparse.Namespace) -> int:
    # Imported here, because the other commands do not need the libraries of a web server.
    import sqlite3

    from imkit.errors import FileError
    from imkit.sandbox.claim import DataInUse
    from imkit.sandbox.limits import Limits
    from imkit.sandbox.serve import Place, prepared
    from imkit.sandbox.server.limited_log import LimitedLog

    level = os.environ.get("IMKIT_LOG", "WARNING").upper()
    # A user who asks for more than warnings gets all of it.
    handler = logging.StreamHandler() if level in ("INFO", "DEBUG") else LimitedLog(Limits())
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(message)s", handlers=[handler])
    try:
        options, demo = _sandbox_options(parsed), _demo(parsed)
    except ValueError as error:
        return _complain(str(error))
    os.umask(0o077)  # the data hold messages: only the owner of the files may read them
    place = Place(port=parsed.port, data=parsed.data, in_memory=parsed.memory, in_background=parsed.background)
    idle = None if parsed.idle_exit_minutes is None else parsed.idle_exit_minutes * 60
    with contextlib.ExitStack() as cleanup:
        try:
            sandbox = cleanup.enter_context(prepared(options, place, idle))
            if demo is not None:
                _add_demo(sandbox.server, demo)
        except KeyboardInterrupt:  # while the community was being made; nothing of it is kept
            return 130
        except (DataInUse, FileError) as error:
            return _complain(str(error))
        except (OSError, OverflowError, sqlite3.Error) as error:
            return _complain(f"the sandbox cannot start (port {parsed.port}): {error}")
        if parsed.parent:
            _stop_with_parent(sandbox.server.stop)

        def announce() -> None:
            password = {"demo_password": sandbox.server.demo_password} if demo is not None else {}
            print(json.dumps({**sandbox.address, **password}), flush=True)
            if place.is_shared and sys.stderr.isatty():
                user = "…" if demo is None else '"reader"'  # who is in all groups of the community
                print(f"imkit: imkit.login({user}) and imkit export use this sandbox; Ctrl-C ends it", file=sys.stderr)

        sandbox.run(announce)
    return 0


def _sandbox_options(parsed: argparse.Namespace) -> Options:
    from imkit.sandbox.options import Options

    given = {
        name: value
        for name in ("recall_seconds", "token_seconds", "requests_per_second")
        if (value := getattr(parsed, name)) is not None
    }
    if parsed.parent and (secret := sys.stdin.readline().strip()):
        given["secret"] = secret  # the parent chooses it, so that it stays the same when it restarts the sandbox
    return Options(
        host=parsed.host,
        open_registration=parsed.open_registration,
        push=parsed.push,
        latency_ms=parsed.latency_ms,
        fail=dict(map(_fault, parsed.fail)),
        fail_seed=parsed.fail_seed,
        **given,
    )


def _add_demo(server: Server, demo: Demo) -> None:
    if demo.messages >= _SLOW_DEMO and sys.stderr.isatty():
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
    """Stop the server when the parent process ends.

    The parent holds the other end of this process's standard input, so standard input ends with the parent. This works
    on every system.
    """

    def watch() -> None:
        while sys.stdin.buffer.read(4096):
            pass
        stop()

    threading.Thread(target=watch, name="sandbox-parent", daemon=True).start()


# ---------------------------------------------------------------- logging in

_CREDENTIALS = (
    "Credentials come from the environment or a .env file, never from the command line: IMKIT_USER, and IMKIT_PASSWORD "
    "or IMKIT_TOKEN. If one of the two has IMKIT_APP_KEY, they all come from there. The app is the one that "
    "IMKIT_APP_KEY names, else the local sandbox, which needs neither a password nor a token."
)


def _add_login_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--user", metavar="USER", help="the user to log in as (IMKIT_USER)")
    parser.add_argument("--app-key", metavar="ORG#APP", help="the app (IMKIT_APP_KEY)")
    parser.add_argument("--rest-url", metavar="URL", help="the app's REST server (IMKIT_REST_URL, or discovered)")
    parser.add_argument("--ws-url", metavar="URL", help="the app's WebSocket server (IMKIT_WS_URL, or discovered)")


def _login_arguments(parsed: argparse.Namespace) -> tuple[App | None, str, dict[str, Any]]:
    """Return the app (None: `login` finds it in the environment, else the sandbox), the user, and the credential."""
    import imkit
    from imkit.client.environment import settings

    found = settings(parsed.app_key)
    user = parsed.user or found.get("IMKIT_USER")
    if not user:
        hint = "Set IMKIT_USER in the environment or in a .env file, or give --user."
        raise imkit.InvalidMessage("there is no user to log in as", hint=hint)
    credential = _credential(parsed)
    if parsed.app_key:
        return imkit.App(parsed.app_key, rest_url=parsed.rest_url, ws_url=parsed.ws_url), user, credential
    if parsed.rest_url or parsed.ws_url:
        raise imkit.InvalidMessage("--rest-url and --ws-url go with --app-key")
    return None, user, credential


def _credential(parsed: argparse.Namespace, prefix: str = "IMKIT_") -> dict[str, str]:
    """Return the password or the token that the settings have, as arguments of `imkit.login`."""
    from imkit.client.environment import settings

    found = settings(parsed.app_key)
    return {name: value for name in ("password", "token") if (value := found.get(prefix + name.upper()))}


# ---------------------------------------------------------------- imkit export


def _add_export(commands: Any) -> None:
    parser = commands.add_parser(
        "export",
        help="write histories to a file",
        description="Load the roaming history (消息漫游) of threads and groups, and write it to one file. "
        + _CREDENTIALS,
    )
    parser.set_defaults(command=_export)
    parser.add_argument("threads", nargs="*", metavar="THREAD", help="id of a thread or a group")
    parser.add_argument(
        "--archive",
        metavar="PLACE",
        help="read an archive (归档) and do not ask the service; without a THREAD: the whole archive",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help=".parquet, .csv, .jsonl or .html")
    parser.add_argument("--force", action="store_true", help="replace FILE if it is there")
    parser.add_argument("--since", metavar="TIME", help='ISO time or date, inclusive: "2026-03-01" is local midnight')
    parser.add_argument("--until", metavar="TIME", help="ISO time or date, exclusive")
    parser.add_argument(
        "--types", metavar="TYPE,…", help="only of these types: txt img audio video file loc custom combine"
    )
    parser.add_argument("--sender", metavar="USER", help="only messages of this user")
    parser.add_argument("--limit", type=int, metavar="N", help="at most N messages, counted from the oldest")
    parser.add_argument("--newest", action="store_true", help="newest first, also for --limit")
    _add_login_arguments(parser)


def _export(parsed: argparse.Namespace) -> int:
    import imkit
    from imkit.history import export
    from imkit.history.summary import described

    if parsed.out.suffix.lower() not in export.SUFFIXES:  # checked before loading, which may take long
        return _complain(f"--out: {parsed.out.name!r} should end with one of {', '.join(export.SUFFIXES)}")
    if not parsed.out.absolute().parent.is_dir():
        return _complain(f"--out: there is no folder {parsed.out.absolute().parent}")
    if not parsed.threads and not parsed.archive:
        return _complain("name a THREAD, or an --archive")
    is_there = f"--out: {parsed.out} is there already; --force replaces it"
    if parsed.out.exists() and not parsed.force:
        return _complain(is_there)
    try:
        frame = _history_from_archive(parsed) if parsed.archive else _history_from_service(parsed)
        if parsed.out.exists() and not parsed.force:  # another program has written it during the load
            return _complain(is_there)
        export.write(frame, parsed.out)
    except KeyboardInterrupt:
        return _complain("stopped; nothing was written", 130)
    except imkit.InvalidMessage as error:
        return _complain(str(error))
    except imkit.IMError as error:
        return _complain(str(error), 1)
    source = frame.im.source
    print(f"imkit: {described(source)} → {parsed.out}", file=sys.stderr)
    return 0 if source["complete"] or parsed.limit is not None else 3


def _history_from_service(parsed: argparse.Namespace) -> pd.DataFrame:
    """Log in, and load the histories that the arguments name."""
    import imkit

    app, user, credential = _login_arguments(parsed)
    with imkit.login(user, app=app, **credential) as session, _progress() as progress:
        return session.history(
            [session.thread(thread_id) for thread_id in parsed.threads],
            parsed.since,
            parsed.until,
            types=parsed.types.split(",") if parsed.types else None,
            sender=parsed.sender,
            limit=parsed.limit,
            order="newest" if parsed.newest else "oldest",
            progress=progress,
        )


def _history_from_archive(parsed: argparse.Namespace) -> pd.DataFrame:
    """Read the histories that the arguments name from an archive."""
    import imkit
    from imkit.archive import catalogue
    from imkit.archive.storage import storage_at
    from imkit.history.arguments import query

    types = parsed.types.split(",") if parsed.types else None
    wanted = query(types=types, sender=parsed.sender, limit=parsed.limit)  # refuses wrong values
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


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[int, int | None], None] | None]:
    """Show a progress line if standard error is a terminal; else yield None."""
    if not sys.stderr.isatty():
        yield None
        return

    from imkit.history.progress import ProgressText

    words = ProgressText()

    def show(done: int, total: int | None) -> None:
        print(f"\r\033[K{words(done, total)}", end="", file=sys.stderr, flush=True)

    try:
        yield show
    finally:
        print("\r\033[K", end="", file=sys.stderr, flush=True)


# ---------------------------------------------------------------- imkit doctor


def _add_doctor(commands: Any) -> None:
    parser = commands.add_parser(
        "doctor",
        help="tell whether a service does what imkit assumes",
        description="Log in and report what the service does, beside what imkit assumes of it. " + _CREDENTIALS,
    )
    parser.set_defaults(command=_doctor)
    parser.add_argument(
        "--write",
        action="store_true",
        help="make a group and a thread, send some 250 messages there, and remove all of it at the end",
    )
    parser.add_argument(
        "--second",
        metavar="USER",
        help="another user, for what one user alone cannot find out; its credential is IMKIT_SECOND_PASSWORD or "
        "IMKIT_SECOND_TOKEN",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object, for a bug report")
    _add_login_arguments(parser)


def _doctor(parsed: argparse.Namespace) -> int:
    import imkit
    from imkit.client.user_ids import user_id
    from imkit.service_check.report import exit_code

    if parsed.second and not parsed.write:
        return _complain("--second goes with --write: a second user is asked only about what the doctor makes")
    try:
        app, user, credential = _login_arguments(parsed)
        if parsed.second and user_id(parsed.second) == user_id(user):
            return _complain(f"--second is {user} as well: name another user")
        with contextlib.ExitStack() as logins:
            session = logins.enter_context(imkit.login(user, app=app, **credential))
            second = None
            if parsed.second:
                of_second = _second_credential(parsed, session.app)
                second = logins.enter_context(imkit.login(parsed.second, app=session.app, **of_second))
            with _signals_interrupt():
                findings = _examined(parsed, session, second)
    except KeyboardInterrupt:
        return _complain("stopped", 130)
    except BrokenPipeError:  # the reader of the output has ended, such as `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains when it ends
        return 1
    except imkit.InvalidMessage as error:
        return _complain(str(error))
    except imkit.IMError as error:
        return _complain(str(error), 1)
    return exit_code(findings)


def _second_credential(parsed: argparse.Namespace, app: App) -> dict[str, str]:
    """Return the credential of the second user: from the settings, else asked for at a terminal."""
    found = _credential(parsed, "IMKIT_SECOND_")
    if found or app.is_sandbox or not sys.stdin.isatty():
        return found
    import getpass

    from imkit.escape import for_terminal

    # A stranger's .env file may have named the app, and the server that gets the password.
    where = " ".join(["at", app.app_key, *([f"({app.rest_url})"] if app.rest_url else [])])
    try:
        return {"password": getpass.getpass(for_terminal(f"Password of {parsed.second} {where}: "))}
    except EOFError:
        return {}


@contextlib.contextmanager
def _signals_interrupt() -> Iterator[None]:
    """Let the end of the terminal, and `kill`, interrupt as Ctrl-C does, so that nothing is left behind."""
    names = (name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
    changed = [number for name in names if signal.getsignal(number := getattr(signal, name)) is signal.SIG_DFL]
    for number in changed:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in changed:
            signal.signal(number, signal.SIG_DFL)


def _examined(parsed: argparse.Namespace, session: Session, second: Session | None) -> list[Finding]:
    """Ask a service, and print each finding when it is there, or, with --json, all of them at the end.

    The asking runs on imkit's loop, and the printing here: so a terminal that is slow, or a reader that has ended, does
    not stop the connection. If this ends early, what was made is removed before the session is closed.
    """
    import imkit
    from imkit.portal import portal
    from imkit.service_check.report import Finding, TextReport
    from imkit.service_check.run import examine

    is_terminal, shows_progress = sys.stdout.isatty(), sys.stderr.isatty()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal may know ASCII only
    width = min(shutil.get_terminal_size().columns, 100) if is_terminal else 80
    coloured = is_terminal and not os.environ.get("NO_COLOR")
    report = TextReport(partial(print, flush=True), width, coloured=coloured)
    told: queue.SimpleQueue[Finding | str] = queue.SimpleQueue()

    def show(item: Finding | str) -> None:
        if shows_progress:
            print(f"\r\033[K{item}" if isinstance(item, str) else "\r\033[K", end="", file=sys.stderr, flush=True)
        if isinstance(item, Finding) and not parsed.json:
            report.add(item)

    began = datetime.now(UTC)
    users = " and ".join(each.user for each in (session, second) if each is not None)
    if not parsed.json:
        report.begin(f"imkit {imkit.__version__} asks {session.app.app_key} as {users}.")
    asking = portal().submit(examine(session, write=parsed.write, second=second, tell=told.put, progress=told.put))
    try:
        while not asking.done() or not told.empty():
            with contextlib.suppress(queue.Empty):
                show(told.get(timeout=_WAKE_SECONDS))
        findings = asking.result()
    except BaseException:
        if asking.cancel() and parsed.write:
            print("imkit: stopping, and removing what was made", file=sys.stderr)
        session.close()  # waits for the removal
        while not told.empty():
            show(told.get())
        raise
    if parsed.json:
        told_all = {
            "imkit": imkit.__version__,
            "python": platform.python_version(),
            "began": began.isoformat(timespec="seconds"),
            "app_key": session.app.app_key,
            "write": parsed.write,
            "second": second is not None,
            "checks": [finding.as_json() for finding in findings],
        }
        sys.stdout.buffer.write(json.dumps(told_all, ensure_ascii=False, indent=2).encode() + b"\n")
    else:
        report.end()
    return findings
