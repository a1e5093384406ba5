"""The docstrings of public calls have one form, and Shift+Tab shows them with a signature that can be read."""

import inspect
import re

import pytest
from IPython.core.oinspect import Inspector

import imkit
from tests.public_docstrings import Documented, documented

ALL = list(documented())
each_docstring = pytest.mark.parametrize("found", ALL, ids=[found.name for found in ALL])
SECTION = re.compile(r"^(?:Args|Attributes):\n(.*?)(?=^\S|\Z)", re.MULTILINE | re.DOTALL)


def explained(docstring: str) -> list[str]:
    """The names that the section Args or Attributes explains."""
    section = SECTION.search(docstring)
    return re.findall(r"^    \*{0,2}(\w+):", section[1], re.MULTILINE) if section else []


def test_there_are_docstrings_to_check() -> None:
    assert len(ALL) > 120
    assert {"login", "Thread.history", "Session.events", "Text", "MessageRecalled", "Listing"} <= {
        found.name for found in ALL
    }


@each_docstring
def test_the_first_line_says_what_it_does(found: Documented) -> None:
    first = found.docstring.partition("\n")[0]
    assert first.endswith("."), first
    assert len(first) <= 120


@each_docstring
def test_each_parameter_is_explained(found: Documented) -> None:
    names = explained(found.docstring)
    if found.parameters:
        assert sorted(names) == sorted(found.parameters)
    elif not inspect.isclass(found.thing):
        assert names == []


@each_docstring
def test_nothing_of_the_machinery_shows(found: Documented) -> None:
    shown = found.docstring
    if callable(found.thing):
        shown += str(inspect.signature(found.thing))
    for word in ("P.args", "P.kwargs", "SKIP"):
        assert word not in shown


@pytest.mark.parametrize("name", ["login", "login.aio", "thread.history", "thread.history.aio", "imkit.Thread.history"])
def test_shift_tab_shows_the_parameters_and_the_docstring_and_no_more(alice: imkit.Session, name: str) -> None:
    names = {"login": imkit.login, "thread": alice.thread("42"), "imkit": imkit}
    thing: object = names[name.partition(".")[0]]
    for attribute in name.split(".")[1:]:
        thing = getattr(thing, attribute)
    shown = Inspector(theme_name="nocolor").info(thing, oname=name)
    signature, docstring = shown["definition"], shown["docstring"]
    assert signature is not None
    assert docstring is not None
    assert signature.startswith(f"{name}(\n")
    assert ("    user: 'str'" if "login" in name else "    since: 'Moment | None' = None") in signature
    assert docstring.startswith("Log in" if "login" in name else "Load the roaming history")
    for further in ("class_docstring", "call_def", "call_docstring", "init_docstring"):
        assert shown[further] is None
