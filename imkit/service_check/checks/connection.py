"""Checks of the way to a service: hosts, the login, clocks, tokens.

Source: docs/protocol.md#host-discovery, docs/protocol.md#login-handshake, docs/protocol.md#token-life.
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from imkit.client.http import REQUEST_SECONDS, is_loopback
from imkit.errors import ConnectionLost, TimedOut
from imkit.service_check.check import Check, Seen
from imkit.service_check.examination import Examination
from imkit.times import LAST_MILLISECOND, in_words, wall_seconds

_CLOCK_SECONDS = 30
_SECOND_SOCKET_SECONDS = 5


async def _hosts(examination: Examination) -> Seen:
    account = examination.session.account
    app, hosts = account.app, account.hosts
    how = "as given" if app.rest_url and app.ws_url else "discovered"
    try:
        await account.rest.get("users", account.user, "joined_chatgroups", params={"pagenum": 0, "pagesize": 1})
    except (ConnectionLost, TimedOut) as error:
        return Seen(f"{hosts.rest_url} answers no call: {error}", False)
    connected = "takes the login" if examination.session.connected else "is not connected"
    seen = f"{hosts.rest_url} answers, {hosts.ws_url} {connected}; {how}"
    return Seen(seen, examination.session.connected)


async def _tls(examination: Examination) -> Seen:
    hosts = examination.session.account.hosts
    urls = (hosts.rest_url, hosts.ws_url)
    plain = [url for url in urls if urlsplit(url).scheme in ("http", "ws")]
    if not plain:
        return Seen("https and wss", True)
    here = all(map(is_loopback, plain))
    return Seen(f"{' and '.join(urlsplit(url).scheme for url in urls)}" + (", on this machine" if here else ""), here)


async def _login(examination: Examination) -> Seen:
    seconds = examination.session.account.connection.login_seconds
    if not examination.session.connected or seconds is None:
        return Seen("the socket is not connected", False)
    return Seen(f"the socket was open and logged in after {seconds:.2f} s", True)


async def _login_answer(examination: Examination) -> Seen:
    account = examination.session.account
    answer = account.protocol.login_answer
    if answer is None:
        return Seen("the socket is not logged in", None)
    problems = [f"unknown field {number}" for number in answer.unknown_fields]
    if answer.resource != account.identity.resource:
        problems.append("it names another device" if answer.resource else "it names no device")
    problems += [f"it sets {name}" for name in answer.fields if name.startswith(("compress", "encrypt"))]
    seen = f"fields: {', '.join(answer.fields)}"
    return Seen(f"{seen}; {'; '.join(problems)}" if problems else seen, not problems)


async def _clock(examination: Examination) -> Seen:
    connection = examination.session.account.connection
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(5):
            await connection.first_unread.wait()
    service = connection.service_time()
    rest = _rest_clock(examination)
    if service is None:
        return Seen(f"the socket tells no time; {rest}", None)
    difference = wall_seconds() - service / 1000
    seen = f"this machine is {_ahead(difference)} the service; {rest}"
    return Seen(seen, abs(difference) < _CLOCK_SECONDS)


def _rest_clock(examination: Examination) -> str:
    """Return what the header `Date` of the last REST answer says; it knows whole seconds."""
    answer, _, at = examination.answers[-1] if examination.answers else (None, 0.0, 0.0)
    try:
        told = parsedate_to_datetime(answer.headers["date"]).timestamp() if answer is not None else None
    except (KeyError, ValueError, OverflowError):
        told = None
    return "REST tells no time" if told is None else f"by REST, in whole seconds, {_ahead(at - told)} it"


def _ahead(seconds: float) -> str:
    return f"{abs(seconds):.1f} s {'ahead of' if seconds > 0 else 'behind'}"


async def _token_life(examination: Examination) -> Seen:
    connection, answer = examination.session.account.connection, examination.session.account.protocol.login_answer
    ends = answer.token_ends if answer is not None else None
    now = await examination.session.account.now_ms()
    if ends is None:
        return Seen("the answer to the login tells no end", False)
    if not now < ends <= LAST_MILLISECOND:
        return Seen(f"the answer to the login tells the end {ends}, which is no time to come in ms", False)
    life = in_words(timedelta(milliseconds=ends - now))
    by = "" if connection.service_time() is not None else ", by this machine's clock"
    return Seen(f"the token lives {life} more{by}", True)


async def _second_socket(examination: Examination) -> Seen:
    """Come with a token that is none: the real one must not stand in a URL, which servers write into logs."""
    scheme, _, rest = examination.session.account.hosts.rest_url.partition("://")
    url = f"{'wss' if scheme == 'https' else 'ws'}://{rest.split('/')[0]}/ws?token=none"
    await examination.pace.take()
    try:
        async with asyncio.timeout(_SECOND_SOCKET_SECONDS):
            async with connect(url, proxy=None if is_loopback(url) else True, max_size=2**16) as socket:
                told = await socket.recv()
                return Seen(f"the socket opens and sends {len(told)} bytes", False)
    except InvalidStatus as refused:
        return Seen(f"HTTP {refused.response.status_code}", refused.response.status_code == 401)
    except ConnectionClosed as closed:
        frame = closed.rcvd
        why = "nothing" if frame is None else f"{frame.code} {frame.reason}".strip()
        return Seen(f"the socket opens, and is closed with {why}", False)
    except TimeoutError:
        return Seen(f"the socket says nothing for {_SECOND_SOCKET_SECONDS} s", False)
    except (OSError, WebSocketException) as error:
        return Seen(f"no connection: {error}", None)


CONNECTION_CHECKS = (
    Check(
        name="hosts",
        assumed="The app key leads to a REST server and a socket server.",
        ask=_hosts,
        follows="Both are reached.",
        otherwise="Give App(…, rest_url=…, ws_url=…) from the app's console.",
        source="host-discovery",
    ),
    Check(
        name="TLS",
        assumed="Both servers are reached by TLS, or are on this machine.",
        ask=_tls,
        follows="Nobody on the network can read a token or a message.",
        otherwise="Others on the network can read the token and the messages.",
        source="host-discovery",
    ),
    Check(
        name="login",
        assumed="The socket takes the login.",
        ask=_login,
        follows="Messages can be sent and received.",
        otherwise="session.wire() shows what the service answered.",
        source="login-handshake",
    ),
    Check(
        name="answer to the login",
        assumed="It repeats the device, and has no field that imkit does not know. It asks for no encryption.",
        ask=_login_answer,
        follows="imkit reads all of it.",
        otherwise="imkit reads the fields that it knows, and passes over the others.",
        source="login-handshake",
    ),
    Check(
        name="clocks",
        assumed=f"This machine's clock is right to {_CLOCK_SECONDS} s.",
        ask=_clock,
        follows="A naive time in history(since=…) means what you expect.",
        otherwise="Set this machine's clock; imkit itself goes by the service's clock.",
        source="after-the-login",
    ),
    Check(
        name="token life",
        assumed="The answer to the login tells when the token ends, in ms.",
        ask=_token_life,
        follows="imkit renews the token in time, if login() has a password or a function.",
        otherwise="imkit renews the token only after the service has refused it, and TokenExpiring does not come.",
        source="token-life",
    ),
    Check(
        name="second socket",
        assumed="The second socket of SDK 5 refuses an unknown token with HTTP 401.",
        ask=_second_socket,
        follows="Nothing for imkit, which does not use this socket.",
        otherwise="Nothing for imkit, which does not use this socket; only the sandbox differs from the service.",
        source="sdk-5-second-socket",
    ),
)


async def _limits(examination: Examination) -> Seen:
    answers = [answer for answer, _, _ in examination.answers]
    refused = [answer for answer in answers if answer.status in (429, 503)]
    waits = {answer.headers["retry-after"] for answer in answers if "retry-after" in answer.headers}
    named = {
        f"{name}: {value:.40}"
        for answer in answers
        for name, value in answer.headers.items()
        if any(word in name for word in ("ratelimit", "rate-limit", "quota"))
    }
    seen = [f"{len(refused)} of {len(answers)} calls refused as too many" if refused else f"{len(answers)} calls taken"]
    seen += [f"Retry-After: {', '.join(sorted(waits))[:40]}"] if waits else []
    seen += sorted(named)[:5] or ["no header names a limit"]
    too_fast = examination.sample.too_fast if examination.sample is not None else 0
    seen += [f"{too_fast} messages refused as too many"] if too_fast else []
    return Seen("; ".join(seen), not refused and not too_fast)


async def _round_trips(examination: Examination) -> Seen:
    seconds = sorted(seconds for _, seconds, _ in examination.answers)
    if not seconds:
        return Seen("no call was answered", None)
    login = examination.session.account.connection.login_seconds
    seen = f"of {len(seconds)} calls the median took {_ms(seconds[len(seconds) // 2])}, the longest {_ms(seconds[-1])}"
    if login is not None:
        seen += f"; the socket's login {_ms(login)}"
    return Seen(seen, seconds[-1] < REQUEST_SECONDS)


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms"


# What all answers of a run had in common: asked last.
ANSWER_CHECKS = (
    Check(
        name="limits in answers",
        assumed="The service takes 15 calls and messages a second.",
        ask=_limits,
        follows="imkit asks as fast as App(max_requests_per_second=…) says.",
        otherwise="imkit waits as the service says, and then asks more slowly. A message is refused as RateLimited.",
        source="limits",
    ),
    Check(
        name="round trips",
        assumed=f"A call is answered within {REQUEST_SECONDS:.0f} s, as long as the official SDK waits.",
        ask=_round_trips,
        follows="imkit waits for an answer as the official SDK does.",
        otherwise="A call may end in TimedOut; history(resume=…) goes on with what came.",
        source="timers-of-the-official-sdk",
    ),
)
