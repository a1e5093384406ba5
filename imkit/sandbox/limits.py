"""How much one client, one user and all of them together may use of a sandbox: every number in one place.

The numbers are far above what benchmarks and tests need. They keep a mistake or a hostile client from filling the disk
or the memory, and from holding the server. `docs/sandbox.md` has the table of what is refused, and how.

Source: docs/protocol.md#limits.
"""

from __future__ import annotations

from dataclasses import dataclass

KIB, MIB, GIB = 1024, 1024**2, 1024**3


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits of one server.

    Attributes:
        connections: the most open connections, HTTP and WebSocket together; fewer if the system allows fewer files.
        waiting_connections: the most HTTP connections that have not sent a whole request, and the most WebSockets
            without a login; of each at most a third of all. One more makes the server close the one that has waited
            the longest.
        head_seconds: how long the head of a request may take.
        body_seconds: how long the body of a request may take, plus one second for each `body_bytes_per_second`.
        body_bytes_per_second: the slowest body.
        discard_seconds: how long the rest of a refused body is still read, so that the client sees the answer.
        login_seconds: how long a WebSocket may be open without a login; the official SDK waits 10 s for the answer.
        login_attempts: the most refused logins on one WebSocket.
        sync_sockets_per_user: the most sockets of a user that ask for lists.
        sync_seconds: how long such a socket may be silent.
        sync_requests: the most requests on such a socket.
        unread_seconds: a client that takes nothing of what was sent to it for so long is cut.
        json_bytes: the largest JSON body of a request.
        form_bytes: the largest form; only the attributes of a user come in one.
        uploads_at_once: the most uploads that are read at one time.
        uploads_at_once_per_user: the most of these that are of one user.
        attachment_bytes_per_user: the most bytes of one user's attachments.
        attachment_bytes_in_all: the most bytes of all attachments.
        store_bytes: the largest data file, and the most data in memory without a file.
        users: the most users.
        groups_per_user: the most groups that one user owns.
        threads_per_group: the most threads of a group; the service has 100,000 for an app.
        members_per_group: the most members of a group; the service has up to 8,000.
        groups_in_one_call: the most groups whose details one call may ask for.
        reports_per_user: the most messages that a user may report.
        tokens_per_user: the most tokens of a user that are valid; a new one ends the oldest.
        sends_per_second: the most messages that a user may send in the long run.
        sends_at_once: the most messages that a user may send at once, after a pause.
        guesses_per_second: the most wrong passwords for one user in the long run.
        guesses_at_once: the most wrong passwords for one user at once, after a pause.
        guesses_in_all_per_second: the most wrong passwords in the long run.
        guesses_in_all_at_once: the most wrong passwords at once, after a pause.
        streamed_texts_at_once: the most streamed texts that are growing.
        streamed_bytes: the longest streamed text.
        streamed_pause_seconds: a streamed text that does not grow for so long is given up.
        streamed_seconds: how long a streamed text may take in all.
        log_records_per_second: the most records in the log in the long run; further ones are only counted.
        log_records_at_once: the most records in the log at once, after a pause.
        log_record_characters: the longest record; of a longer one the middle is left out.
        name_characters: the longest name of a group or of a user.
        attribute_bytes: the most bytes of all attributes of a user, with their names; the service has 2 KB as well.
        description_characters: the longest description of a group.
        custom_bytes: the longest `custom` field of a group.
        password_characters: the longest password.
        resource_bytes: the longest name of a device.
    """

    connections: int = 1000
    waiting_connections: int = 200
    head_seconds: float = 10
    body_seconds: float = 20
    body_bytes_per_second: int = 32 * KIB
    discard_seconds: float = 5
    login_seconds: float = 15
    login_attempts: int = 10
    sync_sockets_per_user: int = 8
    sync_seconds: float = 30
    sync_requests: int = 50
    unread_seconds: float = 30
    json_bytes: int = MIB
    form_bytes: int = 64 * KIB
    uploads_at_once: int = 64
    uploads_at_once_per_user: int = 8
    attachment_bytes_per_user: int = GIB
    attachment_bytes_in_all: int = 4 * GIB
    store_bytes: int = 16 * GIB
    users: int = 200_000
    groups_per_user: int = 2000
    threads_per_group: int = 100_000
    members_per_group: int = 3000
    groups_in_one_call: int = 100
    reports_per_user: int = 1000
    tokens_per_user: int = 1000
    sends_per_second: float = 2000
    sends_at_once: int = 200_000
    guesses_per_second: float = 0.5
    guesses_at_once: int = 20
    guesses_in_all_per_second: float = 20
    guesses_in_all_at_once: int = 500
    streamed_texts_at_once: int = 1000
    streamed_bytes: int = 128 * KIB
    streamed_pause_seconds: float = 30
    streamed_seconds: float = 30 * 60
    log_records_per_second: float = 1 / 30
    log_records_at_once: int = 250
    log_record_characters: int = 4096
    name_characters: int = 128
    attribute_bytes: int = 2 * KIB
    description_characters: int = 512
    custom_bytes: int = 8 * KIB
    password_characters: int = 1024
    resource_bytes: int = 512
