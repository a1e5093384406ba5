"""The portal: one loop, two faces, and where users' functions run."""

import _thread
import asyncio
import gc
import inspect
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from imkit.portal import Portal, Worker, blocking, portal, to_its_end


class Tea:
    """Something with two faces, and what a test wants to know of it."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.cancelled = threading.Event()

    @blocking
    async def brew(self, minutes: int, *, kind: str = "oolong") -> str:
        """Brew a cup."""
        return f"{kind}, {minutes} min"

    @blocking
    async def wait(self) -> None:
        """Wait until cancelled."""
        self.began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    @blocking
    async def overrun(self) -> None:
        """Raise what a wait would raise too."""
        raise TimeoutError("the tea's own")

    @blocking
    async def nested(self) -> str:
        """Use the plain face where it cannot work."""
        return self.brew(1)

    @blocking
    async def where(self) -> str:
        """Name the thread that does the work."""
        return threading.current_thread().name


# ------------------------------------------------------------------- two faces


def test_both_faces_do_the_same() -> None:
    tea = Tea()

    async def main() -> str:
        return await tea.brew.aio(3, kind="puer")

    assert tea.brew(3) == "oolong, 3 min"
    assert Tea.brew(tea, 4) == "oolong, 4 min"
    assert asyncio.run(main()) == "puer, 3 min"


def test_work_is_done_on_imkits_own_thread() -> None:
    tea = Tea()

    async def main() -> str:
        return await tea.where.aio()

    assert tea.where() == asyncio.run(main()) == "imkit-loop"


def test_names_signatures_and_docstrings_survive() -> None:
    assert Tea.brew.__doc__ == Tea().brew.__doc__ == "Brew a cup."
    assert str(inspect.signature(Tea().brew)) == "(minutes: int, *, kind: str = 'oolong') -> str"
    assert list(inspect.signature(Tea.brew).parameters) == ["self", "minutes", "kind"]
    assert getattr(Tea().brew, "__name__", "") == "brew"
    assert inspect.isfunction(Tea().brew)  # JupyterLab shows functions best
    assert inspect.iscoroutinefunction(Tea().brew.aio)


def test_a_wrong_argument_is_said_at_once() -> None:
    unknown: dict[str, Any] = {"sugar": True}
    with pytest.raises(TypeError, match="unexpected keyword"):
        Tea().brew(3, **unknown)


def test_the_works_own_timeout_is_told_apart_from_the_waits() -> None:
    with pytest.raises(TimeoutError, match="the tea's own"):
        Tea().overrun()

    async def slow() -> str:
        await asyncio.sleep(0.5)  # longer than the wait wakes up for
        return "done"

    assert portal().call(slow()) == "done"


def test_a_plain_call_on_the_loop_raises_and_leaves_nothing_behind() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RuntimeError, match=r"\.aio"):
            Tea().nested()
        gc.collect()  # a coroutine that was never awaited would say so now


def test_a_plain_call_works_while_another_loop_runs() -> None:
    # As in a notebook: the kernel's loop runs in the thread of the cell.
    async def cell() -> str:
        return Tea().brew(2)

    assert asyncio.run(cell()) == "oolong, 2 min"


def test_calls_from_many_threads_do_not_wait_for_each_other() -> None:
    gate = asyncio.Event()

    async def wait() -> None:
        await gate.wait()

    async def open_gate() -> None:
        gate.set()

    waiting = [threading.Thread(target=lambda: portal().call(wait())) for _ in range(8)]
    for thread in waiting:
        thread.start()
    portal().call(open_gate())
    for thread in waiting:
        thread.join(5)
    assert not any(thread.is_alive() for thread in waiting)


# ---------------------------------------------------------------- being stopped


def test_the_stop_button_cancels_the_work() -> None:
    tea = Tea()

    def stop() -> None:
        tea.began.wait(5)
        _thread.interrupt_main()

    threading.Thread(target=stop, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        tea.wait()
    assert tea.cancelled.wait(5)
    assert tea.brew(1) == "oolong, 1 min"  # and the loop goes on


def test_cancelling_an_await_cancels_the_work() -> None:
    tea = Tea()

    async def main() -> None:
        task = asyncio.create_task(tea.wait.aio())
        await asyncio.to_thread(tea.began.wait, 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert tea.cancelled.wait(5)


def test_cancelling_before_the_first_step_leaves_no_coroutine_behind() -> None:
    async def main() -> None:
        task = asyncio.create_task(Tea().brew.aio(3))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        asyncio.run(main())
        gc.collect()


def test_a_time_limit_of_the_callers_loop_holds() -> None:
    tea = Tea()

    async def main() -> None:
        async with asyncio.timeout(0.05):
            await tea.wait.aio()

    with pytest.raises(TimeoutError):
        asyncio.run(main())
    assert tea.cancelled.wait(5)


# ------------------------------------------------------------------- the portal


def test_there_is_one_portal() -> None:
    found: list[Portal] = []
    threads = [threading.Thread(target=lambda: found.append(portal())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert set(found) == {portal()}


def test_run_is_for_quick_functions_and_works_on_the_loop_too() -> None:
    async def on_the_loop() -> str:
        return portal().run(lambda: threading.current_thread().name)

    assert portal().run(lambda: threading.current_thread().name) == portal().call(on_the_loop()) == "imkit-loop"


def test_a_closed_portal_says_so() -> None:
    own = Portal()
    own.close()

    async def nothing() -> None:
        pass

    with pytest.raises(RuntimeError, match="ended"):
        own.call(nothing())


def test_an_interpreter_with_work_left_ends_at_once_and_quietly() -> None:
    code = """if True:
        import asyncio, threading
        from imkit.portal import Worker, portal
        worker = Worker("callbacks")
        blocked = threading.Event()
        began = threading.Event()
        def callback():
            began.set()
            blocked.wait()
        async def forever():
            await asyncio.Event().wait()
        portal().submit(worker.run(callback))
        portal().submit(forever())
        began.wait(5)
        print("bye")
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=10, check=True)
    assert (done.stdout, done.stderr) == ("bye\n", "")


