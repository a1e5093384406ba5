"""Builds what the service sends, for tests: Metas, and frames that hold them. Reads what a client sends."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from imkit.events import MessageReceived
from imkit.messages import Body, Text
from imkit.wire import schema, uplink
from imkit.wire.enums import FrameCommand
from imkit.wire.envelope import Identity, group_jid
from imkit.wire.protocol import ClientProtocol, Output, Transmit

APP = "org#app"
ALICE = Identity(APP, "alice", "web")
THREAD = uplink.Address(APP, "210000033222000", is_thread=True)
MARK = {"thread": {"msg_parent_id": "1882603211714461701", "muc_parent_id": "200000032964000", "thread_name": "茶 🍵"}}
OK = schema.Status(errorCode=0)


def status_with(code: int, reason: str) -> Any:
    """Return a status. `code` may be one that the schema does not have."""
    return schema.Status.FromString(b"\x08" + bytes([code]) + schema.Status(reason=reason).SerializeToString())


def frame(command: int | None, payload: Any = None) -> bytes:
    data = payload if isinstance(payload, bytes) else payload.SerializeToString() if payload is not None else None
    encoded: bytes = schema.MSync(command=command, payload=data).SerializeToString()
    return encoded


def login_reply(**fields: Any) -> bytes:
    return frame(FrameCommand.PROVISION, schema.Provision(**{"status": OK, "resource": "web", **fields}))


def logged_in() -> ClientProtocol:
    protocol = ClientProtocol(ALICE, wall_clock=lambda: 1_795_390_333.0)
    protocol.connect("token", now=0.0)
    protocol.receive(login_reply(), now=0.0)
    return protocol


def queue(name: str = THREAD.name) -> Any:
    return group_jid(APP, name)


def notice(name: str = THREAD.name) -> bytes:
    return frame(FrameCommand.NOTICE, schema.CommNotice(queue=queue(name)))


def unread(queues: dict[str, int], at: int | None = None) -> bytes:
    listed = [schema.MetaQueue(queue=queue(name), n=count) for name, count in queues.items()]
    return frame(FrameCommand.UNREAD, schema.CommUnreadDL(status=OK, unread=listed, timestamp=at))


def page(metas: Iterable[bytes], key: int | None, name: str = THREAD.name, **fields: Any) -> bytes:
    """Return a page of a queue. A field that is `None` is left out."""
    wanted = {"status": OK, "queue": queue(name), "nextKey": key, **fields}
    present = {field: value for field, value in wanted.items() if value is not None}
    return frame(FrameCommand.SYNC, schema.LooseSyncDL(metas=list(metas), **present))


def answer(client_id: int, server_id: int = 0, **fields: Any) -> bytes:
    return frame(
        FrameCommand.SYNC, schema.CommSyncDL(**{"status": OK, "metaId": client_id, "serverId": server_id, **fields})
    )


def as_delivered(sent: Any, message_id: int, sender: str, at: int, marks: dict[str, Any] | None = None) -> bytes:
    """Return the Meta that members get, made from the Meta that the sender sent.

    Source: docs/protocol.md#thread-marks.
    """
    meta = schema.Meta.FromString(sent.SerializeToString())
    body = schema.MessageBody.FromString(meta.payload)
    body.meta = json.dumps(MARK if marks is None else marks, ensure_ascii=False, separators=(",", ":"))
    meta.payload = body.SerializeToString()
    getattr(meta, "from").CopyFrom(schema.JID(appKey=APP, name=sender, clientResource="web_1"))
    meta.id, meta.timestamp = message_id, at
    encoded: bytes = meta.SerializeToString()
    return encoded


def message_meta(message_id: int, body: Body | None = None, sender: str = "bob") -> bytes:
    sent = uplink.encode_message(THREAD, sender, body or Text(f"number {message_id}"), client_id=message_id)
    return as_delivered(sent, message_id, sender, 1_795_390_000_000 + message_id % 10**6)


def uplinks(outputs: Iterable[Output]) -> list[tuple[str, Any]]:
    """Return the frames that a client sent, as the service reads them: the kind of each, and its content."""
    found: list[tuple[str, Any]] = []
    for output in outputs:
        if not isinstance(output, Transmit):
            continue
        sent = schema.MSync.FromString(output.data)
        if sent.command == FrameCommand.UNREAD:
            found.append(("unread", None))
        elif sent.command == FrameCommand.PROVISION:
            found.append(("provision", schema.Provision.FromString(sent.payload)))
        elif sent.command == FrameCommand.SYNC:
            sync = schema.CommSyncUL.FromString(sent.payload)
            if sync.HasField("meta"):
                found.append(("meta", sync.meta))
            elif sync.HasField("key"):
                found.append(("ack", (sync.queue.name, sync.key)))
            else:
                found.append(("fetch", sync.queue.name))
        else:
            found.append(("logout", None))
    return found


def received_ids(outputs: Iterable[Any]) -> list[str]:
    events = [event for output in outputs for event in getattr(output, "events", [])]
    return [event.message.id for event in events if isinstance(event, MessageReceived)]


def protocol_states() -> list[ClientProtocol]:
    """Return a protocol in each state: new, before the login, logged in, at the start of a queue, within a queue."""
    new = ClientProtocol(ALICE)
    logging_in = ClientProtocol(ALICE)
    logging_in.connect("token", now=0.0)
    draining = logged_in()
    draining.receive(notice(), now=1.0)
    draining.receive(notice("another"), now=1.0)
    halfway = logged_in()
    halfway.receive(notice(), now=1.0)
    halfway.receive(page([message_meta(1)], 1), now=2.0)
    return [new, logging_in, logged_in(), draining, halfway]
