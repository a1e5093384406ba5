"""Python code that loads the same history as a `HistoryForm`, for the reader to copy into a cell."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from keyword import iskeyword
from typing import Any

from imkit.session import Session
from imkit.threads import Group, Thread
from imkit.widgets.base import Form


def code_for(session: Session, conversations: Sequence[Thread | Group], arguments: Mapping[str, Any]) -> str:
    """Return the code that loads the history of threads and groups.

    Args:
        session: the code uses the notebook's variable for it; if there is none, the code logs in.
        conversations: threads and groups.
        arguments: of `history()`.

    Example:
        ```python
        print(code_for(alice, [thread], {"limit": 10}))
        # frame = alice.thread("42").history(limit=10)
        # frame
        ```
    """
    name = _variable_of(session)
    lines = []
    if name is None:
        name = session.user if session.user.isidentifier() and not iskeyword(session.user) else "session"
        # A separate resource: a login with the form's resource would end the form's session.
        app = "" if session.app.is_sandbox else f", app=imkit.App({session.app.app_key!r}), token=…"
        lines = ["import imkit", "", f'{name} = imkit.login({session.user!r}{app}, resource="analysis")']
    targets = [f'{name}.{"thread" if isinstance(one, Thread) else "group"}("{one.id}")' for one in conversations]
    keywords = [f"{key}={_literal(value)}" for key, value in arguments.items()]
    if len(targets) == 1:
        lines.append(f"frame = {targets[0]}.history({', '.join(keywords)})")
    else:
        items = [f"[{', '.join(targets)}]", *keywords]
        lines.append(f"frame = {name}.history(\n" + "".join(f"    {item},\n" for item in items) + ")")
    return "\n".join([*lines, "frame"])


def _literal(value: Any) -> str:
    return repr(value.isoformat(timespec="seconds")) if isinstance(value, datetime) else repr(value)


def _variable_of(session: Session) -> str | None:
    """Return the expression for a session in the notebook: ``"alice"``, or ``"form.session"`` for a form's."""
    if "IPython" not in sys.modules:
        return None
    from IPython import get_ipython

    shell: Any = get_ipython()
    if shell is None:
        return None
    variables = [(name, value) for name, value in list(shell.user_ns.items()) if not name.startswith("_")]
    names = [name for name, value in variables if value is session]
    names += [f"{name}.session" for name, value in variables if isinstance(value, Form) and _has(value, session)]
    return names[0] if names else None


def _has(form: Form, session: Session) -> bool:
    return getattr(form, "session", None) is session
