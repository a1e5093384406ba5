"""A minimal client for the sandbox's tests. They must not use imkit's client, which is tested against the sandbox."""

import contextlib
import itertools
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any, Protocol

import httpx
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from imkit.wire import schema
from imkit.wire.envelope import GROUP_DOMAIN, USER_DOMAIN
from tests.people import new_name

WAIT = 10.0
NO_TLS = ssl.create_default_context()  # made once: httpx would read the certificates for each client
SYNC, UNREAD, NOTICE, PROVISION, LOGOUT = range(5)

THREAD_MARK = '{"thread":{}}'
_numbers = itertools.count(1)
_opened: list[Any] = []


def close_everything() -> None:
    """Close the sockets and HTTP clients that a test has opened."""
    while _opened:
        _opened.pop().close()


class Server(Protocol):
    @property
    def app_key(self) -> str: ...
    @property
    def rest_url(self) -> str: ...
    @property
    def ws_url(self) -> str: ...
    @property
    def secret(self) -> str: ...


class Api:
    """Makes REST calls as one user, or as the app."""

    def __init__(self, server: Server, token: str | None = None, user: str = "") -> None:
        self.server = server
        self.user = user
        self.token = token
        self.base = f"{server.rest_url}/{server.app_key.replace('#', '/')}"
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.http = httpx.Client(timeout=WAIT, headers=headers, trust_env=False, verify=NO_TLS)
        _opened.append(self.http)

    def call(self, method: str, path: str, **how: Any) -> httpx.Response:
        return self.http.request(method, self.base + path, **how)

    def ok(self, method: str, path: str, **how: Any) -> Any:
        reply = self.call(method, path, **how)
        assert reply.status_code == 200, (reply.status_code, reply.text)
        return reply.json()

    def refused(self, method: str, path: str, status: int, code: int | None = None, **how: Any) -> Any:
        reply = self.call(method, path, **how)
        body = reply.json()
        assert (reply.status_code, body.get("error_code")) == (status, code), (reply.status_code, body)
        assert {"error", "error_description", "exception", "timestamp", "duration"} <= body.keys()
        return body

    # -------------------------------------------------------- calls that many tests make

    def group(self, *members: str, **more: Any) -> str:
        body = {"owner": self.user, "groupname": "tea", "members": list(members), **more}
        group = self.ok("POST", "/chatgroups", json=body)["data"]["groupid"]
        assert isinstance(group, str)
        return group

    def thread(self, group: str, parent: int, name: str = "Oolong") -> str:
        body = {"name": name, "msg_id": str(parent), "group_id": group, "owner": self.user}
        thread = self.ok("POST", "/thread", json=body)["data"]["thread_id"]
        assert isinstance(thread, str)
        return thread

    def join(self, thread: str) -> Any:
        return self.ok("POST", f"/thread/{thread}/user/{self.user}/join")

    def page(self, conversation: str, **filters: Any) -> Any:
        body = {"queue": f"{conversation}@{GROUP_DOMAIN}", "start": -1, "end": -1, **filters}
        return self.ok("POST", f"/users/{self.user}/messageroaming", json=body)["data"]


def token_of(server: Server, user: str) -> str:
    """Return a token from the sandbox's app server, which also creates the user."""
    reply = httpx.post(
        f"{server.rest_url}/imkit/app-server/token",
        json={"user": user},
        headers={"Authorization": f"Bearer {server.secret}"},
        timeout=WAIT,
        trust_env=False,
        verify=NO_TLS,
    )
    assert reply.status_code == 200, reply.text
    token = reply.json()["token"]
    assert isinstance(token, str)
    return token


def app_api(server: Server) -> Api:
    """Return an `Api` that calls as the app."""
    body = {"grant_type": "client_credentials", "client_id": "any", "client_secret": server.secret}
    return Api(server, Api(server).ok("POST", "/token", json=body)["access_token"])


def frame(command: int, payload: Any = None, **more: Any) -> bytes:
    if payload is not None:
        more["payload"] = payload.SerializeToString()
    encoded: bytes = schema.MSync(version=0, command=command, **more).SerializeToString()
    return encoded


