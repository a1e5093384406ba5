"""Tokens, passwords and share-secrets appear in no repr, no log and no traceback."""

import http.client
import json
import logging
import traceback
from pathlib import Path

import pytest

import imkit
from imkit.portal import portal
from imkit.sandbox.process import Sandbox
from imkit.times import from_milliseconds
from tests.stand_ins import Answer, Asked, odd_session, register


def walk(thing: object) -> str:
    """The reprs that a user can see: of an object, and of its public attributes."""
    shown = [repr(thing), str(thing)]
    shown += [repr(getattr(thing, name, None)) for name in dir(thing) if not name.startswith("_")]
    if hasattr(thing, "_repr_html_"):
        shown.append(thing._repr_html_())
    return "\n".join(shown)


def test_tokens_and_passwords_are_not_shown(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("imkit", "websockets", "httpx", "httpcore", "asyncio"):
        caplog.set_level(logging.DEBUG, logger=name)
    issued: list[str] = []

    def from_app_server() -> str:
        connection = http.client.HTTPConnection(sandbox.rest_url.removeprefix("http://"), timeout=5)
        headers = {"Authorization": f"Bearer {sandbox.secret}"}
        connection.request("POST", "/imkit/app-server/token", json.dumps({"user": "secretive"}), headers)
        issued.append(json.load(connection.getresponse())["token"])
        connection.close()
        return issued[-1]

    register(sandbox, "with-password", "hunter2-hunter2")
    plain = imkit.App(sandbox.app_key, rest_url=sandbox.rest_url, ws_url=sandbox.ws_url)
    almost = "hunter2-hunter3"
    shown: list[str] = []
    with (
        imkit.login("secretive", app=plain, token=from_app_server) as one,
        imkit.login("secretive-too", app=sandbox.app) as two,
        imkit.login("with-password", app=plain, password="hunter2-hunter2") as three,
    ):
        group = one.create_group("quiet", members=["secretive-too"])
        thread = group.create_thread("quieter", group.send("psst"))
        account = one.account
        things = (one, two, three, group, thread, one.app, two.app, one.events(), group.members(), account)
        parts = (account.rest, account.credentials, account.connection, account.protocol, account.identity)
        shown += [walk(thing) for thing in (*things, *parts)]
        shown += [repr(account.protocol._socket), repr(account.rest.credential), repr(vars(account)), repr(sandbox)]
        with pytest.raises(imkit.IMError) as caught:
            two.thread("123").refresh()
        shown.append("".join(traceback.format_exception(caught.value)))
        issued.append(portal().call(two.account.credentials.token()))
        issued.append(portal().call(three.account.credentials.token()))
    with pytest.raises(imkit.AuthError) as refused:
        imkit.login("secretive", app=plain, token=issued[0] + "x")
    shown.append("".join(traceback.format_exception(refused.value)))
    with pytest.raises(imkit.AuthError) as refused:
        imkit.login("with-password", app=plain, password=almost)
    shown.append("".join(traceback.format_exception(refused.value)))
    shown += [caplog.text, *capfd.readouterr()]
    everything = "\n".join(shown)
    assert "HTTP Request: POST" in everything  # the logs were really captured
    secrets = [*issued, "hunter2-hunter", sandbox.secret]
    looks = [form for secret in secrets for form in forms(secret)]
    assert [line for line in everything.splitlines() if any(look in line for look in looks)] == []


def forms(secret: str) -> list[str]:
    """The forms of a secret in a log: as text, and its first and last bytes as hex, as websockets logs frames."""
    hexed = [f"{byte:02x}" for byte in secret.encode()]
    return [secret, secret[:12], " ".join(hexed[:8]), " ".join(hexed[-8:]), " ".join(hexed[-5:])]


def test_a_refusal_that_repeats_the_request_tells_no_secret(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="imkit")

    def repeat(asked: Asked) -> Answer:
        request = f"{asked.method} {asked.target} {asked.headers}"
        return Answer(400, {"error": request, "error_description": request})

    with odd_session(repeat) as (session, _):
        session.account.wire_log.is_on = True
        url = f"{session.account.rest.base_url}/chatfiles/7"
        message = imkit.Message("7", "bob", "42", from_milliseconds(0), imkit.Image(url=url, secret="s3cret"))
        for call in (
            lambda: session.thread("42").refresh(),
            lambda: session.download(message, tmp_path),
            lambda: session.thread("42").send(imkit.File(b"tea", file_name="tea.txt")),
        ):
            with pytest.raises(imkit.IMError) as caught:
                call()
            assert "Bearer •••" in caught.value.reason
            shown = walk(caught.value) + session.account.wire_log.to_dataframe(100).to_csv() + caplog.text
            assert [secret for secret in ("t0ken", "s3cret") if secret in shown] == []


def test_a_user_can_still_switch_on_the_log_of_the_socket() -> None:
    assert logging.getLogger("imkit.client.connection.socket").level == logging.INFO


def test_share_secrets_are_not_shown(sandbox: Sandbox, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    for name in ("imkit", "httpx", "httpcore"):
        caplog.set_level(logging.DEBUG, logger=name)
    with imkit.login("sharing", app=sandbox.app) as session:
        group = session.create_group("files")
        sent = group.send(imkit.File(b"hello", file_name="hello.txt"))
        bundle = group.send(imkit.Combine("two", [group.send("one"), group.send("two")]))
        assert session.download(sent, tmp_path).read_bytes() == b"hello"
        assert len(session.unpack(bundle)) == 2
        session.wire()
        group.send(imkit.File(b"again", file_name="again.txt"))
        shown = caplog.text + repr(sent) + repr(sent.body) + repr(bundle.body) + "".join(session.wire().decoded)
        shown += group.history().to_csv()
    for message in (sent, bundle):
        assert isinstance(message.body, imkit.File | imkit.Combine)
        assert message.body.secret
        assert message.body.secret not in shown
    assert "share-secret=•••" in caplog.text
