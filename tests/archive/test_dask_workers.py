"""A sync over Dask workers gives the same rows as one process, and keeps within the app's rate limit."""

import pickle
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import imkit
from imkit.archive import Archive
from imkit.archive.batching import ReadPlan
from imkit.archive.catalogue import ConversationState
from imkit.archive.dask_workers import DaskPool, Task, split_into_tasks
from tests.archive.conftest import Tea


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_two_processes_give_the_same_rows_as_one(client: Any, tea: Tea, archive: Archive, tmp_path: Path) -> None:
    threads = [tea.thread(f"Tea {number}", *map(str, range(number))) for number in range(10)]
    one = Archive(tmp_path / "one")
    alone = one.sync(tea.alice, tea.group)
    reported: list[int] = []
    together = archive.sync(tea.alice, tea.group, client=client, progress=lambda done, _: reported.append(done))
    assert (together.rows_added, set(together.new)) == (alone.rows_added, set(alone.new))
    assert together.requests >= alone.requests
    assert reported[-1] == 55
    pd.testing.assert_frame_equal(archive.frame(), one.frame())
    assert archive.verify().notes == []
    assert archive.verify().ok

    threads[3].recall(next(iter(threads[3].messages())))
    threads[9].destroy()
    threads[4].send("more")
    report = archive.sync(tea.alice, tea.group, client=client)
    assert (report.rows_added, report.rows_gone, list(report.vanished)) == (1, 1, [threads[9].id])
    assert archive.dask().groupby("sender").size().compute().sum() == len(archive.frame())
    assert archive.sync(tea.alice, tea.group, client=client, lookback=timedelta(0)).unchanged == 10


def test_the_rate_limit_is_divided_and_tasks_hold_no_secret(tea: Tea) -> None:
    app = imkit.App("org#app", rest_url="http://127.0.0.1:1", ws_url="ws://127.0.0.1:1", max_requests_per_second=90)
    plans = {str(number): ReadPlan(ConversationState(str(number)), ((None, None),)) for number in range(20)}
    tasks = split_into_tasks(Task("archive", app, "ann", fetch_token, plans, 8, 0), 3)
    assert {task.app.max_requests_per_second for task in tasks} == {30}
    assert app.max_requests_per_second == 90
    assert sorted(name for task in tasks for name in task.plans) == sorted(plans)
    assert b"s3cret" not in pickle.dumps(tasks)


def fetch_token() -> str:
    return "".join(["s3", "cret"])


def test_wrong_arguments_are_refused(tea: Tea, archive: Archive) -> None:
    with pytest.raises(imkit.InvalidMessage, match=r"distributed\.Client"):
        DaskPool("tcp://127.0.0.1:1")
    not_callable: Any = "t0ken"
    with pytest.raises(imkit.InvalidMessage, match="a function"):
        archive.sync(tea.alice, tea.group, token=not_callable)
