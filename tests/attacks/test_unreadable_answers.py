"""A session reconnects through a portal, a restarting proxy or a broken service: what it cannot read ends nothing.

Only a refusal that the service itself gives ends a session.
"""

import contextlib
import itertools
import socket
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from websockets.sync.server import ServerConnection

import imkit
from imkit.wire import schema
from tests.people import new_name
from tests.stand_ins import Answer, Asked, envelope, http_stand_in, socket_stand_in, welcome
from tests.timing import set_timing
from tests.waits import WAIT

OK = schema.Status(errorCode=0)
LOGIN_ANSWERS = {
    "garbage": envelope("PROVISION", schema.Provision(status=OK))[:3] + b"\xff\xff\xff\xff",
    "cut in two": envelope("PROVISION", schema.Provision(status=OK, reason="x" * 50))[:-20],
    "no status": envelope("PROVISION", schema.Provision()),
    "a compression": envelope("PROVISION", schema.Provision(status=OK, protocolCompressType=[2])),
    "text": "<html>Bad gateway</html>",
    "an unknown status": envelope("PROVISION", schema.Provision(status=schema.Status(errorCode=9))),
    "only the end of the connection": None,
}
PAGE = b"Content-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>"
UPGRADE_ANSWERS = {
    "nothing": b"",
    "garbage": b"\xff\x00" * 50,
    "a page of a proxy": b"HTTP/1.1 502 Bad Gateway\r\n" + PAGE,
    "a refusal of a proxy": b"HTTP/1.1 403 Forbidden\r\n" + PAGE,
    "a page of a portal": b"HTTP/1.1 200 OK\r\n" + PAGE,
    "the way to a portal": b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n",
    "the way to nowhere": b"HTTP/1.1 302 Found\r\nLocation: ws://[::1\r\nContent-Length: 0\r\n\r\n",
    "the way to no port": b"HTTP/1.1 302 Found\r\nLocation: ws://h:x/\r\nContent-Length: 0\r\n\r\n",
    "a cut head": b"HTTP/1.1 101 Switching Proto",
    "a wrong key": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    "a long head": b"HTTP/1.1 101 Switching Protocols\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
    "no number": b"HTTP/1.1 ten OK\r\n\r\n",
    "no ASCII": "HTTP/1.1 200 茶\r\nX: 茶\r\nContent-Length: 茶\r\n\r\n".encode(),
}


class Service:
    """A socket that logs everybody in, behind a port that answers some connections otherwise.

    Args:
        ws_url: where connections without an order go.
    """

    def __init__(self, ws_url: str) -> None:
        self._target = urlsplit(ws_url)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.ws_url = f"ws://127.0.0.1:{self._listener.getsockname()[1]}/websocket"
        self.orders: list[bytes] = []
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # the end of the test
            while True:
                client, _ = self._listener.accept()
                self._open.append(client)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            if self.orders:
                client.recv(65536)
                client.sendall(self.orders.pop(0))
                return
            assert self._target.port is not None
            with socket.create_connection(("127.0.0.1", self._target.port)) as server:
                threading.Thread(target=_pump, args=(server, client), daemon=True).start()
                _pump(client, server)

    def cut(self) -> None:
        """Cut all connections."""
        while self._open:
            with contextlib.suppress(OSError):
                self._open.pop().shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()
        self.cut()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_RDWR)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    set_timing(monkeypatch, open=2.0, delays=lambda: itertools.repeat(0.02))


@contextlib.contextmanager
def session_at(logins: list[Any], token: Any = "t0ken") -> Iterator[tuple[imkit.Session, Service]]:
    """Log in at a service that answers the logins after the first one as told, and the others well."""
    begun: list[bool] = []

    def serve(connection: ServerConnection) -> None:
        if logins and begun:
            connection.recv()
            answer = logins.pop(0)
            if answer is not None:
                connection.send(answer)
            return
        begun.append(True)
        welcome(connection)
        for _ in connection:
            pass

    with socket_stand_in(serve) as ws_url:
        service = Service(ws_url)
        app = imkit.App("org#app", rest_url="http://127.0.0.1:9", ws_url=service.ws_url)
        try:
            with imkit.login(new_name("alice"), app=app, token=token) as alice:
                yield alice, service
        finally:
            service.close()


