"""Short tracebacks: an error of imkit shows where the user's code was, and not the frames of imkit, its loop and HTTP.

`imkit.portal` shortens an error when it leaves a call, so its traceback is short in a notebook, in a script and in the
user's log, and also where the user's own error is raised from it. Nothing is lost: the error keeps its whole traceback,
which IPython shows in its mode Verbose, and the logger ``imkit.errors`` tells it at the level DEBUG.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Iterable, Iterator
from types import FrameType, TracebackType

from imkit.escape import for_terminal

logger = logging.getLogger("imkit.errors")

_WHOLE = "_whole_traceback"
_INSTALLED = {"site-packages", "dist-packages"}  # the folders of libraries


class _Whole:
    """What an exception had before it was shortened. Its copy in another process is empty: frames stay in theirs."""

    def __init__(
        self,
        entries: Iterable[TracebackType] = (),
        shown: int = 0,
        beneath: BaseException | None = None,
        is_cause: bool = False,
    ) -> None:
        self.entries = list(entries)  # the outermost first
        self.shown = shown  # so many of them are still in the exception's traceback, at its end
        self.beneath = beneath  # its cause, or the exception that was being handled
        self.is_cause = is_cause

    def __reduce__(self) -> tuple[type[_Whole], tuple[()]]:
        return _Whole, ()


def shorten(error: BaseException) -> None:
    """Take imkit's frames, and those of the libraries beneath it, out of an error's traceback, in place.

    The frames of the user's own functions stay, also of those that imkit called. If imkit raised the error, then what
    lies beneath it (`__cause__`, `__context__`) goes too, up to an exception that the user's code raised or was
    handling: the words of the others are in `reason`.
    """
    if not isinstance(error.__dict__.get(_WHOLE), _Whole) and logger.isEnabledFor(logging.DEBUG):
        logger.debug("the whole traceback of an error:\n%s", "\n".join(whole_traceback(error, foreign_words=False)))
    if is_raised_by_user(error):
        _take_frames(error)
        return
    seen, kept, is_cause = {id(error)}, _beneath(error), _is_cause(error)
    while kept is not None and all(_is_library(entry.tb_frame) for entry in _entries(kept.__traceback__)):
        seen.add(id(kept))
        kept = _beneath(kept)
        if id(kept) in seen:
            kept = None
    _take_frames(error)
    # Also the context of an error with a cause: IPython cannot show an error with an ExceptionGroup there.
    error.__cause__, error.__context__ = (kept if is_cause else None), kept
    error.__suppress_context__ = error.__cause__ is not None
    if kept is not None:
        _take_frames(kept)


def is_raised_by_user(error: BaseException) -> bool:
    """Return whether an exception was raised in the user's code, or in what that called, and not by imkit."""
    entries = _whole_of(error).entries
    return bool(entries) and list(_users_frames(entries))[-1:] == entries[-1:]


def _take_frames(error: BaseException) -> None:
    whole = _whole_of(error)
    entries = list(_users_frames(whole.entries))
    whole.shown = len(entries)
    error.__dict__[_WHOLE] = whole
    error.__traceback__ = _linked(entries)


def render_for_ipython(error: BaseException) -> list[str]:
    """Return what IPython shows of an error: the short traceback, or in its mode Verbose the whole one.

    The whole one has no values of variables: those of imkit's frames may be secret.
    """
    from IPython import get_ipython  # only IPython calls this

    shell = get_ipython()
    if shell is None or shell.InteractiveTB.mode == "Verbose":
        return whole_traceback(error)
    shorten(error)
    entries = list(_entries(error.__traceback__))
    while entries and _package(entries[0].tb_frame) == "IPython":  # it runs the cell
        del entries[0]
    rendered: list[str] = shell.InteractiveTB.structured_traceback(type(error), error, _linked(entries), tb_offset=0)
    return rendered


def whole_traceback(error: BaseException, *, foreign_words: bool = True) -> list[str]:
    """Return the whole traceback as lines, with the errors beneath it.

    Args:
        error: the error.
        foreign_words: tell also the words of errors that are not imkit's; those of the user's may contain a secret.
    """
    parts: list[str] = []
    seen: set[int] = set()
    shown: BaseException | None = error
    while shown is not None and id(shown) not in seen:
        seen.add(id(shown))
        whole = _whole_of(shown)
        stack = traceback.StackSummary.extract((entry.tb_frame, entry.tb_lineno) for entry in whole.entries)
        has_words = foreign_words or type(shown).__module__.partition(".")[0] == "imkit"
        words = "".join(traceback.format_exception_only(shown)) if has_words else type(shown).__name__
        parts[:0] = ["Traceback (most recent call last):", *"".join(stack.format()).splitlines(), *words.splitlines()]
        shown = whole.beneath
        if shown is not None:
            parts[:0] = ["", "It caused this error:" if whole.is_cause else "Then came this error:", ""]
    return [for_terminal(line) for line in parts]


def _whole_of(error: BaseException) -> _Whole:
    """Return all of an exception: what was taken from it, and the frames through which it went since."""
    entries = list(_entries(error.__traceback__))
    earlier = error.__dict__.get(_WHOLE)
    if not isinstance(earlier, _Whole) or not earlier.entries:
        return _Whole(entries, 0, _beneath(error), _is_cause(error))
    new = entries[: max(len(entries) - earlier.shown, 0)]
    return _Whole([*new, *earlier.entries], earlier.shown, earlier.beneath, earlier.is_cause)


def _beneath(error: BaseException) -> BaseException | None:
    """Return the exception that Python shows above this one."""
    if error.__cause__ is not None:  # a user's exception may count as false
        return error.__cause__
    return None if error.__suppress_context__ else error.__context__


def _is_cause(error: BaseException) -> bool:
    return error.__cause__ is not None


def _users_frames(entries: Iterable[TracebackType]) -> Iterator[TracebackType]:
    """Return the entries of the user's code, and of what it called up to a call of imkit."""
    in_imkit = False
    for entry in entries:
        in_imkit = _package(entry.tb_frame) == "imkit" or (in_imkit and _is_library(entry.tb_frame))
        if not in_imkit:
            yield entry


def _is_library(frame: FrameType) -> bool:
    if _package(frame) == "imkit" or _package(frame) in sys.stdlib_module_names:
        return True
    # A frame of compiled code names its source by a path that is not on this machine: its module knows better.
    files = (frame.f_code.co_filename, str(frame.f_globals.get("__file__", "")))
    return any(not _INSTALLED.isdisjoint(file.replace("\\", "/").split("/")) for file in files)


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _entries(top: TracebackType | None) -> Iterator[TracebackType]:
    while top is not None:
        yield top
        top = top.tb_next


def _linked(entries: list[TracebackType]) -> TracebackType | None:
    """Return a traceback of these entries."""
    top: TracebackType | None = None
    for entry in reversed(entries):
        top = TracebackType(top, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return top
