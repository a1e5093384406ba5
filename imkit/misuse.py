"""What a call or a name that cannot be right ends in: a sentence that says how it is written.

Three slips have nothing to do with the service, and Python's own words for them help little: an argument that is
missing, too many or unknown; a name that does not exist; `await` before a call without ``.aio``. The sentences and the
tables of other names are in `imkit.hints`.
"""

from __future__ import annotations

import functools
import inspect
import opcode
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import FrozenInstanceError
from types import FunctionType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from imkit import hints
from imkit.errors import IMError, InvalidMessage
from imkit.tracebacks import render_for_ipython, shorten

Awaited = tuple[str, str, str]  # as in `hints.AWAITED`
P = ParamSpec("P")
R = TypeVar("R")

_ASYNC = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
# What CPython does with the result of a call right after it; another Python may not have these instructions.
_AWAITED = {opcode.opmap[name]: texts for name, texts in hints.AWAITED.items() if name in opcode.opmap}
_AFTER_A_CALL = 32  # bytes; the call's inline caches, which read as zero, and the next instruction


# ---------------------------------------------------------------- calls


def how_awaited() -> Awaited | None:
    """Return how the caller of the caller awaits the result of this plain call; `None`: it does not.

    Without this, ``await thread.send("tea")`` would send, and only then fail, because a `Message` cannot be awaited.
    """
    try:
        # Not inspect.currentframe(): a variable with the own frame would be a circle that keeps all arguments alive.
        caller = sys._getframe(2)  # noqa: SLF001
    except ValueError:  # C calls imkit, and not a function of Python's
        return None
    code = caller.f_code
    if not code.co_flags & _ASYNC:
        return None
    begin = caller.f_lasti + 2  # an instruction, and each of its inline caches, has two bytes
    following = code.co_code[begin : begin + _AFTER_A_CALL : 2].lstrip(b"\0")
    return _AWAITED.get(following[0]) if following else None


def not_awaitable(function: Callable[..., Any], awaited: Awaited, has_aio: bool) -> InvalidMessage:
    """Return the error for an `await` before a plain call. The call has not begun.

    Args:
        function: what is called: a function or a bound method.
        awaited: what `how_awaited` has returned.
        has_aio: whether the call has an ``.aio``.
    """
    words, hint_with_aio, hint_without = awaited
    call = _written(function)
    return InvalidMessage(f"{call}() {words}", hint=(hint_with_aio if has_aio else hint_without).format(call=call))


