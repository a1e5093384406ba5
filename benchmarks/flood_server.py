"""A server that sends `COUNT` messages to each client that logs in, as fast as the client takes them.

The messages are made beforehand, so that only the client is measured. They wait in one queue. After a NOTICE the client
fetches a page, acknowledges it and fetches the next, as with the real service. The path of the socket's URL is the
number of messages a page: ``/50``. The server runs in a process of its own, ends when its standard input ends, and
prints its port.

Source: docs/protocol.md#queues-and-synchronisation.

    python benchmarks/flood_server.py
"""

import asyncio
import contextlib
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from google.protobuf.message import Message
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from imkit.messages import Text
from imkit.wire import schema, uplink
from imkit.wire.enums import FrameCommand
from imkit.wire.envelope import group_jid

APP, GROUP, THREAD = "flood#app", "200000000000001", "210000000000001"
COUNT = 20_000
WORDS = ("Dong Ding, please 🍵", "which oolong should we order for the spring party?", "ok", "我也要一袋，谢谢！")
OK = schema.Status(errorCode=0)
QUEUE = group_jid(APP, THREAD)


def meta(number: int) -> bytes:
    """Return one text message of the thread, in the form in which the service delivers it."""
    text = Text(f"{number} {WORDS[number % len(WORDS)]}", ext={"mood": "good"})
    to = uplink.Address(APP, THREAD, is_thread=True)
    found = schema.Meta.FromString(uplink.encode_message(to, f"user-{number % 60}", text, number).SerializeToString())
    body = schema.MessageBody.FromString(found.payload)
    mark = {"msg_parent_id": "1882603211714461701", "muc_parent_id": GROUP, "thread_name": "Oolong 乌龙"}
    body.meta = json.dumps({"thread": mark}, ensure_ascii=False, separators=(",", ":"))
    found.payload = body.SerializeToString()
    getattr(found, "from").CopyFrom(schema.JID(appKey=APP, name=f"user-{number % 60}", clientResource="web_1"))
    found.id, found.timestamp = 1_882_603_211_714_500_000 + number, 1_795_390_000_000 + number
    encoded: bytes = found.SerializeToString()
    return encoded


def frame(command: int, payload: Message) -> bytes:
    encoded: bytes = schema.MSync(command=command, payload=payload.SerializeToString()).SerializeToString()
    return encoded


def welcome(asked: bytes) -> bytes:
    """Return the answer that accepts any login."""
    return frame(
        FrameCommand.PROVISION, schema.Provision(status=OK, resource=schema.Provision.FromString(asked).resource)
    )


def pages(size: int) -> list[bytes]:
    """Return the pages of the queue in order, and the empty page at its end."""
    metas = [meta(number) for number in range(COUNT)]
    found = [
        frame(
            FrameCommand.SYNC,
            schema.LooseSyncDL(
                status=OK, queue=QUEUE, metas=metas[at : at + size], nextKey=min(at + size, COUNT), timestamp=1
            ),
        )
        for at in range(0, COUNT, size)
    ]
    return [*found, frame(FrameCommand.SYNC, schema.CommSyncDL(status=OK, queue=QUEUE, isLast=True, timestamp=1))]


_pages: dict[int, list[bytes]] = {}


async def flood(socket: ServerConnection) -> None:
    """Serve one client: the login, then the whole queue, page by page as the client acknowledges."""
    size = int(socket.request.path.rpartition("/")[2]) if socket.request is not None else 1
    prepared = _pages.get(size) or _pages.setdefault(size, pages(size))
    with contextlib.suppress(ConnectionClosed):
        async for message in socket:
            asked = schema.MSync.FromString(message)
            if asked.command == FrameCommand.PROVISION:
                await socket.send(welcome(asked.payload))
            elif asked.command == FrameCommand.UNREAD:
                await socket.send(frame(FrameCommand.UNREAD, schema.CommUnreadDL(status=OK, timestamp=1)))
                await socket.send(frame(FrameCommand.NOTICE, schema.CommNotice(queue=QUEUE)))
            elif asked.command == FrameCommand.SYNC:
                sync = schema.CommSyncUL.FromString(asked.payload)
                if sync.HasField("queue"):
                    await socket.send(prepared[-(-sync.key // size)])


async def main() -> None:
    """Serve until standard input ends, and print the port."""
    async with serve(flood, "127.0.0.1", 0, compression=None, max_size=None) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
