"""The settings of a sandbox: one frozen object for the command line, `Sandbox` and the tests."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from imkit.sandbox.faults import check_faults
from imkit.sandbox.limits import Limits

APP_KEY = "imkit#sandbox"
TOKEN_SECONDS = 60 * 24 * 3600  # the service's default; source: docs/protocol.md#token-life


@dataclass(frozen=True, kw_only=True)
class Options:
    """The settings of one server.

    Attributes:
        app_key: the app that it serves; it refuses requests for any other app.
        secret: the app's client secret, which also opens the app-server endpoint. The private state file has it.
        open_registration: anyone may register a user, as the official SDK's `registerUser` does.
        push: send the pages of a queue unasked, without a NOTICE before; the protocol allows both.
        latency_ms: the delay of each reply, REST and socket, in ms.
        recall_seconds: how long after a send its sender may recall it, in seconds; 0 disables recalls.
        token_seconds: how long a user token is valid, in seconds.
        requests_per_second: more REST calls than this are refused with 429; None for no limit.
        fail: the faults and the rate of each, 0 to 1; `imkit.sandbox.faults.FAULTS` has the names.
        fail_seed: the same seed gives the same faults.
        host: the address that it listens at; a request may use it, or another name of this machine, as its Host.
        limits: how much clients and users may use.
        message_bytes: the largest message body; the service's documents say 3 KB and 5 KB.
        attachment_bytes: the largest upload.
        page_metas: the most messages in one page of a device queue.
        devices: the most devices of one user that may be online.
        idle_seconds: a socket without a frame for so long is closed; the SDK may send nothing for 60 s.

    Example:
        >>> Options(recall_seconds=2).recall_seconds
        2
    """

    app_key: str = APP_KEY
    secret: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    open_registration: bool = False
    push: bool = False
    latency_ms: float = 0
    recall_seconds: float = 120
    token_seconds: float = TOKEN_SECONDS
    requests_per_second: float | None = None
    fail: Mapping[str, float] = field(default_factory=dict)
    fail_seed: int = 0
    host: str = "127.0.0.1"
    limits: Limits = field(default_factory=Limits)
    message_bytes: int = 5 * 1024
    attachment_bytes: int = 10 * 1024 * 1024
    page_metas: int = 100
    devices: int = 4
    idle_seconds: float = 120

    def __post_init__(self) -> None:
        check_faults(self.fail)
