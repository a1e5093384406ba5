"""The tree of errors: the drawing in the docstring, the attributes of each error, and escaped texts."""

from __future__ import annotations

import copy
import inspect
import pickle

import pytest

import imkit
from imkit import errors
from imkit.errors import ConnectionLost, IMError, InvalidMessage, RateLimited, TimedOut
from imkit.hints import operation

ERRORS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, IMError)]
HOSTILE = "\x1b]0;owned\x07 line\nline\r\t \u202e right to left \u2028 \ud83c \x9b2J <b>"


def drawn_tree() -> dict[str, str]:
    """The tree in the module's docstring, as class name → name of the parent class."""
    parents: dict[str, str] = {}
    branch: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if line.strip() == "IMError":
            branch = ["IMError"]
            parents["IMError"] = "Exception"
        elif "── " in line and branch:
            indent, _, rest = line.partition("── ")
            depth = (len(indent) - 5) // 4 + 1
            name = rest.split()[0]
            branch[depth:] = [name]
            parents[name] = branch[depth - 1]
    return parents


def test_the_drawing_of_the_tree_is_right() -> None:
    assert drawn_tree() == {kind.__name__: kind.__bases__[0].__name__ for kind in ERRORS}
    assert len(drawn_tree()) > 25


def test_imkit_exports_each_error() -> None:
    assert {kind.__name__ for kind in ERRORS} <= set(imkit.__all__)


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_each_error_has_its_attributes_and_can_be_copied(kind: type[IMError]) -> None:
    error = kind("what happened", reason="the service's words")
    assert error.code is None or isinstance(error.code, int)
    assert (error.status, error.reason) == (None, "the service's words")
    assert isinstance(error.hint, str)
    assert str(error).startswith("what happened · the service's words")  # without a status it did not answer
    assert error.hint in str(error)
    assert kind.__doc__
    assert kind.__name__ in str(kind()) or kind().hint
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(twin) is kind
        assert (str(twin), vars(twin)) == (str(error), vars(error))


@pytest.mark.parametrize(
    "kind", [kind for kind in ERRORS if kind is not ConnectionLost], ids=lambda kind: kind.__name__
)
def test_an_argument_replaces_the_default_of_the_class(kind: type[IMError]) -> None:
    error = kind("m", code=7, status=403, reason="r", hint="do this")
    assert (error.code, error.status, error.reason, error.hint) == (7, 403, "r", "do this")
    assert str(error) == "m · The service said: r · do this"
    assert str(kind("m", hint="")) == "m"


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_texts_cannot_control_a_terminal(kind: type[IMError]) -> None:
    error = kind(HOSTILE, reason=HOSTILE + "!", hint=HOSTILE)
    for shown in (str(error), str(kind(HOSTILE)), str(kind(reason=HOSTILE)), repr(error)):
        shown.encode()
        assert shown.isprintable(), shown


def test_a_reason_that_the_message_repeats_is_shown_once() -> None:
    assert str(IMError("the service said busy", reason="busy")) == "the service said busy"


def test_some_are_built_in_errors_too() -> None:
    assert issubclass(InvalidMessage, ValueError)
    assert issubclass(TimedOut, TimeoutError)
    assert RateLimited("slow down").retry_after is None


def test_a_lost_connection_says_whether_the_message_may_have_arrived() -> None:
    assert ConnectionLost("gone").outcome == "unknown"
    assert "not known" in ConnectionLost("gone").hint
    assert "history" in ConnectionLost("gone", what=operation("send", type="txt", thread="42")).hint
    lost = ConnectionLost("gone", outcome="not sent")
    assert lost.outcome == "not sent"
    assert "Nothing was sent" in lost.hint
    for error in (ConnectionLost("gone"), lost, ConnectionLost("gone", hint="Plug it in.")):
        before = error.hint
        error.name_operation(operation("send", type="txt", thread="42"))
        assert str(error).startswith("the txt message to thread 42: gone")
        assert ("history" in error.hint) is (before == ConnectionLost("gone").hint)
