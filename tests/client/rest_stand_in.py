"""A `Rest` that talks to a real small HTTP server."""

import contextlib
from collections.abc import Callable, Iterator

from imkit.client.http import REQUEST_SECONDS
from imkit.client.rate_limit import RateBucket
from imkit.client.rest import Rest
from imkit.portal import portal
from tests.stand_ins import Answer, Asked, HttpStandIn, http_stand_in


async def make_rest(url: str, seconds: float = REQUEST_SECONDS) -> Rest:
    """Return a `Rest` of the app ``org#app`` without a token; it must be made on imkit's loop."""
    return Rest(url, "org#app", RateBucket(None), seconds=seconds)


@contextlib.contextmanager
def rest_at(answer: Callable[[Asked], Answer], seconds: float = REQUEST_SECONDS) -> Iterator[tuple[Rest, HttpStandIn]]:
    """Give a `Rest` of the app ``org#app``, and the server that answers it."""

    with http_stand_in(answer) as server:
        rest = portal().call(make_rest(server.url, seconds))
        try:
            yield rest, server
        finally:
            portal().call(rest.close())
