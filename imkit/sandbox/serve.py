"""What `imkit sandbox` does before its server runs: it gets the data, listens, and registers as the shared sandbox.

While a server has the data of the shared sandbox, it is the shared sandbox. It writes the state file as soon as it has
them. So a login that comes while the demo community is being made finds it, and waits.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from imkit.sandbox.claim import claim, in_use
from imkit.sandbox.endpoints import version
from imkit.sandbox.home import lock_of, shared_files
from imkit.sandbox.options import Options
from imkit.sandbox.server.server import Server, listen
from imkit.sandbox.state import State, remove_state, write_state

_ENDING_SECONDS = 3  # an earlier server with the same data may be ending


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a server keeps its data, and at which port it listens.

    Attributes:
        port: the port; 0 for a free one.
        data: the file for the data; None for that of the shared sandbox.
        in_memory: keep the data in memory, and in no file.
        in_background: a login started it.
    """

    port: int = 0
    data: Path | None = None
    in_memory: bool = False
    in_background: bool = False

    @property
    def is_shared(self) -> bool:
        """Whether a server with these data is the shared sandbox."""
        return self.data is None and not self.in_memory


class PreparedServer:
    """A server that has its data and listens, and that does not answer yet.

    Args:
        server: the server.
        listening: its sockets.
        address: where it is, for its user.
        register: writes the state file, if it is the shared sandbox; the argument tells whether it still starts.

    Attributes:
        server, address: as given.
    """

    def __init__(
        self,
        server: Server,
        listening: Sequence[socket.socket],
        address: dict[str, str],
        register: Callable[[Server | None], None],
    ) -> None:
        self.server = server
        self.address = address
        self._listening = listening
        self._register = register

    def run(self, ready: Callable[[], None]) -> None:
        """Serve until the server is told to end; `ready` is called when it accepts connections."""

        def announce() -> None:
            self._register(self.server)
            ready()

        self.server.run(self._listening, announce)


@contextlib.contextmanager
def prepared(options: Options, place: Place, idle_exit_seconds: float | None) -> Iterator[PreparedServer]:
    """Give a server that is ready to run; afterwards let go of its data and of its state file.

    Args:
        options: the server's settings.
        place: where it keeps its data, and where it listens.
        idle_exit_seconds: as for `Server`.

    Raises:
        DataInUse: another server uses the data.
        FileError: the folder of the shared data cannot be used.
        OSError, OverflowError: it cannot listen there, or it cannot make its file.
        sqlite3.Error: the file does not hold the data of a sandbox.
    """
    files = shared_files() if place.is_shared else None
    path = place.data if files is None else files.data
    with contextlib.ExitStack() as cleanup:
        if files is not None and not place.in_background:
            cleanup.enter_context(claim(files))
        elif path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                cleanup.enter_context(FileLock(lock_of(path), timeout=_ENDING_SECONDS))
            except Timeout:
                raise in_use(path) from None
        listening = [cleanup.enter_context(listen(options.host, place.port))]
        bound, port = listening[0].getsockname()[:2]
        host, own_host = _hosts(options.host, bound)
        if own_host != host:
            listening.append(cleanup.enter_context(listen(own_host, port)))

        def register(server: Server | None) -> None:
            if files is not None:
                state = State(
                    **_address(options.app_key, own_host, port),
                    version=version(),
                    pid=os.getpid(),
                    secret=options.secret,
                    demo_password=None if server is None else server.demo_password,
                    in_terminal=not place.in_background,
                    is_starting=server is None,
                )
                write_state(files.state, state)

        if files is not None:
            cleanup.callback(remove_state, files.state, options.secret)
        register(None)
        server = Server(options, path, idle_exit_seconds=idle_exit_seconds)
        yield PreparedServer(server, listening, _address(options.app_key, host, port), register)


def _hosts(host: str, bound: str) -> tuple[str, str]:
    """Return the host that the server's address names, and the one at which this machine's programs reach it.

    imkit logs in over plain http on the same machine only. So a server that listens at one address of the network
    listens at 127.0.0.1 as well.

    Args:
        host: as the user gave it.
        bound: the IP address that it stands for.
    """
    address = ipaddress.ip_address(bound)
    if address.is_loopback:
        return host, host
    if address.is_unspecified:  # every address of this machine
        own = "127.0.0.1" if address.version == 4 else "::1"
        return own, own
    return host, "127.0.0.1"


def _address(app_key: str, host: str, port: int) -> dict[str, str]:
    named = f"[{host}]" if ":" in host else host
    return {
        "app_key": app_key,
        "rest_url": f"http://{named}:{port}",
        "ws_url": f"ws://{named}:{port}/websocket",
    }
