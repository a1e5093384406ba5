"""What a form does, as the Python that does the same."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from keyword import iskeyword
from typing import Any

from imkit.session import Session
from imkit.threads import Group, Thread
from imkit.widgets.base import Form


def code_for(session: Session, rooms: Sequence[Thread | Group], arguments: Mapping[str, Any]) -> str:
    """Return the code that loads what a history form would load.

    Args:
        session: who reads; called as it is called in the notebook, if it has a name there.
        rooms: threads and groups.
        arguments: of `history()`.

    Example:
        >>> print(code_for(alice, [thread], {"limit": 10}))  # doctest: +SKIP
        frame = alice.thread("42").history(limit=10)
    """
    name = _name_of(session)
    lines = []
    if name is None:
        name = session.user if session.user.isidentifier() and not iskeyword(session.user) else "session"
        # A device of its own: logging in as the same one would end the session of the form.
        app = "" if session.app.is_sandbox else f", app=imkit.App({session.app.app_key!r}), token=…"
        lines = ["import imkit", "", f'{name} = imkit.login({session.user!r}{app}, resource="analysis")']
    found = [f'{name}.{"thread" if isinstance(room, Thread) else "group"}("{room.id}")' for room in rooms]
    given = [f"{key}={_literal(value)}" for key, value in arguments.items()]
    if len(found) == 1:
        lines.append(f"frame = {found[0]}.history({', '.join(given)})")
    else:
        given = [f"[{', '.join(found)}]", *given]
        lines.append(f"frame = {name}.history(\n" + "".join(f"    {one},\n" for one in given) + ")")
    return "\n".join([*lines, "frame"])


def _literal(value: Any) -> str:
    return repr(value.isoformat(timespec="seconds")) if isinstance(value, datetime) else repr(value)


def _name_of(session: Session) -> str | None:
    """Return what the notebook calls a session."""
    if "IPython" not in sys.modules:
        return None
    from IPython import get_ipython

    shell: Any = get_ipython()
    if shell is None:
        return None
    things = [(name, value) for name, value in list(shell.user_ns.items()) if not name.startswith("_")]
    names = [name for name, value in things if value is session]
    names += [f"{name}.session" for name, value in things if isinstance(value, Form) and _holds(value, session)]
    return names[0] if names else None


def _holds(form: Form, session: Session) -> bool:
    return getattr(form, "session", None) is session
