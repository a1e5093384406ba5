"""A process forks while it has a session: the child never speaks on the parent's sockets, hangs nowhere, can log in."""

import asyncio
import gc
import json
import multiprocessing
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import imkit
from imkit.archive import Archive
from imkit.archive.batching import ReadPlan
from imkit.archive.catalogue import ConversationState
from imkit.archive.dask_workers import Task, run_task
from imkit.portal import portal
from imkit.sandbox.process import Sandbox
from tests.faults.proxy import Proxy
from tests.faults.tea_thread import TeaThread, tea_thread_at
from tests.waits import WAIT

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]
CHILD_SECONDS = 20


def in_child(work: Callable[[], Any]) -> Any:
    """Run a function in a fork of this process, and return its result, which must be plain JSON."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(CHILD_SECONDS)  # a child that hangs is killed
        try:
            told = {"result": work()}
        except BaseException as error:
            told = {"error": f"{type(error).__name__}: {error}"}
        os.write(writer, json.dumps(told).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    assert said, "the child hung, and was killed"
    told = json.loads(said)
    assert "error" not in told, told["error"]
    return told["result"]


def refusal(call: Callable[[], Any]) -> str:
    """Return how a call is refused, or what it returned."""
    try:
        return f"returned {call()!r:.80}"
    except imkit.SessionClosed as error:
        return str(error)
    except BaseException as error:
        return f"{type(error).__name__}: {error}"


@pytest.fixture
def tea(sandbox: Sandbox) -> Iterator[TeaThread]:
    with Proxy(sandbox) as proxy, tea_thread_at(sandbox, proxy) as found:
        yield found


def spoken(tea: TeaThread) -> dict[str, int]:
    """Return how many frames went through the proxy that the parent itself does not send by and by."""
    return {kind: tea.proxy.frames[kind] for kind in ("provision", "send", "logout", "control", "other")}


def check_undisturbed(tea: TeaThread) -> None:
    """Check that the parent's session is still on its first socket, and works in both directions."""
    heard = tea.alice.events(imkit.MessageReceived, replay=False)
    sent = [tea.theirs.send(f"theirs {number}").id for number in range(3)]
    found: list[str] = []
    while len(found) < len(sent):
        event = heard.next(timeout=WAIT)
        assert isinstance(event, imkit.MessageReceived)
        found += [event.message.id] if event.message.sender == tea.bob.user else []
    assert found == sent
    assert tea.thread.send("mine").id
    assert len(list(tea.alice.groups())) == 1
    assert not [event for event in tea.alice.account.events.events_from(0) if isinstance(event, imkit.Disconnected)]


def test_each_call_on_an_inherited_session_is_refused_at_once(tea: TeaThread) -> None:
    alice, thread, group = tea.alice, tea.thread, tea.group
    sent = thread.send(imkit.File(b"two bags", file_name="order.txt"))
    stream, subscription = alice.events(), alice.on(imkit.MessageReceived, print)
    archive = Archive("archive")
    calls: dict[str, Callable[[], Any]] = {
        "send": lambda: thread.send("from the child"),
        "send a file": lambda: thread.send(imkit.File(b"x", file_name="x.txt")),
        "send.aio": lambda: asyncio.run(thread.send.aio("from the child")),
        "session.send": lambda: alice.send(thread, "from the child"),
        "recall": lambda: thread.recall(sent),
        "edit": lambda: thread.edit(sent, "changed"),
        "acknowledge": lambda: thread.acknowledge(sent),
        "history": lambda: thread.history(progress=False),
        "session.history": lambda: alice.history([thread, group], progress=False),
        "messages": lambda: list(thread.messages()),
        "threads": lambda: list(alice.threads()),
        "groups": lambda: list(alice.groups()),
        "members": lambda: list(thread.members()),
        "refresh": lambda: thread.refresh(),
        "create a group": lambda: alice.create_group("tea"),
        "last messages": lambda: alice.last_messages([thread]),
        "stopped": lambda: alice.stopped,
        "download": lambda: alice.download(sent, "downloads"),
        "next": lambda: stream.next(timeout=WAIT),
        "iterate": lambda: list(stream),
        "events": lambda: alice.events(),
        "on": lambda: alice.on(imkit.MessageReceived, print),
        "off": lambda: subscription.off(),
        "sync": lambda: archive.sync(alice, of=thread),
        "watch": lambda: archive.watch(alice),
        "close": lambda: alice.close(),
        "close.aio": lambda: asyncio.run(alice.close.aio()),
    }
    before = spoken(tea)

    def work() -> dict[str, str]:
        said = {name: refusal(call) for name, call in calls.items()}
        with alice:
            pass  # leaving the block has nothing to close here
        return said | {"repr": repr(alice), "connected": str(alice.connected)}

    said = in_child(work)
    assert "process that forked this one" in said.pop("repr")
    assert said.pop("connected") == "False"
    assert not {name: how for name, how in said.items() if "forked child" not in how or "imkit.login" not in how}
    assert spoken(tea) == before
    check_undisturbed(tea)


def test_whatever_uses_an_inherited_socket_reaches_nobody(tea: TeaThread) -> None:
    connection = tea.alice.account.connection
    assert connection._socket is not None
    transport: Any = connection._socket.transport
    list(tea.alice.groups())  # leaves an idle REST connection
    before = spoken(tea)

    def work() -> list[str]:
        # As something would that has not asked whose process this is.
        os.write(transport.get_extra_info("socket").fileno(), b"\x81\x05hello")
        connection._task = None
        gc.collect()
        descriptors = transport._loop.descriptors()
        return [os.readlink(f"/proc/self/fd/{number}") for number in descriptors] if sys.platform == "linux" else []

    assert set(in_child(work)) <= {"/dev/null"}
    assert spoken(tea) == before
    check_undisturbed(tea)


