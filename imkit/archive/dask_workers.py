"""A sync over Dask workers: each worker reads some conversations and writes files of its own.

A worker gets the archive's path, the app, and a function that fetches tokens. It gets no session, password or token. It
opens no socket, so it is not a further device of the user. The files that it writes become part of the archive when the
caller commits them: only the caller holds the archive's lock.
"""

from __future__ import annotations

import asyncio
import copy
import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from imkit.archive import parquet
from imkit.archive.batching import Batcher, ReadPlan
from imkit.archive.catalogue import StoredFile
from imkit.archive.merge import CommitBatch
from imkit.archive.storage import storage_at
from imkit.client.account import Account
from imkit.client.app import App
from imkit.client.credentials import TokenSource
from imkit.errors import InvalidMessage
from imkit.portal import portal

_TASKS_A_WORKER = 4  # small tasks: a worker that gets the busy threads does not leave the others idle


@dataclass(frozen=True)
class Task:
    """What one Dask task must read.

    Args:
        path: the archive's path or URL, which must lead a worker to the same place.
        app: the app, with this worker's part of its rate limit.
        user: the user to read as.
        token: a function that fetches a token from the app server; `None` for the sandbox.
        plans: conversation id → what must be read of it.
        workers: number of requests at once.
        now: in ms since the epoch.
    """

    path: str
    app: App
    user: str
    token: TokenSource | None = field(repr=False)
    plans: Mapping[str, ReadPlan]
    workers: int
    now: int


@dataclass
class Result:
    """The result of a Dask task.

    Args:
        batch: what must be committed.
        unreadable: conversation id → why the service refused to show it.
        reasons: why conversations are not complete.
        requests: number of requests that the task made.
    """

    batch: CommitBatch
    unreadable: dict[str, str]
    reasons: list[str]
    requests: int


def split_into_tasks(whole: Task, processes: int) -> list[Task]:
    """Return the work of a sync as tasks for several processes, and divide the app's rate limit among these."""
    app = copy.copy(whole.app)
    if app.max_requests_per_second is not None:
        app.max_requests_per_second /= processes
    plans = list(whole.plans.items())
    count = min(processes * _TASKS_A_WORKER, len(plans))
    return [replace(whole, app=app, plans=dict(plans[number::count])) for number in range(count)]


def run_task(task: Task) -> Result:
    """Run a task, in a thread of a Dask worker."""
    return portal().call(_run_task(task))


async def _run_task(task: Task) -> Result:
    storage = storage_at(task.path)
    account = Account(task.user, task.app, await task.app.hosts(), token=task.token)
    whole = CommitBatch()

    async def collect(batch: CommitBatch) -> None:
        whole.written += await asyncio.to_thread(write_new_rows, batch.new_rows)
        whole.maybe_changed += batch.maybe_changed
        whole.reread.update(batch.reread)
        whole.conversations.update(batch.conversations)

    def write_new_rows(tables: list[pa.Table]) -> list[StoredFile]:
        return parquet.write(storage, "messages", pa.concat_tables(tables)) if tables else []

    try:
        # What a task reads is committed when the task ends, so there is no hurry.
        batcher = Batcher(task.plans, collect, task.now, seconds_a_commit=math.inf)
        reasons = await batcher.read(account, task.workers)
        await batcher.flush()
        return Result(whole, batcher.unreadable, reasons, account.rest.requests)
    finally:
        await account.close()


class DaskPool:
    """A Dask client, and the tasks that run on its workers.

    Args:
        client: a `distributed.Client`.

    Attributes:
        processes: number of workers.

    Raises:
        InvalidMessage: `client` is not a `distributed.Client`, or it has no workers.
    """

    def __init__(self, client: Any) -> None:
        from distributed import Client

        if not isinstance(client, Client) or client.asynchronous:
            raise InvalidMessage("client must be a distributed.Client", hint="client = distributed.Client(…)")
        self._client = client
        self._futures: list[Any] = []
        self.processes = len(client.scheduler_info(n_workers=-1)["workers"])
        if not self.processes:
            raise InvalidMessage("the Dask client has no workers", hint="client.wait_for_workers(1)")

    def run(self, tasks: Sequence[Task]) -> Generator[Result, None, None]:
        """Yield the result of each task when it is finished."""
        from distributed import as_completed

        self._futures = [self._client.submit(run_task, task, pure=False) for task in tasks]
        try:
            for future in as_completed(self._futures):
                yield future.result()
        finally:
            self.cancel()

    def cancel(self) -> None:
        """Cancel the tasks whose results have not been yielded."""
        self._client.cancel(self._futures)
        self._futures = []
