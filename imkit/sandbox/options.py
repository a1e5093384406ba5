"""What a sandbox can be told: one frozen object, the same for the command line, `Sandbox` and the tests."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from imkit.sandbox.faults import check_faults

APP_KEY = "imkit#sandbox"
TOKEN_SECONDS = 60 * 24 * 3600  # fact sheet section 10: 60 days unless the app says otherwise


@dataclass(frozen=True, kw_only=True)
class Options:
    """The settings of one server.

    Attributes:
        app_key: the one app it serves; any other in a path is refused.
        secret: opens the app-server endpoint and is the app's client secret; known to who may read the state file.
        open_registration: anyone may register a user, as the official SDK's `registerUser` wants.
        push: send pages unasked instead of a NOTICE first (fact sheet section 3 allows both).
        latency_ms: how long every reply waits, REST and socket.
        recall_seconds: how long a sender may recall; 0 disables recalling.
        token_seconds: how long a user token lives.
        requests_per_second: REST calls beyond this are refused with 429.
        fail: named faults and how often each strikes (0 to 1); the names are in `imkit.sandbox.faults`.
        fail_seed: makes the faults repeatable.
        message_bytes: the largest message body; copies of the documentation say 3 KB and 5 KB.
        attachment_bytes: the largest upload.
        page_metas: how many messages one page of a device queue holds.
        devices: how many devices of one user may be online.
        idle_seconds: a silent socket is closed after this; the SDK may be silent for 60 s.

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
    message_bytes: int = 5 * 1024
    attachment_bytes: int = 10 * 1024 * 1024
    page_metas: int = 100
    devices: int = 4
    idle_seconds: float = 120

    def __post_init__(self) -> None:
        check_faults(self.fail)