# ------------------------------------------------------------ users' functions


@pytest.fixture
def worker() -> Worker:
    return Worker("imkit-test-worker")


def run(worker: Worker, function: Callable[..., object], *args: object) -> object:
    return portal().call(worker.run(function, *args))


def test_plain_functions_run_on_one_thread_of_their_own_in_order(worker: Worker) -> None:
    seen: list[tuple[int, str]] = []

    async def many() -> None:
        note = [lambda number=number: seen.append((number, threading.current_thread().name)) for number in range(50)]
        await asyncio.gather(*(worker.run(one) for one in note))

    portal().call(many())
    assert seen == [(number, "imkit-test-worker") for number in range(50)]


def test_they_may_use_the_plain_face(worker: Worker) -> None:
    assert run(worker, Tea().brew, 5) == "oolong, 5 min"


def test_async_functions_run_on_the_portal(worker: Worker) -> None:
    async def brew(minutes: int) -> str:
        return f"{minutes} {threading.current_thread().name}"

    class Kettle:
        async def __call__(self) -> str:
            return await brew(2)

    assert run(worker, brew, 3) == "3 imkit-loop"
    assert run(worker, Kettle()) == "2 imkit-loop"
    assert run(worker, lambda: brew(4)) == "4 imkit-loop"


@pytest.mark.parametrize("error", [ValueError("no tea"), StopIteration(1), SystemExit(1), KeyboardInterrupt()])
def test_whatever_they_raise_comes_back_as_an_exception_and_ends_nothing(worker: Worker, error: BaseException) -> None:
    def fail() -> None:
        raise error

    async def fail_async() -> None:
        raise error

    # What would end a thread or a loop, or cannot be carried by a future, arrives as a RuntimeError.
    expected = ValueError if isinstance(error, ValueError) else RuntimeError
    for function in (fail, fail_async):
        with pytest.raises(expected) as caught:
            run(worker, function)
        assert error in (caught.value, caught.value.__cause__)
    assert run(worker, Tea().brew, 1) == "oolong, 1 min"


def test_a_closed_worker_ends_its_thread(worker: Worker) -> None:
    thread = run(worker, threading.current_thread)
    assert isinstance(thread, threading.Thread)
    worker.close()
    thread.join(5)
    assert not thread.is_alive()


# ----------------------------------------------------------- as a whole or not at all


def test_two_cancellings_take_effect_when_the_work_is_over() -> None:
    asked: list[str] = []

    async def brewing() -> None:
        go_on, over = asyncio.Event(), []

        async def work() -> None:
            await go_on.wait()
            over.append("done")

        task = asyncio.create_task(to_its_end(work(), lambda: asked.append("stop")))
        for number in (0, 1, 2):
            # What was scheduled has its turn: the work begins, a cancelling arrives.
            for _ in range(5):
                await asyncio.sleep(0)
            assert not task.done()
            assert len(asked) == number
            if number < 2:
                task.cancel()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert over == ["done"]

    portal().call(brewing())
    assert asked == ["stop", "stop"]


def test_what_is_done_as_a_whole_has_its_outcome() -> None:
    async def answer() -> int:
        return 42

    async def fail() -> None:
        raise ValueError("tea")

    assert portal().call(to_its_end(answer())) == 42
    with pytest.raises(ValueError, match="tea"):
        portal().call(to_its_end(fail()))
