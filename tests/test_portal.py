"""The portal: imkit's own event loop, blocking calls and `.aio`, and the worker that runs users' functions."""

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
    """A class with blocking calls that notes whether its work began and was cancelled."""

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
        """Raise the same error as a wait that takes too long."""
        raise TimeoutError("the tea's own")

    @blocking
    async def nested(self) -> str:
        """Make a blocking call on imkit's loop, where it cannot work."""
        return self.brew(1)

    @blocking
    async def where(self) -> str:
        """Return the name of the thread that does the work."""
        return threading.current_thread().name


# -------------------------------------------------------- blocking and .aio


def test_a_blocking_call_and_aio_do_the_same() -> None:
    tea = Tea()

    async def main() -> str:
        return await tea.brew.aio(3, kind="puer")

    assert tea.brew(3) == "oolong, 3 min"
    assert Tea.brew(tea, 4) == "oolong, 4 min"
    assert asyncio.run(main()) == "puer, 3 min"


def test_the_work_runs_on_imkits_own_thread() -> None:
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


def test_a_wrong_argument_raises_at_once() -> None:
    unknown: dict[str, Any] = {"sugar": True}
    with pytest.raises(TypeError, match="has no argument 'sugar'"):
        Tea().brew(3, **unknown)


def test_a_timeout_error_of_the_work_is_raised() -> None:
    with pytest.raises(TimeoutError, match="the tea's own"):
        Tea().overrun()

    async def slow() -> str:
        await asyncio.sleep(0.5)  # longer than one step of the wait
        return "done"

    assert portal().call(slow()) == "done"


def test_a_blocking_call_on_the_loop_raises_and_leaves_no_coroutine() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RuntimeError, match=r"\.aio"):
            Tea().nested()
        gc.collect()  # a coroutine that was never awaited would warn now


def test_a_blocking_call_works_while_another_loop_runs() -> None:
    # This is the case in a notebook: the kernel's loop runs in the thread of the cell.
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
    assert tea.brew(1) == "oolong, 1 min"  # the loop still works


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


def test_cancelling_before_the_first_step_leaves_no_coroutine() -> None:
    async def main() -> None:
        task = asyncio.create_task(Tea().brew.aio(3))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        asyncio.run(main())
        gc.collect()


def test_a_timeout_of_the_callers_loop_cancels_the_work() -> None:
    tea = Tea()

    async def main() -> None:
        waiting = asyncio.create_task(tea.wait.aio())
        await asyncio.to_thread(tea.began.wait, 5)
        async with asyncio.timeout(0.05):
            await waiting

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


def test_run_calls_a_function_on_the_loop_from_any_thread() -> None:
    async def on_the_loop() -> str:
        return portal().run(lambda: threading.current_thread().name)

    assert portal().run(lambda: threading.current_thread().name) == portal().call(on_the_loop()) == "imkit-loop"


def test_a_closed_portal_refuses_work() -> None:
    own = Portal()
    own.close()

    async def nothing() -> None:
        pass

    with pytest.raises(RuntimeError, match="ended"):
        own.call(nothing())


def test_an_interpreter_with_unfinished_work_ends_at_once_without_output() -> None:
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


def test_a_users_function_may_make_blocking_calls(worker: Worker) -> None:
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
def test_any_error_of_a_users_function_is_raised_and_the_worker_goes_on(worker: Worker, error: BaseException) -> None:
    def fail() -> None:
        raise error

    async def fail_async() -> None:
        raise error

    # An error that would end a thread or a loop, or that a future cannot carry, arrives as a RuntimeError.
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


# ------------------------------------------------- work that is not cut off


def test_two_cancellations_take_effect_when_the_work_is_over() -> None:
    asked: list[str] = []

    async def brewing() -> None:
        go_on, over = asyncio.Event(), []

        async def work() -> None:
            await go_on.wait()
            over.append("done")

        task = asyncio.create_task(to_its_end(work(), lambda: asked.append("stop")))
        for number in (0, 1, 2):
            # Let the loop run what is scheduled: the beginning of the work, a cancellation.
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


def test_uninterrupted_work_returns_its_result_or_raises_its_error() -> None:
    async def answer() -> int:
        return 42

    async def fail() -> None:
        raise ValueError("tea")

    assert portal().call(to_its_end(answer())) == 42
    with pytest.raises(ValueError, match="tea"):
        portal().call(to_its_end(fail()))
