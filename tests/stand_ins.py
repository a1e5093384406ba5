"""Small servers on 127.0.0.1 whose answers a test chooses, for answers that the sandbox never gives."""

import base64
import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit
from urllib.request import Request, urlopen

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

import imkit
from imkit.sandbox.process import Sandbox
from imkit.wire import schema


@dataclass
class Asked:
    """One request, as the server received it."""

    method: str
    target: str  # path and query of the request line
    headers: dict[str, str]
    body: bytes = field(repr=False)

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return {key: values[-1] for key, values in parse_qs(urlsplit(self.target).query).items()}

    @property
    def json(self) -> Any:
        return json.loads(self.body or b"{}")


@dataclass
class Answer:
    """The answer to a request; `cut` closes the connection without an answer."""

    status: int = 200
    body: Any = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False


class HttpStandIn:
    """A running HTTP server. `url` is its address, and `asked` has all requests; a port of 0 is a free one."""

    def __init__(self, answer: Callable[[Asked], Answer], port: int = 0) -> None:
        self.asked: list[Asked] = []
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                headers = {name.lower(): value for name, value in self.headers.items()}
                asked = Asked(self.command, self.path, headers, self.rfile.read(length))
                stand_in.asked.append(asked)
                said = answer(asked)
                if said.cut:
                    self.close_connection = True
                    return
                body = said.body if isinstance(said.body, bytes) else json.dumps(said.body).encode()
                self.send_response(said.status)
                for name, value in {"Content-Type": "application/json", **said.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with suppress(ConnectionError):  # the client did not wait
                    self.wfile.write(body)

            do_GET = do_POST = do_PUT = do_DELETE = handle_any

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def http_stand_in(answer: Callable[[Asked], Answer], port: int = 0) -> Iterator[HttpStandIn]:
    server = HttpStandIn(answer, port)
    try:
        yield server
    finally:
        server.close()


@contextmanager
def socket_stand_in(handler: Callable[[ServerConnection], None]) -> Iterator[str]:
    """Run a WebSocket server and yield its URL; the handler runs in a thread for each connection."""

    def guarded(socket: ServerConnection) -> None:
        try:
            handler(socket)
        except ConnectionClosed:
            pass

    with serve(guarded, "127.0.0.1", 0, compression=None) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}/websocket"
        server.shutdown()


UNREAD, SYNC, PROVISION = 1, 0, 3
COMMANDS = schema.MSync.DESCRIPTOR.fields_by_name["command"].enum_type.values_by_name


def envelope(command: str, payload: Any) -> bytes:
    frame = schema.MSync(version=0, command=COMMANDS[command].number, payload=payload.SerializeToString())
    return bytes(frame.SerializeToString())


def read_command(data: bytes) -> tuple[str, Any]:
    frame = schema.MSync.FromString(data)
    return next(name for name, value in COMMANDS.items() if value.number == frame.command), frame


def welcome(socket: ServerConnection) -> None:
    """Accept the login of any user."""
    data = socket.recv()
    assert isinstance(data, bytes)
    command, _ = read_command(data)
    assert command == "PROVISION"
    socket.send(envelope("PROVISION", schema.Provision(status=schema.Status(errorCode=0), resource="r")))


def text_meta(number: int, text: str, *, sender: str = "alice", to: str = "42", at: int = 0, ns: int = 1) -> bytes:
    """Return the downlink Meta of a text message, as bytes."""
    jid = {"appKey": "org#app", "domain": "conference.easemob.com"}
    body = schema.MessageBody(
        type=2,
        **{"from": schema.JID(name=sender)},
        to=schema.JID(name=to),
        contents=[schema.Content(type=0, text=text)],
    )
    meta = schema.Meta(
        id=number,
        **{"from": schema.JID(name=sender)},
        to=schema.JID(name=to, **jid),
        timestamp=at or number,
        ns=ns,
        payload=body.SerializeToString(),
    )
    return bytes(meta.SerializeToString())


def roamed(*metas: bytes | str) -> list[dict[str, str]]:
    """Return Metas as the entries of a page of roaming history; a text goes in unchanged."""
    return [{"msg": meta if isinstance(meta, str) else base64.b64encode(meta).decode()} for meta in metas]


def register(sandbox: Sandbox, user: str, password: str) -> None:
    """Register a user at a sandbox with open registration."""
    connection = http.client.HTTPConnection(sandbox.rest_url.removeprefix("http://"), timeout=5)
    path = f"/{sandbox.app_key.replace('#', '/')}/users"
    body = json.dumps({"username": user, "password": password, "nickname": ""})
    connection.request("POST", path, body, {"Content-Type": "application/json"})
    assert connection.getresponse().status == 200
    connection.close()


def token_of(sandbox: Sandbox, user: str) -> str:
    """Return a token for a user, from the sandbox's app server."""
    headers = {"Authorization": f"Bearer {sandbox.secret}", "Content-Type": "application/json"}
    asked = Request(f"{sandbox.rest_url}/imkit/app-server/token", json.dumps({"user": user}).encode(), headers)
    with urlopen(asked, timeout=5) as told:
        token: str = json.load(told)["token"]
    return token


@contextmanager
def odd_session(answer: Callable[[Asked], Answer]) -> Iterator[tuple[imkit.Session, HttpStandIn]]:
    """Log in at a service whose REST answers a test chooses; yield the session and the server."""

    def idle(socket: ServerConnection) -> None:
        welcome(socket)
        for data in socket:
            if read_command(bytes(data))[0] == "UNREAD":
                told = schema.CommUnreadDL(status=schema.Status(errorCode=0), timestamp=time.time_ns() // 1_000_000)
                socket.send(envelope("UNREAD", told))

    with http_stand_in(answer) as server, socket_stand_in(idle) as ws_url:
        app = imkit.App("org#app", rest_url=server.url, ws_url=ws_url, max_requests_per_second=None)
        with imkit.login("alice", app=app, token="t0ken") as session:
            yield session, server
