"""`imkit.login`: where a program that uses imkit begins.

The client takes some tenths of a second to load, and so does a sandbox to start. So this module loads little, and does
both side by side.
"""

from __future__ import annotations

import asyncio
import importlib
import threading
from typing import TYPE_CHECKING

from imkit.client.environment import settings
from imkit.client.user_ids import user_id
from imkit.errors import InvalidMessage
from imkit.hints import AN_APP
from imkit.portal import blocking_function

if TYPE_CHECKING:
    from imkit.client.app import App
    from imkit.client.credentials import TokenSource
    from imkit.session import Session


@blocking_function
async def login(
    user: str,
    *,
    password: str | None = None,
    token: str | TokenSource | None = None,
    app: App | str | None = None,
    resource: str | None = None,
) -> Session:
    """Log in as a user and return the session.

    Without an `app` argument, and without an app in the environment, this is the local sandbox (沙箱). imkit starts the
    sandbox if none is running. A sandbox makes users on demand and needs no password and no token.

    Args:
        user: the user id. The service turns it into lower case.
        password: the user's password. A real app needs a password or a token.
        token: a token from your app server. Or a function without arguments, plain or async, that fetches a fresh
            token; imkit calls it again before the token expires.
        app: the app, or its key, such as ``"org#app"``; `None`: the app in the environment (see `App.from_env`), else
            the local sandbox.
        resource: the name of this device (设备); `None`: one name for each process. A second login with the same user,
            app and resource (a cell that you run twice) closes the earlier session as soon as the new one is connected.

    Returns:
        The session, connected.

    Raises:
        AuthError: the service refuses the login.
        ConnectionLost: the service cannot be reached.
        InvalidMessage: an argument is malformed.

    Example:
        >>> alice = imkit.login("alice")
        >>> alice
        <Session alice at imkit#sandbox, connected>

        With an app of your own:

        ```python
        alice = imkit.login("alice", app="org#app", password="…")
        ```

    Source: docs/protocol.md#login-handshake.
    """
    user = user_id(user)
    app = await _default_app() if app is None else _checked_app(app)
    from imkit.session import open_session

    return await open_session(user, app, password=password, token=token, resource=resource)


def _checked_app(app: object) -> App:
    """Return the app that the argument `app` names."""
    from imkit.client.app import App

    if isinstance(app, str):
        return App(app)
    if not isinstance(app, App):
        hint = AN_APP
        if isinstance(inner := getattr(app, "app", None), App):  # a sandbox, a session
            hint = f"Give its app: ….app, here {inner!r}."
        raise InvalidMessage(f"a {type(app).__name__} is not an app", hint=hint)
    return app


async def _default_app() -> App:
    """Return the app of the environment, else that of the sandbox, which is started where none runs."""
    found = settings()
    if found.get("IMKIT_APP_KEY"):
        from imkit.client.app import App

        return App.of_settings(found)
    from imkit.sandbox.process import shared

    given_up = threading.Event()  # the thread must not wait longer than the user
    try:
        sandbox, _ = await asyncio.gather(
            asyncio.to_thread(shared, given_up), asyncio.to_thread(importlib.import_module, "imkit.session")
        )
    finally:
        given_up.set()
    return sandbox.app
