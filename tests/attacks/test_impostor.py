"""A sandbox crashed, and another program of this machine listens on its port: it learns no secret and no token."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

import imkit
from imkit.portal import portal
from imkit.sandbox import process
from imkit.sandbox.endpoints import version
from imkit.sandbox.process import Sandbox, shared
from imkit.sandbox.proof import NONCE_HEADER, PROOF_HEADER, client_proof, new_nonce
from imkit.sandbox.proven_calls import ProvenCalls
from imkit.sandbox.state import State, read_state, write_state
from tests.attacks.test_strangers_settings import be_of_another_user
from tests.people import new_name
from tests.stand_ins import Answer, Asked, HttpStandIn, http_stand_in
from tests.waits import WAIT, eventually

posix = pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL and SIGSTOP are POSIX's")


def port_of(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None
    return port


def ask(
    server: Sandbox | State, method: str, path: str, headers: dict[str, str], content: bytes = b""
) -> httpx.Response:
    url = f"{server.rest_url}{path}"
    return httpx.request(method, url, headers=headers, content=content, timeout=WAIT, trust_env=False)


def kill(state: State) -> None:
    """Kill a shared server, and wait until its port is free."""
    os.kill(state.pid, signal.SIGKILL)
    with contextlib.suppress(httpx.TransportError):
        while True:
            ask(state, "GET", "/imkit/health", {})


@contextlib.contextmanager
def impostor(rest_url: str) -> Iterator[HttpStandIn]:
    """Listen at a server's address, and claim to be it: with the answer of an open health request, and with tokens."""
    claims = {"version": version(), "app_key": "imkit#sandbox", "connections": 0, "token": "t0ken" * 9}
    signed = {NONCE_HEADER: new_nonce(), PROOF_HEADER: "0" * 64}

    def answer(_asked: Asked) -> Answer:
        return Answer(body=claims, headers=signed)

    with http_stand_in(answer, port_of(rest_url)) as server:
        yield server


def everything(server: HttpStandIn) -> str:
    return "\n".join(f"{asked!r} {asked.body!r}" for asked in server.asked)


@posix
def test_a_login_after_a_crash_tells_the_impostor_nothing(imkit_home: Path) -> None:
    shared()
    state = read_state(imkit_home / "sandbox.json")
    assert state is not None
    kill(state)
    write_state(imkit_home / "sandbox.json", replace(state, in_terminal=True))  # it must prove itself all the same
    with impostor(state.rest_url) as server, imkit.login("alice") as alice:
        assert alice.app.rest_url != server.url
        assert server.asked, "the state file names the impostor's address, so it was asked who it is"
        assert state.secret not in everything(server)
        assert {(asked.method, asked.target) for asked in server.asked} == {("GET", "/imkit/health")}


