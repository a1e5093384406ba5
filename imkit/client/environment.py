"""The settings that a user makes outside of the code: the environment and a `.env` file.

A `.env` file may come from a stranger: with a folder that was cloned, or from a folder above that others can write to.
So its URLs count only together with its own app key, and a file that others may change does not count at all.
"""

from __future__ import annotations

import io
import logging
import os
import shlex
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from imkit.escape import for_terminal

logger = logging.getLogger("imkit.client.environment")

APP_KEY = "IMKIT_APP_KEY"
_GO_WITH_IT = (
    "IMKIT_REST_URL",
    "IMKIT_WS_URL",
    "IMKIT_USER",
    "IMKIT_PASSWORD",
    "IMKIT_TOKEN",
    "IMKIT_SECOND_PASSWORD",
    "IMKIT_SECOND_TOKEN",
)
_LARGEST_BYTES = 64 * 1024


def settings(app_key: str | None = None) -> dict[str, str | None]:
    """Return the settings of one source: the one that names the app.

    | IMKIT_APP_KEY is set | all settings come from |
    |---|---|
    | in the environment, also if it is empty | the environment |
    | in the `.env` file only | the file |
    | in neither | both, and the environment wins: the app is the sandbox, or the one of the argument |

    So no source sends the password of the other one to its own servers. The file is the nearest in the working
    directory and above, up to the home folder or the folder with `.git`. A file that others may change is passed over,
    and a warning says so.

    Args:
        app_key: an app key that the user gave otherwise: then the file of another app does not count.
    """
    environment = dict[str, str | None](os.environ)
    if APP_KEY in environment:
        return environment
    found, path = _nearest_file()
    if APP_KEY not in found or found[APP_KEY] == app_key:
        return {**found, **environment}
    if app_key is not None:
        return environment
    if passed_over := [name for name in _GO_WITH_IT if environment.get(name)]:
        names = ", ".join(passed_over)
        shown = for_terminal(str(path))
        logger.warning("%s of the environment is not used: %s names the app. Set all in one of them.", names, shown)
    return found


def _nearest_file() -> tuple[dict[str, str | None], Path | None]:
    """Return the settings of the nearest `.env` file that may count, and its path."""
    from dotenv import dotenv_values  # takes time to load, and not every program asks

    for folder in _folders():
        text = _text(folder / ".env")
        if text is not None:
            # Without `${NAME}`: in the URL of a server it would give away a variable of the environment.
            return dotenv_values(stream=io.StringIO(text), interpolate=False), folder / ".env"
    return {}, None


def _folders() -> Iterator[Path]:
    """Yield the folders to look in, from the working directory upwards."""
    try:
        start = Path.cwd()
    except OSError:  # it was deleted
        return
    home = os.path.realpath(os.path.expanduser("~"))
    for folder in (start, *start.parents):
        yield folder
        if str(folder) == home or os.path.exists(folder / ".git"):
            return


def _text(path: Path) -> str | None:
    """Return the text of a file that counts, else `None`; a warning says why a file with settings of imkit does not."""
    try:
        with open(path, "rb", opener=_open_without_waiting) as file:
            opened = os.fstat(file.fileno())  # of the opened file: the name may be given to another one at any time
            is_regular = stat.S_ISREG(opened.st_mode)
            content = file.read(_LARGEST_BYTES + 1) if is_regular else b""
    except OSError as error:
        # Many virtual environments are directories of this name.
        if not isinstance(error, FileNotFoundError | NotADirectoryError) and not os.path.isdir(path):
            _pass_over(path, f"it cannot be read ({error.strerror})")
        return None
    problem = _who_else_may_change(path, opened)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text, problem = "", problem or "it is not text in UTF-8"
    if not is_regular:
        problem = "it is no regular file"
    elif len(content) > _LARGEST_BYTES:
        problem = f"it is larger than {_LARGEST_BYTES // 1024} KiB"
    if not problem:
        return text
    if not is_regular or b"IMKIT_" in content.replace(b"\0", b""):  # also in UTF-16; a file of others needs no warning
        _pass_over(path, problem)
    return None


def _pass_over(path: Path, problem: str) -> None:
    logger.warning("%s", for_terminal(f"{path} is not used: {problem}"))  # strangers may name the folders above


def _open_without_waiting(path: str, flags: int) -> int:
    """Open a file; a pipe of this name must not make the login wait for its other end."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _who_else_may_change(path: Path, opened: os.stat_result) -> str:
    """Return which other user may have written a file, and what to do; empty if none. Windows tells no owner."""
    if sys.platform == "win32":
        return ""
    trusted = {0, os.geteuid()}
    try:
        owners, folder = {opened.st_uid, os.lstat(path).st_uid}, os.stat(path.parent)  # lstat: of a symbolic link
    except OSError as error:
        return f"its folder cannot be read ({error.strerror})"
    if others := owners - trusted:
        whose = f"it belongs to another user (uid {min(others)}, and yours is {os.geteuid()})"
        return f"{whose}. If you trust it: copy it, and give the copy its name"
    shared_group = opened.st_mode & stat.S_IWGRP and not _is_private_group(opened.st_gid)
    if shared_group or opened.st_mode & stat.S_IWOTH:
        return f"other users may change it. If its contents are right: chmod 600 {shlex.quote(str(path))}"
    if folder.st_mode & stat.S_IWOTH and not folder.st_mode & stat.S_ISVTX:
        return f"other users may replace it. If its contents are right: chmod o-w {shlex.quote(str(path.parent))}"
    return ""


def _is_private_group(group: int) -> bool:
    """Whether the user is alone in a group: Ubuntu and Fedora give each user one, which may write all their files."""
    import grp  # not on Windows
    import pwd

    try:
        found = grp.getgrgid(group)
        user = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return False
    return found.gr_name == user and not set(found.gr_mem) - {user}
