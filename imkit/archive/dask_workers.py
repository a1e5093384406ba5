"""A sync spread over Dask workers: each reads some of the conversations and writes files of its own.

A worker is told where the archive is, which app it is and how tokens are had, and works without a session: nothing
that is logged in travels, and a worker opens no socket, so it is no further device of the user. What it has written is
a part of the archive only when the caller, who alone holds the lock, commits it.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from imkit.archive import parquet
from imkit.archive.batching import Intake, Piece, Planned
from imkit.archive.catalogue import StoredFile
from imkit.archive.storage import INSTALL, storage_at
from imkit.client.account import Account
from imkit.client.app import App
from imkit.client.credentials import TokenSource
from imkit.errors import ArchiveError, InvalidMessage
from imkit.portal import portal

_SHARES_A_WORKER = 4  # so that one with the busy threads does not leave the others idle


@dataclass(frozen=True)
class Share:
    """What one task has to do.

    Args:
        path: the archive's, as the caller gave it; the workers have to see the same place there.
        app: with its part of the rate limit.
        user: who asks.
        token: a function that fetches a token from the app server; `None` in the sandbox.
        plans: what is to be read.
        workers: how many requests at once.
        now: in ms since the epoch.
    """

    path: str
    app: App
    user: str
    token: TokenSource | None = field(repr=False)
    plans: Mapping[str, Planned]
    workers: int
    now: int


@dataclass
class Brought:
    """What a task hands back: to be committed, and to be reported."""

    piece: Piece
    failed: dict[str, str]
    reasons: list[str]
    requests: int


def shares(
    path: str,
    app: App,
    user: str,
    token: TokenSource | None,
    plans: Mapping[str, Planned],
    workers: int,
    now: int,
    processes: int,
) -> Iterator[Share]:
    """Yield the work in shares for a number of processes, with the app's rate limit split among them."""
    app = copy.copy(app)
    if app.max_requests_per_second is not None:
        app.max_requests_per_second /= processes
    count = min(processes * _SHARES_A_WORKER, len(plans))
    items = list(plans.items())
    for number in range(count):
        yield Share(path, app, user, token, dict(items[number::count]), workers, now)


def work(share: Share) -> Brought:
    """Do one share, in a worker's thread."""
    return portal().call(_work(share))


async def _work(share: Share) -> Brought:
    storage = storage_at(share.path)
    account = Account(share.user, share.app, await share.app.hosts(), token=share.token)
    whole = Piece()

    async def settle(piece: Piece) -> None:
        whole.written += await asyncio.to_thread(_written, piece.fresh)
        whole.again += piece.again
        whole.reread.update(piece.reread)
        whole.conversations.update(piece.conversations)

    def _written(fresh: list[pa.Table]) -> list[StoredFile]:
        if not fresh:
            return []
        days = parquet.by_day(pa.concat_tables(fresh))
        return [parquet.write(storage, "messages", day, table) for day, table in days]

    try:
        intake = Intake(share.plans, settle, share.now)
        reasons = await intake.read(account, share.workers)
        await intake.flush()
        return Brought(whole, intake.failed, reasons, account.rest.requests)
    finally:
        await account.close()


class Crew:
    """A Dask client and the tasks it was given.

    Args:
        client: a `distributed.Client`.

    Raises:
        InvalidMessage: it is none, or it has no workers.
    """

    def __init__(self, client: Any) -> None:
        try:
            from distributed import Client
        except ImportError as error:
            raise ArchiveError(
                "a sync over Dask workers needs distributed, which is not installed", hint=INSTALL
            ) from error
        if not isinstance(client, Client) or client.asynchronous:
            raise InvalidMessage("client must be a distributed.Client", hint="client = distributed.Client(…)")
        self._client = client
        self._futures: list[Any] = []
        self.processes = len(client.scheduler_info(n_workers=-1)["workers"])
        if not self.processes:
            raise InvalidMessage("the Dask client has no workers", hint="client.wait_for_workers(1)")

    def brought(self, split: Sequence[Share]) -> Generator[Brought, None, None]:
        """Yield what the workers bring, as they finish."""
        from distributed import as_completed

        self._futures = [self._client.submit(work, share, pure=False) for share in split]
        try:
            for future in as_completed(self._futures):
                yield future.result()
        finally:
            self.stop()

    def stop(self) -> None:
        """Take back what has not been brought."""
        self._client.cancel(self._futures)
        self._futures = []
