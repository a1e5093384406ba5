"""The tree of errors: as drawn, each with its attributes, none with a control character in its words."""

from __future__ import annotations

import copy
import inspect
import pickle

import pytest

import imkit
from imkit import errors
from imkit.errors import ConnectionLost, IMError, InvalidMessage, RateLimited, TimedOut

EVERY = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, IMError)]
HOSTILE = "\x1b]0;owned\x07 line\nline\r\t \u202e right to left \u2028 \ud83c \x9b2J <b>"


def drawn() -> dict[str, str]:
    """The tree in the module's docstring: class → parent."""
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


def test_the_tree_is_as_drawn() -> None:
    assert drawn() == {kind.__name__: kind.__bases__[0].__name__ for kind in EVERY}
    assert len(drawn()) > 25


def test_the_contract_names_each_of_them() -> None:
    assert {kind.__name__ for kind in EVERY} <= set(imkit.__all__)


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)
def test_each_has_its_attributes(kind: type[IMError]) -> None:
    error = kind("what happened", reason="the service's words")
    assert error.code is None or isinstance(error.code, int)
    assert (error.status, error.reason) == (None, "the service's words")
    assert isinstance(error.hint, str)
    assert str(error).startswith("what happened · The service said: the service's words")
    assert error.hint in str(error)
    assert kind.__doc__
    assert kind.__name__ in str(kind()) or kind().hint
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(twin) is kind
        assert (str(twin), vars(twin)) == (str(error), vars(error))


@pytest.mark.parametrize("kind", [kind for kind in EVERY if kind is not ConnectionLost], ids=lambda kind: kind.__name__)
def test_what_is_given_goes_before_the_default(kind: type[IMError]) -> None:
    error = kind("m", code=7, status=403, reason="r", hint="do this")
    assert (error.code, error.status, error.reason, error.hint) == (7, 403, "r", "do this")
    assert str(error) == "m · The service said: r · do this"
    assert str(kind("m", hint="")) == "m"


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)
def test_no_words_steer_a_terminal(kind: type[IMError]) -> None:
    error = kind(HOSTILE, reason=HOSTILE + "!", hint=HOSTILE)
    for shown in (str(error), str(kind(HOSTILE)), str(kind(reason=HOSTILE)), repr(error)):
        shown.encode()
        assert shown.isprintable(), shown


def test_what_is_said_twice_is_shown_once() -> None:
    assert str(IMError("the service said busy", reason="busy")) == "the service said busy"


def test_some_are_what_python_calls_them_too() -> None:
    assert issubclass(InvalidMessage, ValueError)
    assert issubclass(TimedOut, TimeoutError)
    assert RateLimited("slow down").retry_after is None


def test_a_lost_connection_tells_what_became_of_the_send() -> None:
    assert ConnectionLost("gone").outcome == "unknown"
    assert "history" in ConnectionLost("gone").hint
    lost = ConnectionLost("gone", outcome="not sent")
    assert lost.outcome == "not sent"
    assert "history" not in lost.hint