def provision(app_key: str, user: str, token: str, resource: str = "phone") -> bytes:
    guid = schema.JID(appKey=app_key, name=user, domain=USER_DOMAIN, clientResource=resource)
    return frame(
        PROVISION, schema.Provision(resource=resource, sessionId="1795390332417:"), guid=guid, auth=f"$t${token}"
    )


def text_body(text: str, **more: Any) -> Any:
    return schema.MessageBody(type=2, contents=[schema.Content(type=0, text=text)], meta=THREAD_MARK, **more)


class Device:
    """One login. It sends, and handles notices, pages and keys as the SDK does.

    Source: docs/protocol.md#queues-and-synchronisation.
    """

    def __init__(
        self, server: Server, user: str, resource: str = "phone", *, unread: bool = True, acknowledge: bool = True
    ) -> None:
        self.server = server
        self.user = user
        self.resource = resource
        self.token = token_of(server, user)
        self.api = Api(server, self.token, user)
        self.acknowledge = acknowledge
        self.metas: list[Any] = []
        self.notices: list[str] = []
        self.pages: list[Any] = []
        self.replies: dict[int, Any] = {}
        self.draining: set[str] = set()  # queues that are fetched and not empty yet; a second fetch would repeat items
        self.socket = open_socket(server)
        self.socket.send(provision(server.app_key, user, self.token, resource))
        self.provision = schema.Provision.FromString(self.next(PROVISION).payload)
        assert self.provision.status.errorCode == 0, self.provision
        self.unread = self.ask_unread() if unread else None

    # -------------------------------------------------------- frames

    def next(self, command: int, wait: float = WAIT) -> Any:
        """Return the next frame with this command; handle the frames before it."""
        end = time.monotonic() + wait
        while True:
            message = schema.MSync.FromString(self.socket.recv(timeout=max(0, end - time.monotonic())))
            if message.command == command:
                return message
            self._take(message)

    def _take(self, message: Any) -> None:
        if message.command == NOTICE:
            queue = schema.CommNotice.FromString(message.payload).queue
            self.notices.append(queue.name)
            self.drain(queue)
        elif message.command == SYNC:
            self._take_sync(schema.CommSyncDL.FromString(message.payload))

    def _take_sync(self, sync: Any) -> None:
        if sync.HasField("metaId"):
            self.replies[sync.metaId] = sync
            return
        assert sync.HasField("queue"), "the SDK throws without one"
        assert sync.HasField("status"), "the SDK loses the messages without one"
        assert not (sync.isLast and sync.metas), "the SDK would loop for ever"
        self.pages.append(sync)
        self.metas += sync.metas
        if sync.isLast:
            self.draining.discard(sync.queue.name)
        kicked = any(meta.ns == 0 for meta in sync.metas)  # the socket is about to close
        if sync.metas and self.acknowledge and not kicked:
            self.fetch(sync.queue, sync.nextKey)

    def fetch(self, queue: Any, key: int | None = None) -> None:
        self.socket.send(frame(SYNC, schema.CommSyncUL(queue=queue, key=key)))

    def ask_unread(self) -> Any:
        self.socket.send(frame(UNREAD))
        reply = schema.CommUnreadDL.FromString(self.next(UNREAD).payload)
        for each in reply.unread:
            self.drain(each.queue)
        return reply

    def drain(self, queue: Any) -> None:
        if self.acknowledge and queue.name not in self.draining:
            self.draining.add(queue.name)
            self.fetch(queue)

    def until(self, found: Callable[[Any], object], what: str = "a Meta") -> Any:
        """Handle frames until a Meta satisfies `found`; return the Meta."""
        end = time.monotonic() + WAIT
        seen = 0
        while True:
            for meta in self.metas[seen:]:
                seen += 1
                if found(meta):
                    return meta
            left = end - time.monotonic()
            assert left > 0, f"{self.user} never saw {what}"
            self._take(schema.MSync.FromString(self.socket.recv(timeout=left)))

    def receive_all(self) -> None:
        """Handle everything that the server has for this device now."""
        while self.ask_unread().unread or self.draining:
            while self.draining:
                self._take(schema.MSync.FromString(self.socket.recv(timeout=WAIT)))

    # -------------------------------------------------------- sending

    def post(self, to: str, body: Any, *, domain: str = GROUP_DOMAIN, **more: Any) -> int:
        number = next(_numbers)
        meta = schema.Meta(
            id=number,
            to=schema.JID(appKey=self.server.app_key, name=to, domain=domain),
            ns=1,
            payload=body.SerializeToString(),
            **more,
        )
        self.socket.send(frame(SYNC, schema.CommSyncUL(meta=meta)))
        return number

    def reply_to(self, number: int) -> Any:
        while number not in self.replies:
            self._take(schema.MSync.FromString(self.socket.recv(timeout=WAIT)))
        return self.replies[number]

    def send(self, to: str, body: Any, **more: Any) -> int:
        """Send a message that the server must accept; return its id."""
        reply = self.reply_to(self.post(to, text_body(body) if isinstance(body, str) else body, **more))
        assert reply.status.errorCode == 0, reply
        assert reply.HasField("status")
        assert not reply.HasField("queue")
        server_id = reply.serverId
        assert isinstance(server_id, int)
        return server_id

    def refused(self, to: str, body: Any, **more: Any) -> tuple[int, str]:
        """Send a message that the server refuses; return the status code and the reason."""
        reply = self.reply_to(self.post(to, text_body(body) if isinstance(body, str) else body, **more))
        return reply.status.errorCode, reply.status.reason

    def recall(self, to: str, message: int) -> Any:
        body = schema.MessageBody(type=6, ackMessageId=message, contents=[schema.Content()], meta=THREAD_MARK)
        return self.reply_to(self.post(to, body)).status

    # -------------------------------------------------------- end of the connection

    def closed(self) -> int:
        """Handle everything until the server closes the socket; return the close code."""
        end = time.monotonic() + WAIT
        try:
            while True:
                message = schema.MSync.FromString(self.socket.recv(timeout=max(0, end - time.monotonic())))
                with contextlib.suppress(ConnectionClosed):  # it may have to ask; more frames may have come
                    self._take(message)
        except ConnectionClosed as error:
            return error.rcvd.code if error.rcvd else 1006

    def cut(self) -> None:
        """End the connection without a close frame, as a lost network does."""
        self.socket.socket.shutdown(socket.SHUT_RDWR)
        self.await_gone()

    def leave(self) -> None:
        """Close, and wait until the server knows."""
        self.socket.close()
        self.await_gone()

    def await_gone(self) -> None:
        end = time.monotonic() + WAIT
        while {"res": self.resource} in self.api.ok("GET", f"/users/{self.user}/resources")["data"]:
            assert time.monotonic() < end, "the server still thinks it is online"


