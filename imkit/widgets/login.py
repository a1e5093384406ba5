"""`LoginForm`: a form that logs a user in to the sandbox or to an app."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import ipywidgets
import traitlets

from imkit.client.app import App
from imkit.client.credentials import app_server_token
from imkit.errors import InvalidMessage
from imkit.log_in import login
from imkit.session import Session
from imkit.widgets.base import Form, WidgetPart, button, row, static
from imkit.widgets.labels import Labels


class Secret(WidgetPart):
    """A password field. The typed value is never part of the widget's state, which JupyterLab may save."""

    _esm = static("secret.js")
    label = traitlets.Unicode().tag(sync=True)

    def __init__(self, labels: Labels, label: str) -> None:
        super().__init__(labels, label=label)
        self._typed = ""
        self.on_msg(self._receive)

    def _receive(self, _: Any, content: Any, __: Any) -> None:
        if isinstance(content, dict) and isinstance(content.get("secret"), str):
            self._typed = content["secret"]

    def take(self) -> str:
        """Return the typed value and clear it, here and on the page."""
        typed, self._typed = self._typed, ""
        self.send({"wipe": True})
        return typed


class LoginForm(Form):
    """Log in to the local sandbox or to an Easemob app.

    The form clears a password or token as soon as it has read it; a saved notebook does not contain it.

    Args:
        user: initial user id.
        on_login: called with the session on imkit's event loop; it must not block.
        on_logout: called without arguments after the form logged out; it must not block either.
        lang: ``"en"`` or ``"zh"``; `None`: IMKIT_LANG, else the language of the page or the system.

    Example:
        ```python
        form = imkit.widgets.LoginForm()
        form  # shows it; after the login, in another cell:
        form.session.threads()
        ```
    """

    LABEL_WIDTH = "9.5em"
    FIELD_LAYOUT: ClassVar[Mapping[str, str]] = {"width": "calc(100% - 4px)", "max_width": "34em"}

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
        labels = self.labels
        places = [(labels("login_sandbox"), "sandbox"), (labels("login_app"), "app")]
        if os.environ.get("IMKIT_APP_KEY"):
            places.insert(0, (labels("login_environment"), "environment"))
        self.place = self.field(ipywidgets.Dropdown, "login_place", options=places)
        self.app_key = self.field(ipywidgets.Text, "login_app_key", placeholder="org#app")
        urls = {"placeholder": labels("login_found")}
        self.rest_url = self.field(ipywidgets.Text, "login_rest_url", **urls)
        self.ws_url = self.field(ipywidgets.Text, "login_ws_url", **urls)
        self.user = self.field(ipywidgets.Text, "login_user", value=user, placeholder="alice")
        methods = [(labels(f"login_{method}"), method) for method in ("password", "token", "app_server")]
        self.method = self.field(ipywidgets.Dropdown, "login_method", options=methods)
        self.secret = Secret(labels, labels("login_password"))
        self.app_server = self.field(
            ipywidgets.Text,
            "login_app_server",
            placeholder="https://example.com/token",
            tooltip=labels("login_server_tip"),
        )
        self.log_in_button = button(labels("login_log_in"), kind="primary", label_width=self.LABEL_WIDTH)
        self.log_out_button = button(labels("login_log_out"))
        self.on_click(self.log_in_button, self._log_in)
        self.on_click(self.log_out_button, self._log_out)
        for control in (self.app_key, self.rest_url, self.ws_url, self.user, self.app_server, self.secret):
            self.on_enter(control, self._log_in, self.log_in_button)
        for control in (self.place, self.method):
            self.on_change(control, self._on_choice)
        self._log_in_row = row(self.log_in_button)
        self._logged_in_row = row(self.status, self.log_out_button, align_items="center")
        self._show_fields()

    @property
    def session(self) -> Session | None:
        """The session; `None` before the login and after the logout."""
        return self._session

    async def _on_choice(self) -> None:
        self._show_fields()

    def _show_fields(self) -> None:
        """Show the fields that the chosen place and method need."""
        if self._session is not None:
            self.children = [self._logged_in_row]
            return
        fields = [self.place]
        if self.place.value == "app":
            fields += [self.app_key, self.rest_url, self.ws_url]
        fields.append(self.user)
        if self.place.value != "sandbox":
            self.secret.label = self.labels("login_token" if self.method.value == "token" else "login_password")
            fields += [self.method, self.app_server if self.method.value == "app_server" else self.secret]
        self.children = [*fields, self._log_in_row, self.status]

    async def _log_in(self) -> None:
        secret = self.secret.take()
        if self._session is not None:
            return
        user = self.user.value.strip()
        if not user:
            raise InvalidMessage(self.labels("login_no_user"), hint="")
        self.status.show(self.labels("login_busy"), "busy")
        session = await login.aio(user, app=self._app(), **self._credential(user, secret))
        self._session = session
        where = self.labels("login_sandbox") if session.app.is_sandbox else session.app.app_key
        self.status.show(self.labels("login_done", user=session.user, where=where), "good")
        self._show_fields()
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
        """Return the arguments of `login` that hold the password or the token."""
        if self.place.value == "sandbox":
            return {}
        if self.method.value == "app_server":
            url = self.app_server.value.strip()

            async def fetch() -> str:
                return await app_server_token(url, user)

            return {"token": fetch}
        return {self.method.value: secret}

    async def _log_out(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close.aio()
        self.status.show(self.labels("login_over"))
        self._show_fields()
        if self._on_logout is not None:
            self._on_logout()

    def hidden_controls(self) -> Sequence[Any]:
        """Return the controls that may not be on the page at the moment."""
        fields = (self.place, self.app_key, self.rest_url, self.ws_url, self.user, self.method, self.secret)
        return (*fields, self.app_server, self._log_in_row, self._logged_in_row)
