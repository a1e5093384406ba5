"""Builds the frames that a client sends, byte for byte as the official SDKs write them.

Source: docs/protocol.md#login-and-connection, docs/protocol.md#queues-and-synchronisation; the recorded frames in
`tests/golden`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from imkit.wire import schema
from imkit.wire.enums import (
    CompressType,
    EncryptType,
    FrameCommand,
    MSyncVersion,
    NameSpace,
    OsType,
    StatisticsOperation,
)
from imkit.wire.keyvalues import json_text

USER_DOMAIN = "easemob.com"
GROUP_DOMAIN = "conference.easemob.com"  # groups and threads


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one build of the official SDK fills its frames. imkit uses the defaults; tests use the other builds' values.

    Args:
        sdk_version: the SDK version in the login frame.
        action_version: the protocol level in the login frame.
        writes_version: write the envelope's `version`. The mini-program build leaves it out.
        writes_trace: write a `traceId`. agora-chat 1.4.0 leaves it out.
        offers_compression: offer LZ4 in the login frame. imkit does not; the SDK does, except after a failure.

    Source: docs/protocol.md#login-handshake, docs/protocol.md#quirks-of-the-official-sdk-4.
    """

    sdk_version: str = "4.21.1"
    action_version: str = "v5.2"
    writes_version: bool = True
    writes_trace: bool = True
    offers_compression: bool = False


@dataclass(frozen=True, slots=True)
class Identity:
    """One device of one user: an app key (``"org#app"``), a user id, and a resource, which names the device."""

    app_key: str
    user: str
    resource: str

    def jid(self) -> Any:
        """Return the protobuf JID of this device."""
        return schema.JID(appKey=self.app_key, name=self.user, domain=USER_DOMAIN, clientResource=self.resource)


def group_jid(app_key: str, name: str) -> Any:
    """Return the JID of a group or a thread."""
    return schema.JID(appKey=app_key, name=name, domain=GROUP_DOMAIN)


class Envelope:
    """Builds the frames of one device.

    Args:
        identity: the device.
        dialect: the SDK build whose frames to write.

    Example:
        >>> Envelope(Identity("org#app", "alice", "web")).unread(trace_id=None).hex()
        '080040015800'
    """

    def __init__(self, identity: Identity, dialect: Dialect | None = None) -> None:
        self.identity = identity
        self.dialect = dialect or Dialect()

    def provision(
        self,
        token: str,
        *,
        session_id: str,
        trace_id: int | None,
        device_uuid: str | None = None,
        device_name: str = "webim",
    ) -> bytes:
        """Return the login frame, which must be the first on every socket.

        Source: docs/protocol.md#login-handshake.
        """
        resource = self.identity.resource
        offered = [CompressType.COMPRESS_LZ4] if self.dialect.offers_compression else []
        login = schema.Provision(
            osType=OsType.OS_OTHER,
            version=self.dialect.sdk_version,
            compressType=[CompressType.COMPRESS_NONE],
            encryptType=[EncryptType.ENCRYPT_NONE],
            deviceUuid=resource.removeprefix("webim_") if device_uuid is None else device_uuid,
            deviceName=device_name,
            resource=resource,
            actionVersion=self.dialect.action_version,
            authToken=json_text({"token": f"$t${token}"}),
            sessionId=session_id,
            protocolCompressType=offered,
        )
        return self._signed(FrameCommand.PROVISION, login, token, trace_id)

    def logout(self, token: str, *, session_id: str, trace_id: int | None) -> bytes:
        """Return the frame that ends a login. A client sends it before it closes the socket."""
        return self._signed(
            FrameCommand.LOGOUT, schema.Logout(sessionId=session_id, reason="inner:logout"), token, trace_id
        )

    def unread(self, *, trace_id: int | None) -> bytes:
        """Return the frame that asks which queues hold items. It is also the heartbeat."""
        return self._frame(FrameCommand.UNREAD, None, trace_id)

    def fetch(self, queue: Any, *, trace_id: int | None) -> bytes:
        """Return the frame that asks for the first page of a queue."""
        return self._frame(FrameCommand.SYNC, schema.CommSyncUL(queue=queue), trace_id)

    def acknowledge(self, queue: Any, key: int, *, trace_id: int | None) -> bytes:
        """Return the frame that removes all items up to `key` from a queue, and asks for the next page."""
        return self._frame(FrameCommand.SYNC, schema.CommSyncUL(key=key, queue=queue), trace_id)

    def send(self, meta: Any, *, trace_id: int | None) -> bytes:
        """Return the frame that carries one Meta: a message, a recall, an edit or a read ack."""
        return self._frame(FrameCommand.SYNC, schema.CommSyncUL(meta=meta), trace_id)

    def statistics(self, client_id: int, *, trace_id: int | None) -> bytes:
        """Return the statistics frame that follows a login. The service does not answer it.

        Source: docs/protocol.md#after-the-login.
        """
        payload = schema.StatisticsBody(operation=StatisticsOperation.INFORMATION).SerializeToString()
        return self.send(schema.Meta(id=client_id, ns=NameSpace.STATISTIC, payload=payload), trace_id=trace_id)

    def _signed(self, command: int, payload: Any, token: str, trace_id: int | None) -> bytes:
        return self._frame(command, payload, trace_id, guid=self.identity.jid(), auth=f"$t${token}", deviceId=0)

    def _frame(self, command: int, payload: Any, trace_id: int | None, **fields: Any) -> bytes:
        frame = schema.MSync(command=command, encryptType=[EncryptType.ENCRYPT_NONE], **fields)
        if self.dialect.writes_version:
            frame.version = MSyncVersion.MSYNC_V1
        if payload is not None:
            frame.payload = payload.SerializeToString()
        if self.dialect.writes_trace and trace_id is not None:
            frame.traceId = trace_id
        encoded: bytes = frame.SerializeToString()
        return encoded
