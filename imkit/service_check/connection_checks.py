"""Checks of the way to a service: hosts, clocks, the socket.

Source: docs/protocol.md#host-discovery, docs/protocol.md#login-handshake, docs/protocol.md#unread.
"""

from __future__ import annotations

import asyncio
import contextlib

from imkit.service_check.check import Check, Seen
from imkit.service_check.examination import Examination
from imkit.times import wall_seconds

_CLOCK_SECONDS = 30


async def _hosts(examination: Examination) -> Seen:
    app = examination.session.app
    hosts = await app.hosts()
    how = "as given" if app.rest_url and app.ws_url else "discovered"
    return Seen(f"{hosts.rest_url} and {hosts.ws_url}, {how}", True)


async def _socket(examination: Examination) -> Seen:
    session = examination.session
    return Seen(
        f"{session.user} is logged in" if session.connected else "the socket is not connected", session.connected
    )


async def _clock(examination: Examination) -> Seen:
    connection = examination.session.account.connection
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(5):
            await connection.first_unread.wait()
    service = connection.service_time()
    if service is None:
        return Seen("the service tells no time", None)
    difference = wall_seconds() - service / 1000
    where = "ahead of" if difference > 0 else "behind"
    return Seen(f"this machine is {abs(difference):.1f} s {where} the service", abs(difference) < _CLOCK_SECONDS)


CONNECTION_CHECKS = (
    Check(
        name="hosts",
        assumed="The app key leads to a REST server and a socket server.",
        ask=_hosts,
        follows="Both are reached without rest_url= and ws_url=.",
        otherwise="Give App(…, rest_url=…, ws_url=…) from the app's console.",
        source="host-discovery",
    ),
    Check(
        name="socket",
        assumed="The socket takes the login.",
        ask=_socket,
        follows="Messages can be sent and received.",
        otherwise="session.wire() shows what the service answered.",
        source="login-handshake",
    ),
    Check(
        name="clocks",
        assumed=f"This machine's clock is right to {_CLOCK_SECONDS} s.",
        ask=_clock,
        follows="A naive time in history(since=…) means what you expect.",
        otherwise="Set this machine's clock; imkit itself goes by the service's clock.",
        source="unread",
    ),
)
