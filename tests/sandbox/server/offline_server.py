"""The sandbox's server without sockets: bytes go in, and it can be seen what it answers."""

from typing import Any

from imkit.sandbox.options import Options
from imkit.sandbox.server.msync import Connection
from imkit.sandbox.server.server import Application
from imkit.sandbox.server.store import Store
from imkit.wire import schema
from imkit.wire.envelope import GROUP_DOMAIN
from tests.sandbox.server.raw_client import SYNC, frame, provision


class OfflineServer:
    """A server without sockets, with Alice, a group and a thread. Its connections only collect outgoing frames."""

    def __init__(self) -> None:
        self.options = Options(message_bytes=20_000)
        self.application = Application(self.options, Store(None))
        backend = self.application.backend
        with backend.delivery.unit():
            backend.users.register("alice", None)
            self.token, _ = backend.users.new_token("alice", 3600)
            group = backend.groups.create_group("alice", "tea", members=[])
            parent = backend.store.new_id()
            backend.record.add(parent, group.id, "alice", "txt", b"")
            self.thread = backend.groups.create_thread(group.id, str(parent), "alice", "Oolong").id

    async def receive(self, frames: list[bytes]) -> Connection:
        """Log a connection in and handle these frames of it."""
        server = self.application.msync
        connection = Connection(server, 0)
        for each in [provision(self.options.app_key, "alice", self.token, f"{id(connection)}"), *frames]:
            server.submit(connection, each)
        server._handle_batch()
        self.application.backend.delivery.log_out(connection)
        return connection

    def meta(self, body: Any, **more: Any) -> bytes:
        to = schema.JID(name=self.thread, domain=GROUP_DOMAIN)
        meta = schema.Meta(id=1, to=to, ns=1, payload=body.SerializeToString(), **more)
        return frame(SYNC, schema.CommSyncUL(meta=meta))
