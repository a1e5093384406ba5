"""`LoginForm`: log in without a line of code."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets
import traitlets

from imkit.client.app import App
from imkit.client.credentials import app_server_token
from imkit.errors import InvalidMessage
from imkit.session import Session, login
from imkit.widgets.base import Form, Part, button, row, static
from imkit.widgets.labels import Labels

_FIELD = {"description_width": "9.5em"}


class Secret(Part):
    """A password field whose value is never a part of the widget's state."""

    _esm = static("secret.js")
    label = traitlets.Unicode().tag(sync=True)

    def __init__(self, say: Labels, label: str) -> None:
        super().__init__(say, label=label)
        self._typed = ""
        self.on_msg(self._told)

    def _told(self, _: Any, content: Any, __: Any) -> None:
        if isinstance(content, dict) and isinstance(content.get("secret"), str):
            self._typed = content["secret"]

    def take(self) -> str:
        """Return what was typed, and forget it, here and on the page."""
        typed, self._typed = self._typed, ""
        self.send({"wipe": True})
        return typed


class LoginForm(Form):
    """A form that logs in: to the local sandbox, or to an app of yours.

    Secrets are wiped as soon as they are read, and are no part of what a notebook saves.

    Args:
        user: fills the user's field.
        on_login: called with the session, on imkit's loop; it must be quick.
        on_logout: called when the form has logged out, likewise.
        lang: ``"en"`` or ``"zh"``; `None`: IMKIT_LANG, else the language of the page or the system.

    Example:
        >>> form = LoginForm()  # doctest: +SKIP
        >>> form.session.threads()  # doctest: +SKIP
    """

    def __init__(
        self,
        user: str = "",
        *,
        on_login: Callable[[Session], object] | None = None,
        on_logout: Callable[[], object] | None = None,
        lang: str | None = None,
    ) -> None:
        super().__init__(lang)
        self._session: Session | None = None
        self._on_login = on_login
        self._on_logout = on_logout
        say = self.say
        places = [(say("login_sandbox"), "sandbox"), (say("login_app"), "app")]
        if os.environ.get("IMKIT_APP_KEY"):
            places.insert(0, (say("login_environment"), "environment"))
        self.place = self._field(ipywidgets.Dropdown, "login_place", options=places)
        self.app_key = self._field(ipywidgets.Text, "login_app_key", placeholder="org#app")
        urls = {"placeholder": say("login_found")}
        self.rest_url = self._field(ipywidgets.Text, "login_rest_url", **urls)
        self.ws_url = self._field(ipywidgets.Text, "login_ws_url", **urls)
        self.user = self._field(ipywidgets.Text, "login_user", value=user, placeholder="alice")
        ways = [(say(f"login_{way}"), way) for way in ("password", "token", "app_server")]
        self.way = self._field(ipywidgets.Dropdown, "login_way", options=ways)
        self.secret = Secret(say, say("login_password"))
        self.app_server = self._field(
            ipywidgets.Text,
            "login_app_server",
            placeholder="https://example.com/token",
            tooltip=say("login_server_tip"),
        )
        self.enter = button(say("login_enter"), kind="primary", under=_FIELD["description_width"])
        self.leave = button(say("login_leave"))
        self.on_click(self.enter, self._log_in)
        self.on_click(self.leave, self._log_out)
        for control in (self.app_key, self.rest_url, self.ws_url, self.user, self.app_server, self.secret):
            self.on_enter(control, self._log_in, self.enter)
        for control in (self.place, self.way):
            self.on_change(control, self._arrange)
        self._buttons = row(self.enter)
        self._bar = row(self.status, self.leave, align_items="center")
        self._lay_out()

    def _field(self, kind: Any, label: str, **options: Any) -> Any:
        layout = ipywidgets.Layout(width="calc(100% - 4px)", max_width="34em")
        return kind(description=self.say(label), style=_FIELD, layout=layout, **options)

    @property
    def session(self) -> Session | None:
        """The session, once logged in; `None` before, and after logging out."""
        return self._session

    async def _arrange(self) -> None:
        self._lay_out()

    def _lay_out(self) -> None:
        """Show the fields that matter for what was chosen."""
        if self._session is not None:
            self.children = [self._bar]
            return
        fields = [self.place]
        if self.place.value == "app":
            fields += [self.app_key, self.rest_url, self.ws_url]
        fields.append(self.user)
        if self.place.value != "sandbox":
            self.secret.label = self.say("login_token" if self.way.value == "token" else "login_password")
            fields += [self.way, self.app_server if self.way.value == "app_server" else self.secret]
        self.children = [*fields, self._buttons, self.status]

    async def _log_in(self) -> None:
        secret = self.secret.take()
        if self._session is not None:
            return
        user = self.user.value.strip()
        if not user:
            raise InvalidMessage(self.say("login_no_user"), hint="")
        self.status.tell(self.say("login_busy"), "busy")
        session = await login.aio(user, app=self._app(), **self._credential(user, secret))
        self._session = session
        where = self.say("login_sandbox") if session.app.is_sandbox else session.app.app_key
        self.status.tell(self.say("login_done", user=session.user, where=where), "good")
        self._lay_out()
        if self._on_login is not None:
            self._on_login(session)

    def _app(self) -> App | None:
        match self.place.value:
            case "app":
                urls = {"rest_url": self.rest_url.value.strip() or None, "ws_url": self.ws_url.value.strip() or None}
                return App(self.app_key.value.strip(), **urls)
            case "environment":
                return App.from_env()
        return None

    def _credential(self, user: str, secret: str) -> dict[str, Any]:
        if self.place.value == "sandbox":
            return {}
        if self.way.value == "app_server":
            url = self.app_server.value.strip()

            async def fetch() -> str:
                return await app_server_token(url, user)

            return {"token": fetch}
        return {self.way.value: secret}

    async def _log_out(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close.aio()
        self.status.tell(self.say("login_over"))
        self._lay_out()
        if self._on_logout is not None:
            self._on_logout()

    def hidden(self) -> Sequence[Any]:
        """Return the controls that are not on the page just now."""
        fields = (self.place, self.app_key, self.rest_url, self.ws_url, self.user, self.way, self.secret)
        return (*fields, self.app_server, self._buttons, self._bar)
