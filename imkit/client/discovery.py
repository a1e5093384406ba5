"""Finds out where an app's servers are, in the same way as the official SDK.

Source: docs/protocol.md#host-discovery.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from imkit.client.http import SMALL_ANSWER_BYTES, HttpClient, RequestFailed
from imkit.errors import ConnectionLost
from imkit.wire.untrusted_json import json_object, mapping, number, objects, text

SOURCES = ("https://rs.easemob.com/easemob/server.json", "https://rs.chat.agora.io/easemob/server.json")
_SECONDS = 10.0
_HOST = re.compile(r"[A-Za-z0-9._\-]+")


@dataclass(frozen=True, slots=True)
class Hosts:
    """Where an app's servers are: the REST base URL and the socket's URL."""

    rest_url: str
    ws_url: str


async def discover(app_key: str, sources: tuple[str, ...] | None = None) -> Hosts:
    """Ask where an app's servers are.

    Args:
        app_key: ``"org#app"``.
        sources: the places to ask, in order; `None`: Easemob's. Hosts are taken of the source's own scheme: an answer
            that came over https never leads to a plain connection.

    Raises:
        ConnectionLost: no place gave an answer with hosts; `reason` says what each one did.

    Source: docs/protocol.md#host-discovery.
    """
    problems = []
    for source in SOURCES if sources is None else sources:
        scheme = urlsplit(source).scheme
        try:
            async with HttpClient(source, _SECONDS) as http:
                asked = {"app_key": app_key}
                answer = await http.request("GET", source, params=asked, max_bytes=SMALL_ANSWER_BYTES)
            if answer.status != 200:
                problems.append(f"{source}: HTTP {answer.status}")
                continue
            found = json_object(answer.content)
            rest, socket = (_host(objects(mapping(found, name), "hosts"), scheme) for name in ("rest", "msync-wx"))
            if not rest or not socket:
                problems.append(f"{source}: the answer names no hosts for {scheme}")
                continue
            return Hosts(f"{scheme}://{rest}", f"{'wss' if scheme == 'https' else 'ws'}://{socket}/websocket")
        except RequestFailed as problem:
            problems.append(f"{source}: {problem.reason or problem.kind}")
    raise ConnectionLost(
        f"no server could be found for app {app_key}",
        outcome="not sent",
        reason="; ".join(problems),
        hint="Check the app key and the network, or give App(…, rest_url=…, ws_url=…) from the app's console.",
    )


def _host(hosts: list[dict[str, Any]], scheme: str) -> str:
    """Return the first host of a scheme that can be used, with its port; `""` if there is none."""
    for host in hosts:
        if text(host, "protocol") == scheme:
            name = text(host, "domain") or text(host, "ip")
            port = number(host, "port")
            is_valid = 0 <= port < 65536 and (port or not host.get("port"))
            if _HOST.fullmatch(name) and is_valid:
                return f"{name}:{port}" if port else name
    return ""
