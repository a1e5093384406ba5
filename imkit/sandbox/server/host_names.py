"""Which names a request may use for this server: no page of another site may read it under its own name.

A web page may let the name of its own site lead to 127.0.0.1 (DNS rebinding). The browser then takes the sandbox for
a part of that site, and asks for no permission. Such a request carries the site's name in its Host header. Nobody can
do this with an IP address, nor with a name without a dot, which no site of the Internet has.
"""

from __future__ import annotations

import ipaddress

from starlette.types import Scope


def is_own_name(host: str, listens_at: str) -> bool:
    """Return whether a Host header names this server.

    Args:
        host: the header, with or without a port.
        listens_at: the address or name that the server was told to listen at.

    Example:
        >>> [is_own_name(host, "127.0.0.1") for host in ("127.0.0.1:8080", "[::1]:8080", "localhost", "site.example")]
        [True, True, True, False]
    """
    name = _without_port(host).lower().rstrip(".")
    if name == listens_at.lower() or (name and "." not in name and ":" not in name) or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def host_of(scope: Scope) -> str:
    """Return the Host header of a request; "localhost" without one, as from a client of HTTP/1.0."""
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "localhost")


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdecimal() else host