def open_socket(server: Server) -> ClientConnection:
    # `__enter__` by hand: websockets 17.1 wants a `with`, but a connection here outlives the function.
    connection = connect(server.ws_url, compression=None, proxy=None, open_timeout=WAIT).__enter__()
    _opened.append(connection)
    return connection


def texts(metas: list[Any]) -> list[str]:
    """Return the texts of the messages among Metas."""
    bodies = [schema.MessageBody.FromString(meta.payload) for meta in metas if meta.ns == 1]
    return [body.contents[0].text for body in bodies if body.contents and body.contents[0].text]


def body_of(meta: Any) -> Any:
    return schema.MessageBody.FromString(meta.payload)


def sender_of(meta: Any) -> str:
    name = getattr(meta, "from").name
    assert isinstance(name, str)
    return name


def is_text(text: str) -> Callable[[Any], bool]:
    return lambda meta: text in texts([meta])


class TeaGroup:
    """Devices of three users in a group with a thread.

    Alice owns the group and the thread, Bob is in both, and Carol is in the group alone.
    """

    def __init__(self, server: Server) -> None:
        self.alice = Device(server, new_name("alice"))
        self.bob = Device(server, new_name("bob"))
        self.carol = Device(server, new_name("carol"))
        self.group = self.alice.api.group(self.bob.user, self.carol.user)
        self.parent = self.alice.send(self.group, "parent")
        self.thread = self.alice.api.thread(self.group, self.parent)
        self.bob.api.join(self.thread)
        for device in (self.alice, self.bob, self.carol):
            device.receive_all()
            device.metas.clear()
            device.notices.clear()
