"""`LoginForm`: each login method, errors, and that no secret stays in the widgets."""

import json
from typing import Any

from ipywidgets.widgets import widget

import imkit
from imkit.sandbox.process import Sandbox
from imkit.widgets import LoginForm
from tests.stand_ins import Answer, Asked, http_stand_in, register, token_of
from tests.widgets.conftest import until

SECRET = "correct horse battery"


def filled(sandbox: Sandbox, user: str, way: str = "password") -> LoginForm:
    form = LoginForm(user, lang="en")
    form.place.value = "app"
    form.app_key.value, form.rest_url.value, form.ws_url.value = sandbox.app_key, sandbox.rest_url, sandbox.ws_url
    form.method.value = way
    return form


def everything_in(form: Any) -> str:
    states = [one.get_state() for one in list(widget._instances.values())]
    return json.dumps([states, vars(form).get("_typed", "")], default=repr)


def test_a_password_logs_in_and_is_cleared(sandbox: Sandbox) -> None:
    register(sandbox, "login-alice", SECRET)
    form = filled(sandbox, "login-alice")
    form.secret._handle_custom_msg({"secret": SECRET}, [])
    assert SECRET not in everything_in(form)
    form.log_in_button.click()
    session = until(lambda: form.session)
    assert session.user == "login-alice"
    assert form.secret.take() == ""
    assert SECRET not in everything_in(form)
    assert "login-alice is logged in" in form.status.text
    form.log_out_button.click()
    until(lambda: not session.connected and form.session is None)
    form.close()


def test_a_refused_login_is_shown_and_can_be_retried(sandbox: Sandbox) -> None:
    register(sandbox, "login-bob", SECRET)
    form = filled(sandbox, "login-bob")
    form.secret._handle_custom_msg({"secret": "wrong"}, [])
    form.secret._handle_custom_msg({"event": "submit"}, [])
    until(lambda: form.status.tone == "bad" and not form.log_in_button.disabled)
    assert form.status.text.startswith("AuthError")
    assert form.status.hint
    form.secret._handle_custom_msg({"secret": SECRET}, [])
    form.log_in_button.click()
    until(lambda: form.session).close()
    form.close()


def test_a_token_from_an_app_server_logs_in(sandbox: Sandbox) -> None:
    def answer(asked: Asked) -> Answer:
        if asked.query.get("key") != "k":
            return Answer(403, b"<b>no</b>")
        return Answer(200, {"token": token_of(sandbox, asked.query["user"])})

    with http_stand_in(answer) as server:
        form = filled(sandbox, "login-carol", "app_server")
        form.app_server.value = f"{server.url}/token?key=wrong"
        form.log_in_button.click()
        until(lambda: form.status.tone == "bad" and not form.log_in_button.disabled)
        assert "key=wrong" not in form.status.text
        form.app_server.value = f"{server.url}/token?key=k"
        form.log_in_button.click()
        session = until(lambda: form.session)
        assert session.user == "login-carol"
        session.close()
        form.close()


def test_an_empty_user_is_refused(sandbox: Sandbox) -> None:
    form = filled(sandbox, " ")
    form.log_in_button.click()
    until(lambda: form.status.tone == "bad")
    assert form.session is None
    form.close()


def test_the_sandbox_needs_no_secret() -> None:
    form = LoginForm("login-dora", lang="zh")
    assert form.secret not in form.children
    form.log_in_button.click()
    session = until(lambda: form.session, 40)
    assert isinstance(session, imkit.Session)
    assert "已登录" in form.status.text
    session.close()
    form.close()