def test_a_new_login_in_the_child_works_beside_the_parents(tea: TeaThread) -> None:
    # The child inherits the app, its rate limit with a lock that is held, and the name of the parent's device.
    app, user, thread_id = tea.proxy.app, tea.alice.user, tea.thread.id
    gate = threading.Event()

    async def hold_the_lock() -> None:
        async with app.rate_bucket(tea.proxy.rest_url)._queue:
            gate.set()
            await asyncio.Event().wait()

    holding = portal().submit(hold_the_lock())
    assert gate.wait(WAIT)

    def work() -> list[Any]:
        with imkit.login(user, app=app) as again:
            sent = again.thread(thread_id).send("from the child").id
            frame = again.thread(thread_id).history(progress=False)
            return [sent, frame["message_id"].to_list(), again.account.identity.resource]

    sent, found, device = in_child(work)
    holding.cancel()
    assert sent in found
    assert device != tea.alice.account.identity.resource
    tea.alice.events(imkit.MessageReceived).next(timeout=WAIT, where=lambda event: event.message.id == sent)
    check_undisturbed(tea)


def test_a_child_that_a_callback_forks_and_leaves_does_not_hang(tea: TeaThread) -> None:
    statuses: queue.SimpleQueue[int] = queue.SimpleQueue()

    def fork(_: imkit.MessageReceived) -> None:
        child = os.fork()
        if child == 0:
            signal.alarm(CHILD_SECONDS)
            return
        statuses.put(os.waitpid(child, 0)[1])

    subscription = tea.alice.on(imkit.MessageReceived, fork, replay=False)
    tea.theirs.send("fork")
    assert statuses.get(timeout=WAIT) == 0
    subscription.off()
    check_undisturbed(tea)


def _senders(session: imkit.Session, app: imkit.App, thread_id: str) -> list[str]:
    """Work of a forked worker: the inherited session is of no use; a login of its own is."""
    try:
        session.thread(thread_id).history(progress=False)
    except imkit.SessionClosed:
        with imkit.login(session.user, app=app) as own:
            frame = own.thread(thread_id).history(progress=False)
            return [str(each) for each in frame.groupby("sender", observed=True)["message_id"].count().index]
    raise AssertionError("the inherited session answered")


def test_forked_workers_read_into_pandas_with_logins_of_their_own(tea: TeaThread) -> None:
    tea.thread.send("for pandas")
    tea.thread.history(progress=False)  # pandas and Arrow have threads of their own
    context: Any = multiprocessing.get_context("fork")
    answers, app = context.Queue(), tea.proxy.app

    def work() -> None:
        answers.put(_senders(tea.alice, app, tea.thread.id))

    workers = [context.Process(target=work, daemon=True) for _ in range(2)]
    for worker in workers:
        worker.start()
    assert [answers.get(timeout=CHILD_SECONDS) for _ in workers] == [[tea.alice.user]] * 2
    for worker in workers:
        worker.join(CHILD_SECONDS)
        assert worker.exitcode == 0
    check_undisturbed(tea)


def test_a_session_that_is_pickled_for_a_pool_says_what_to_do(tea: TeaThread) -> None:
    for inherited in (tea.alice, tea.thread):
        with pytest.raises(TypeError, match=r"log in anew .* imkit\.login"):
            pickle.dumps(inherited)


def test_a_forked_dask_worker_reads_for_an_archive(tea: TeaThread, tmp_path: Path) -> None:
    sent = tea.thread.send("for the archive")
    plans = {tea.thread.id: ReadPlan(ConversationState(tea.thread.id), ((None, None),), sent.id, 0)}
    task = Task(str(tmp_path / "archive"), tea.proxy.app, tea.alice.user, None, plans, 2, 1_795_390_333_491)
    assert in_child(lambda: sum(file.rows for file in run_task(task).batch.written)) == 1
    check_undisturbed(tea)


PROGRAM = """
import gc, os, signal, sys
import imkit

sandbox = imkit.Sandbox()
alice = imkit.login("alice", app=sandbox.app)
group = alice.create_group("tea")
stream = alice.events(imkit.MessageReceived)
pages = iter(alice.groups())
next(pages)
for how in ("exit", "collect", "stop", "block"):
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        if how == "collect":
            del alice, group, stream, pages
            gc.collect()
        if how == "stop":
            sandbox.stop()
            sandbox.kill()
        if how == "block":
            with sandbox, alice:
                assert sandbox.running
        sys.exit(7)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 7, (how, status)
    assert sandbox.running and alice.connected, how
    assert group.send(f"still here after {how}").id
assert not [event for event in alice.account.events.events_from(0) if isinstance(event, imkit.Disconnected)]
waiting = os.fork()
if waiting == 0:
    signal.pause()
alice.close()
process = sandbox._process
sandbox.stop()
os.kill(waiting, 9)
os.waitpid(waiting, 0)
print("the server ended with", process.returncode)
"""


def test_the_end_of_a_child_ends_nothing_of_the_parent() -> None:
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", PROGRAM]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=90, cwd=Path(__file__).parents[2])
    # 0: the server saw the end of its pipe, which the last child does not hold. It was not killed.
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "the server ended with 0\n", "")
