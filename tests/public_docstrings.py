"""Every docstring that a user of imkit can reach: of the public names, and of the methods behind them."""

import inspect
from collections.abc import Iterator
from types import ModuleType
from typing import Any, NamedTuple

import imkit
from imkit.client.callbacks import Subscription
from imkit.client.event_store import EventStream
from imkit.client.paging import Listing
from imkit.insight.accessor import ImAccessor

# Classes without a public name, of which a public call returns an object.
RETURNED = {
    "Listing": Listing,
    "EventStream": EventStream,
    "Subscription": Subscription,
    "ImAccessor": ImAccessor,
}
# Users do not call the constructors of these classes: imkit makes the objects.
MADE_BY_IMKIT = {"Session", "Group", "Thread", *RETURNED}


class Documented(NamedTuple):
    """One docstring, and what it belongs to."""

    name: str  # such as "Thread.history"
    thing: Any  # a function, a class or a property
    docstring: str
    parameters: list[str]  # that the docstring must explain, without `self`


def documented() -> Iterator[Documented]:
    """Yield each public name and each public method and property behind it, once."""
    for name in imkit.__all__:
        if not isinstance(thing := getattr(imkit, name), ModuleType | str):
            yield from _of_one(name, thing)
    for name, kind in RETURNED.items():
        yield from _of_one(name, kind)


def _of_one(name: str, thing: Any) -> Iterator[Documented]:
    if not inspect.isclass(thing):
        yield Documented(name, thing, inspect.getdoc(thing) or "", _parameters(thing))
        return
    explained = [] if name in MADE_BY_IMKIT or not _has_own_constructor(thing) else _parameters(thing)
    yield Documented(name, thing, inspect.cleandoc(vars(thing).get("__doc__") or ""), explained)
    if not issubclass(thing, BaseException):
        for member in sorted(dir(thing)):
            found = getattr(thing, member)
            docstring = inspect.getdoc(found) or ""
            is_public = not member.startswith("_") and not docstring.startswith("Internal:")
            if is_public and (callable(found) or isinstance(found, property)):
                parameters = [] if isinstance(found, property) else _parameters(found)
                yield Documented(f"{name}.{member}", found, docstring, parameters)


def _has_own_constructor(kind: type) -> bool:
    return "__init__" in vars(kind)


def _parameters(thing: Any) -> list[str]:
    return [name for name in inspect.signature(thing).parameters if name != "self" and not name.startswith("_")]