def wrong_call(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> InvalidMessage | None:
    """Return what is wrong with the arguments of a call; `None`: they fit, and something else raised the TypeError.

    Args:
        function: a function or a bound method.
        args: the arguments without a name.
        kwargs: those with a name.

    Example:
        >>> import imkit
        >>> print(wrong_call(imkit.login, (), {"username": "alice"}))
        imkit.login() has no argument 'username' · Write user=.
    """
    signature = inspect.signature(function)
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        call, reason = _written(function), str(error)
    else:
        return None
    kind = type(getattr(function, "__self__", None))
    if function.__name__ == "__init__" and kind.__name__ in hints.MADE_BY:
        return made_by_imkit(kind)
    by_kind: dict[Any, list[str]] = {}
    for parameter in signature.parameters.values():
        by_kind.setdefault(parameter.kind, []).append(parameter.name)
    positional = by_kind.get(inspect.Parameter.POSITIONAL_OR_KEYWORD, [])
    named = by_kind.get(inspect.Parameter.KEYWORD_ONLY, [])
    unknown = [name for name in kwargs if name not in positional + named]
    hint = ""
    if unknown:
        reason = f"has no argument {unknown[0]!r:.60}"
        hint = hints.ARGUMENTS.get((function.__name__, unknown[0]), "")
        if not hint and (meant := _meant(unknown[0], positional + named, hints.ARGUMENT_NAMES)):
            hint = f"Write {meant}=."
    elif len(args) > len(positional):
        count = f"{len(positional)} without a name" if named else str(len(positional)) if positional else "none"
        reason = f"got {_counted(len(args))}, and takes {count}"
        hint = hints.ARGUMENTS.get((function.__name__, ""), "")
        if not hint and named:
            hint = f"Name the others, such as {named[0]}=."
    else:
        missing = [
            each.name
            for each in list(signature.parameters.values())[len(args) :]
            if each.default is each.empty and each.name in positional + named and each.name not in kwargs
        ]
        reason = f"needs {' and '.join(missing)}" if missing else reason
        hint = hints.ARGUMENTS.get((function.__name__, missing[0]), "") if missing else ""
    return InvalidMessage(f"{call}() {reason}", hint=hint or f"It is called as {call}{_shown(signature)}.")


def made_by_imkit(kind: type) -> InvalidMessage:
    """Return the error for a program that makes an object of a class by itself, such as ``imkit.Thread("42")``."""
    name = kind.__name__
    return InvalidMessage(f"a program does not make a {name} itself", hint=hints.MADE_BY[name])


def _counted(number: int) -> str:
    return f"{number} argument{'s' if number > 1 else ''}"


def _written(function: Callable[..., Any]) -> str:
    """Return how a program writes a function before its parentheses: ``thread.send``, ``imkit.login``."""
    owner = getattr(function, "__self__", None)
    if function.__name__ == "__init__":
        return f"imkit.{type(owner).__name__}"
    if owner is None:
        name = function.__qualname__.rpartition(".<locals>.")[2]
        return f"imkit.{name}" if function.__module__.partition(".")[0] == "imkit" else name
    kind = owner if isinstance(owner, type) else type(owner)
    return f"{_variable(kind)}.{function.__name__}"


def _variable(kind: type) -> str:
    """Return how a program names an object of a class."""
    known = (hints.VARIABLES[each.__name__] for each in kind.__mro__ if each.__name__ in hints.VARIABLES)
    return next(known, kind.__name__.lower())


def _shown(signature: inspect.Signature) -> str:
    """Return a signature without types, and without the parameters that are imkit's own."""
    shown = [each.replace(annotation=each.empty) for each in signature.parameters.values() if each.name[0] != "_"]
    return str(signature.replace(parameters=shown, return_annotation=signature.empty))


def explained(function: Callable[P, R]) -> Callable[P, R]:
    """Return a method that says what is wrong with its arguments, and that it needs no `await`.

    `imkit.portal.blocking` does the same for the methods that ask the service.
    """

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        __tracebackhide__ = True
        try:
            if (awaited := how_awaited()) is not None and awaited[2]:  # `async for` over pages is right
                raise not_awaitable(_bound(function, args), awaited, has_aio=False)
            try:
                return function(*args, **kwargs)
            except TypeError:
                if (error := wrong_call(_bound(function, args), args[1:], kwargs)) is None:
                    raise
            raise error
        except IMError as refusal:
            shorten(refusal)
            raise

    return call


def _bound(function: Callable[..., Any], args: Sequence[Any]) -> Callable[..., Any]:
    bound: Callable[..., Any] = function.__get__(args[0]) if args else function  # no argument: Session.groups()
    return bound


# ---------------------------------------------------------------- names


class UnknownName(AttributeError):
    """An attribute that does not exist. In a notebook its traceback shows the user's line alone, as an `IMError` does.

    Args:
        message: what was looked for, and what to write.
        name: of the attribute.
    """

    def __init__(self, message: str = "", name: str = "") -> None:
        super().__init__(message, name=name, obj=None)  # of no object: Python would look for a like name a second time

    def _render_traceback_(self) -> list[str]:
        return render_for_ipython(self)


class Unchangeable(FrozenInstanceError):
    """An attribute that cannot be changed. Its traceback is as that of `UnknownName`."""

    def _render_traceback_(self) -> list[str]:
        return render_for_ipython(self)


class PublicObject:
    """The base class of the objects that a user holds, such as `Session`, `Thread` and `Message`.

    Its methods explain wrong arguments. An attribute that does not exist is an AttributeError that names the right one.
    ``dir()``, which a Tab in JupyterLab shows, leaves out what is internal: the docstring of that begins with
    "Internal:".
    """

    __slots__ = ()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name, member in list(vars(cls).items()):
            if not name.startswith("_") and isinstance(member, FunctionType) and not _is_internal(member):
                setattr(cls, name, explained(member))
        if "__setattr__" in vars(cls):  # of a frozen dataclass with slots; it fails at names that are no fields
            # A type checker refuses to replace methods.
            cls.__setattr__ = cls.__delattr__ = _cannot_be_changed  # type: ignore[assignment, method-assign]

    def __dir__(self) -> Iterable[str]:
        return [name for name in super().__dir__() if not _is_internal(getattr(type(self), name, None))]

    if not TYPE_CHECKING:  # a type checker knows the names better

        def __getattr__(self, name: str) -> Any:
            kind = type(self)
            if hasattr(kind, name):  # a property that raised an AttributeError itself
                return object.__getattribute__(self, name)
            error = f"{kind.__name__!r} object has no attribute {name!r:.80}"
            if not name.startswith("_"):
                error += f" · {_right_name(name, kind)}"
            raise UnknownName(error, name)


def _cannot_be_changed(thing: PublicObject, name: str, value: object = None) -> None:
    """Refuse to change an object that says what the service said."""
    kinds = [each.__name__ for each in type(thing).__mro__]
    hint = next((hints.CHANGES[each] for each in kinds if each in hints.CHANGES), hints.CHANGES["object"])
    raise Unchangeable(f"{name!r:.80} of a {kinds[0]} cannot be changed · {hint}")


def _is_internal(member: object) -> bool:
    return (getattr(member, "__doc__", None) or "").startswith("Internal:")


def _names_of(kind: type) -> list[str]:
    return [name for name in dir(kind) if not name.startswith("_") and not _is_internal(getattr(kind, name))]


def _right_name(name: str, kind: type) -> str:
    """Return what to write in place of an attribute that a class does not have."""
    variable, names = _variable(kind), _names_of(kind)
    for each in kind.__mro__:
        if name in (texts := hints.ATTRIBUTES.get(each.__name__, {})):
            return texts[name]
    if name in hints.OFFICIAL_NAMES:
        return hints.OFFICIAL_NAME.format(right=hints.OFFICIAL_NAMES[name])
    if meant := _meant(name, names, {}):
        return f"Write {variable}.{meant}."
    for field in getattr(kind, "__dataclass_fields__", {}):  # event.text is event.message.text
        if name in hints.INNER_NAMES.get(field, "").split():
            return f"Write {variable}.{field}.{name}."
    if owners := [f"{each}.{name}" for each in _owners(name)]:
        return f"There is {' and '.join(owners)}."
    return hints.A_TAB.format(variable=variable)


def _owners(name: str) -> list[str]:
    """Return the variables whose class has a public attribute of this name."""
    known = [each for each in _subclasses(PublicObject) if hasattr(each, name)]
    classes = [each.__name__ for each in known if not _is_internal(getattr(each, name))]
    return list(dict.fromkeys(variable for kind, variable in hints.VARIABLES.items() if kind in classes))


def _subclasses(kind: type) -> list[type]:
    children: list[type] = kind.__subclasses__()
    return [each for child in children for each in (child, *_subclasses(child))]


def _meant(name: str, names: Iterable[str], others: Mapping[str, str]) -> str:
    """Return the name that was meant; empty if none is near."""
    import difflib

    names = list(names)
    for other in others.get(name, "").split():
        if other in names:
            return other
    by_lower = {each.lower().replace("_", ""): each for each in names}
    near = difflib.get_close_matches(name.lower().replace("_", ""), by_lower, 1, 0.75)
    return by_lower[near[0]] if near else ""


def unknown_public_name(name: str, names: Iterable[str]) -> AttributeError:
    """Return the error for a name that the package `imkit` does not have; `names` are those that it has."""
    error = f"module 'imkit' has no attribute {name!r:.80}"
    if not name.startswith("_"):
        if hint := hints.ATTRIBUTES["imkit"].get(name):
            error += f" · {hint}"
        elif name in hints.OFFICIAL_NAMES:
            error += f" · {hints.OFFICIAL_NAME.format(right=hints.OFFICIAL_NAMES[name])}"
        elif meant := _meant(name, names, {}):
            error += f" · Write imkit.{meant}."
        else:
            error += f" · {hints.A_TAB.format(variable='imkit')}"
    return UnknownName(error, name)