@posix
def test_a_sandbox_that_another_user_registers_is_not_used(
    imkit_home: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """IMKIT_HOME names a folder that others may write to, and the stranger's sandbox knows its own secret."""
    imkit_home.mkdir(parents=True, exist_ok=True)
    path = imkit_home / "sandbox.json"
    write_state(path, State(sandbox.app_key, sandbox.rest_url, sandbox.ws_url, version(), 2**30, sandbox.secret))
    assert shared().rest_url == sandbox.rest_url
    be_of_another_user(path, monkeypatch)
    assert read_state(path) is None
    path.unlink()


def test_a_running_session_gives_its_token_to_no_impostor() -> None:
    with Sandbox() as sandbox, imkit.login(new_name(), app=sandbox.app) as session:
        token = portal().call(session.account.credentials.token())
        sandbox.kill()
        assert eventually(lambda: not session.connected)
        with impostor(sandbox.rest_url) as server:
            with pytest.raises(imkit.ConnectionLost, match="this is not the sandbox"):
                list(session.groups())
            assert eventually(lambda: len(server.asked) > 2)  # also the attempts to connect
            told = everything(server)
        assert token not in told
        assert sandbox.secret not in told
        assert {asked.path for asked in server.asked} == {"/imkit/health"}


def test_an_impostor_that_is_silent_holds_up_nobody_else() -> None:
    with Sandbox() as sandbox, imkit.login(new_name(), app=sandbox.app) as session:
        sandbox.kill()
        assert eventually(lambda: not session.connected)
        asked: list[socket.socket] = []
        with socket.create_server(("127.0.0.1", port_of(sandbox.rest_url))) as listening:

            def take() -> None:
                with contextlib.suppress(OSError):  # the end of the test
                    while True:
                        asked.append(listening.accept()[0])

            threading.Thread(target=take, daemon=True).start()

            async def others_work() -> None:
                requests = [asyncio.create_task(session.account.rest.get("thread", str(each))) for each in range(24)]
                while not asked:  # noqa: ASYNC110  # the impostor tells nobody
                    await asyncio.sleep(0.01)
                async with asyncio.timeout(WAIT):
                    await asyncio.to_thread(int)  # such as a search for a host's address, for another session
                for request in requests:
                    request.cancel()
                await asyncio.wait(requests)

            portal().call(others_work())
            assert len(asked) == 1  # all wait for the same proof
            listening.shutdown(socket.SHUT_RDWR)
            for connection in asked:
                connection.close()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 50,
        b"\xff\x00",
        b"",
    ],
)
def test_an_impostor_that_speaks_no_http_raises_our_errors(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def say() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        saying = threading.Thread(target=say, daemon=True)
        saying.start()
        with pytest.raises(imkit.ConnectionLost):
            ProvenCalls(f"http://127.0.0.1:{listening.getsockname()[1]}", "secret").prove()
        saying.join(WAIT)


def test_the_session_goes_on_when_the_sandbox_is_back(tmp_path: Path) -> None:
    with Sandbox(tmp_path / "x.db") as sandbox, imkit.login(new_name(), app=sandbox.app) as session:
        group = session.create_group("tea")
        sandbox.kill()
        assert eventually(lambda: not session.connected)
        with impostor(sandbox.rest_url) as server:
            assert eventually(lambda: len(server.asked) > 0)
        sandbox.start()
        assert group.send("still here").id


def test_an_open_answer_holds_no_secret_and_no_identity(sandbox: Sandbox) -> None:
    answer = ask(sandbox, "GET", "/imkit/health", {})
    assert set(answer.json()) == {"version", "app_key", "connections"}
    for nonce in ("", "1", "x" * 32, "0" * 33):
        answer = ask(sandbox, "GET", "/imkit/health", {NONCE_HEADER: nonce})
        assert PROOF_HEADER not in answer.headers
    answer = ask(sandbox, "GET", "/imkit/health", {NONCE_HEADER: new_nonce()})
    assert sandbox.secret not in f"{answer.headers} {answer.text}"


def test_a_proof_is_good_once_and_for_one_request(sandbox: Sandbox) -> None:
    path, content = "/imkit/app-server/token", b'{"user": "alice"}'

    def proven(content: bytes = content, method: str = "POST", path: str = path, **other: Any) -> dict[str, str]:
        nonce = new_nonce()
        server_nonce = ask(sandbox, "GET", "/imkit/health", {NONCE_HEADER: nonce}).headers[NONCE_HEADER]
        secret = other.get("secret", sandbox.secret)
        proof = client_proof(secret, other.get("nonce", nonce), server_nonce, method, path, content)
        return {NONCE_HEADER: server_nonce, PROOF_HEADER: proof, "content-type": "application/json"}

    headers = proven()
    assert ask(sandbox, "POST", path, headers, content).status_code == 200
    assert ask(sandbox, "POST", path, headers, content).status_code == 403
    for wrong in (
        proven(b'{"user": "bob"}'),
        proven(path="/imkit/retire"),
        proven(method="GET"),
        proven(secret="guess"),
        proven(nonce=new_nonce()),
        {**proven(), NONCE_HEADER: new_nonce()},
        {**proven(), PROOF_HEADER: "é"},
        {NONCE_HEADER: "", PROOF_HEADER: ""},
        {},
    ):
        given = {"content-type": b"application/json"} | {name: value.encode() for name, value in wrong.items()}
        answer = httpx.post(f"{sandbox.rest_url}{path}", headers=given, content=content, trust_env=False)
        assert answer.status_code == 403


def test_a_server_that_never_ends_its_answer_is_left() -> None:
    """Each byte comes in time, so the socket's own timeout never strikes."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def drip() -> None:
            connection, _ = listening.accept()
            with connection, contextlib.suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n")
                while not over.wait(0.05):
                    connection.sendall(b" ")

        dripping = threading.Thread(target=drip, daemon=True)
        dripping.start()
        with pytest.raises(imkit.TimedOut):
            ProvenCalls(f"http://127.0.0.1:{listening.getsockname()[1]}", "secret", seconds=0.3).prove()
        over.set()
        dripping.join(WAIT)


CHANGES: dict[str, tuple[Callable[[bytes], bytes], type[imkit.IMError]]] = {
    # http.client itself takes a cut answer for a whole one.
    "cut in the first line of its head": (lambda answer: answer[:30], imkit.ConnectionLost),
    "cut in its head": (lambda answer: answer[:60], imkit.ConnectionLost),
    "cut in its body": (lambda answer: answer[:-3], imkit.ConnectionLost),
    "another field": (lambda answer: answer.replace(b'"token"', b'"toke."'), imkit.ProtocolError),
    "no JSON": (lambda answer: answer.replace(b"{", b"["), imkit.ProtocolError),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_answer_is_no_wrong_password_and_no_other_program(sandbox: Sandbox, change: str) -> None:
    """The answer to the request for a token."""
    changed, error = CHANGES[change]
    parts = urlsplit(sandbox.rest_url)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def relay() -> None:
            client, _ = listening.accept()
            with client, socket.create_connection((parts.hostname or "", parts.port or 0)) as server:
                for end, passed in ((b"\r\n\r\n", bytes), (b"}", changed)):
                    request = answer = b""
                    while not request.endswith(end):
                        request += client.recv(65536)
                    server.sendall(request)
                    while not answer.endswith(b"}"):
                        answer += server.recv(65536)
                    client.sendall(passed(answer))

        relaying = threading.Thread(target=relay, daemon=True)
        relaying.start()
        with pytest.raises(error):
            ProvenCalls(f"http://127.0.0.1:{listening.getsockname()[1]}", sandbox.secret).token(new_name())
        relaying.join(WAIT)


@posix
def test_a_slow_sandbox_is_not_a_dead_one(imkit_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = shared()
    state = read_state(imkit_home / "sandbox.json")
    assert state is not None
    monkeypatch.setattr(process, "_HEALTH_SECONDS", 0.1)
    monkeypatch.setattr(process, "START_SECONDS", 0.3)
    os.kill(state.pid, signal.SIGSTOP)
    try:
        with pytest.raises(imkit.IMError, match=f"runs, but does not answer.*process {state.pid}"):
            shared()
    finally:
        os.kill(state.pid, signal.SIGCONT)
    monkeypatch.undo()
    monkeypatch.setenv("IMKIT_HOME", str(imkit_home))
    assert shared() == first