def test_an_unreadable_answer_to_a_new_login_is_tried_again() -> None:
    """One session goes through all of them."""
    answers: list[Any] = []
    with session_at(answers) as (alice, service):
        back = alice.events(imkit.Connected, imkit.LoggedOut, replay=False)
        for how, answer in LOGIN_ANSWERS.items():
            answers += [answer] * 2
            service.cut()
            assert back.next(timeout=WAIT) == imkit.Connected(), how
            assert answers == [], how
            assert alice.connected, how


def test_an_unreadable_answer_to_the_upgrade_is_tried_again() -> None:
    """One session goes through all of them."""
    with session_at([]) as (alice, service):
        back = alice.events(imkit.Connected, imkit.LoggedOut, replay=False)
        for how, answer in UPGRADE_ANSWERS.items():
            service.orders += [answer] * 2
            service.cut()
            assert back.next(timeout=WAIT) == imkit.Connected(), how
            assert service.orders == [], how


def test_an_unreadable_answer_to_a_password_is_tried_again() -> None:
    unreadable: list[tuple[int, Any]]
    unreadable = [(200, b"<html>Log in to the hotel</html>"), (404, b"<html>"), (500, b"x"), (200, b"[]")]
    unreadable += [(403, {"message": "blocked"}), (404, {"detail": "no route"}), (401, {}), (400, {}), (511, {})]
    unreadable *= 2
    expired = envelope("PROVISION", schema.Provision(status=schema.Status(errorCode=6, reason="expired")))
    answers = [expired]
    asked: list[int] = []

    def rest(_: Asked) -> Answer:
        asked.append(1)
        return Answer(*unreadable.pop()) if len(asked) > 1 and unreadable else Answer(200, {"access_token": "t0ken"})

    def serve(connection: ServerConnection) -> None:
        if not unreadable or not served:
            served.append(True)
            welcome(connection)
            over.wait(WAIT)
        else:
            connection.recv()
            connection.send(answers.pop())

    served: list[bool] = []
    over = threading.Event()
    with http_stand_in(rest) as server, socket_stand_in(serve) as ws_url:
        service = Service(ws_url)
        app = imkit.App("org#app", rest_url=server.url, ws_url=service.ws_url)
        with imkit.login(new_name("alice"), app=app, password="pa55") as alice:
            back = alice.events(imkit.Connected, imkit.LoggedOut, replay=False)
            service.cut()
            assert back.next(timeout=WAIT) == imkit.Connected()
            assert unreadable == []
            over.set()
        service.close()


@pytest.mark.parametrize("reason", ["Sorry, token or password does not match login info", "Sorry, user not found"])
def test_a_refusal_of_the_service_ends_the_session(reason: str) -> None:
    status = schema.Status(errorCode=1, reason=reason)
    with session_at([envelope("PROVISION", schema.Provision(status=status))]) as (alice, service):
        service.cut()
        assert alice.events(imkit.LoggedOut).next(timeout=WAIT) == imkit.LoggedOut(reason)


def test_a_token_function_that_fails_for_a_while_does_not_end_the_session() -> None:
    calls: list[int] = []

    def fetch() -> str:
        calls.append(1)
        if len(calls) in (2, 3):
            raise OSError("the app server is down")
        return f"t0ken{len(calls)}"

    expired = envelope("PROVISION", schema.Provision(status=schema.Status(errorCode=6, reason="expired")))
    with session_at([expired], token=fetch) as (alice, service):
        back = alice.events(imkit.Connected, imkit.LoggedOut, replay=False)
        service.cut()
        assert back.next(timeout=WAIT) == imkit.Connected()
        assert len(calls) == 4


def test_a_new_token_that_expires_during_an_outage_is_replaced_too() -> None:
    calls: list[int] = []

    def fetch() -> str:
        calls.append(1)
        return f"t0ken{len(calls)}"

    expired = envelope("PROVISION", schema.Provision(status=schema.Status(errorCode=6, reason="expired")))
    with session_at([expired, None, None, expired], token=fetch) as (alice, service):
        back = alice.events(imkit.Connected, imkit.LoggedOut, replay=False)
        service.cut()
        assert back.next(timeout=WAIT) == imkit.Connected()
        assert len(calls) == 3
