"""The one event loop imkit owns, in its own thread, and what gives each async method its plain face.

A notebook's kernel has a loop of its own, and which thread a widget callback runs in depends on the kernel's
version. A loop that imkit owns is the one shape that works on all of them: sockets, locks and queues are born and
used on it, and everybody else hands it coroutines.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import functools
import inspect
import os
import queue
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, cast, overload

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")

# A wait with no timeout cannot be interrupted on Windows; one that wakes now and then can, everywhere.
_WAKE_SECONDS = 0.2


class Portal:
    """An event loop in a daemon thread.

    Example:
        >>> async def answer() -> int:
        ...     return 42
        >>> portal().call(answer())
        42
    """

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._work: set[asyncio.Task[Any]] = set()
        self._farewells: dict[Callable[[], Coroutine[Any, Any, None]], None] = {}
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._main, name="imkit-loop", daemon=True)
        self._thread.start()
        self._ready.wait()
        atexit.register(self.close)

    def _main(self) -> None:
        # Not asyncio.Runner: it waits for the loop's executor in a new thread, and when the interpreter ends there are
        # none to be had any more.
        loop = asyncio.new_event_loop()  # noqa: TID251  # this is the one
        self._loop = loop
        self._stop = asyncio.Event()
        try:
            loop.call_soon(self._ready.set)
            loop.run_until_complete(self._stop.wait())
        finally:
            loop.run_until_complete(_cancel_all())
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()

    @property
    def is_current(self) -> bool:
        """Whether the caller is on this loop's thread."""
        return threading.current_thread() is self._thread

    def _check_alive(self, work: Coroutine[Any, Any, Any]) -> None:
        if not self._thread.is_alive():
            work.close()
            raise RuntimeError("imkit's event loop has ended with the interpreter")

    def submit(self, work: Coroutine[Any, Any, R]) -> concurrent.futures.Future[R]:
        """Start a coroutine on the loop and return its future; for callbacks, which must not wait."""
        self._check_alive(work)
        future: concurrent.futures.Future[R] = concurrent.futures.Future()
        self._loop.call_soon_threadsafe(self._start, work, future)
        return future

    def _start(self, work: Coroutine[Any, Any, R], future: concurrent.futures.Future[R]) -> None:
        """Run a coroutine as a task whose outcome `future` takes, and whose cancelling `future` brings about."""
        if future.cancelled():
            work.close()
            return
        task = self._loop.create_task(work)
        self._work.add(task)  # asyncio itself holds tasks weakly, and the garbage collector would take them

        def done(task: asyncio.Task[R]) -> None:
            self._work.discard(task)
            if task.cancelled():
                future.cancel()
            error = None if task.cancelled() else task.exception()
            if not future.set_running_or_notify_cancel():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(task.result())

        def cancelled(future: concurrent.futures.Future[R]) -> None:
            if future.cancelled() and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(task.cancel)

        task.add_done_callback(done)
        future.add_done_callback(cancelled)

    def call(self, work: Coroutine[Any, Any, R]) -> R:
        """Run a coroutine on the loop and wait for it; an interrupt (the stop button) cancels it.

        Raises:
            RuntimeError: called on the loop itself, where waiting would stop everything.
        """
        if self.is_current:
            work.close()
            raise RuntimeError("a plain call inside imkit's own loop would wait for itself: use `await ….aio(…)`")
        self._check_alive(work)
        # The future is there before the work begins, so that an interrupt at any moment finds what to cancel.
        future: concurrent.futures.Future[R] = concurrent.futures.Future()
        try:
            self._loop.call_soon_threadsafe(self._start, work, future)
            while True:
                try:
                    return future.result(_WAKE_SECONDS)
                except TimeoutError:
                    if future.done():  # the work's own TimeoutError
                        return future.result()
        except BaseException:
            future.cancel()
            raise

    def run(self, function: Callable[[], R]) -> R:
        """Run a plain, quick function on the loop's thread, where imkit's state lives, and return its result."""
        if self.is_current:
            return function()

        async def work() -> R:
            return function()

        return self.call(work())

    async def wait(self, work: Coroutine[Any, Any, R]) -> R:
        """Run a coroutine on the loop and await it from any other; cancelling the await cancels the work."""
        if self.is_current:
            return await work
        return await asyncio.wrap_future(self.submit(work))

    def before_close(self, farewell: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Have an async function run before the loop ends, so that the other side is told and not cut off."""
        self._farewells[farewell] = None

    async def _say_farewell(self) -> None:
        async with asyncio.timeout(2):
            for farewell in self._farewells:
                await farewell()

    def close(self) -> None:
        """End the loop; what is left on it is cancelled. Runs by itself when the interpreter ends."""
        if self._thread.is_alive() and self.pid == os.getpid():
            with contextlib.suppress(TimeoutError):
                self.call(self._say_farewell())
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(3)


async def _cancel_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


_portal: Portal | None = None
_portal_lock = threading.Lock()


def portal() -> Portal:
    """Return the process's one portal, made on first use (and anew in a forked child)."""
    global _portal
    with _portal_lock:
        if _portal is None or _portal.pid != os.getpid():
            _portal = Portal()
        return _portal


class Blocking(Generic[P, R]):
    """A callable with two faces: called plainly it blocks, through `.aio` it is awaited."""

    def __init__(self, function: Callable[P, Coroutine[Any, Any, R]]) -> None:
        self._function = function
        functools.update_wrapper(self, function)

    def __getattr__(self, name: str) -> Any:
        if name == "__signature__":  # worked out when somebody looks: a method is looked up at each call
            return inspect.signature(self._function)
        raise AttributeError(name)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run it and wait for the result; the stop button of a notebook cancels it."""
        __tracebackhide__ = True
        return portal().call(self._function(*args, **kwargs))

    async def aio(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Do the same for who awaits it, on any event loop; cancelling the await cancels the work."""
        return await portal().wait(self._function(*args, **kwargs))

    def __repr__(self) -> str:
        return f"<{self.__qualname__}: call it, or await .aio(…)>"


class blocking(Generic[S, P, R]):
    """Give an async method a plain face: `thing.method()` blocks, `await thing.method.aio()` does not.

    Example:
        >>> class Tea:
        ...     @blocking
        ...     async def brew(self, minutes: int) -> str:
        ...         return f"{minutes} min"
        >>> Tea().brew(3)
        '3 min'
    """

    def __init__(self, method: Callable[Concatenate[S, P], Coroutine[Any, Any, R]]) -> None:
        self._method = method
        self.__doc__ = method.__doc__
        self.__wrapped__ = method

    @overload
    def __get__(self, instance: None, owner: type) -> blocking[S, P, R]: ...

    @overload
    def __get__(self, instance: S, owner: type) -> Blocking[P, R]: ...

    def __get__(self, instance: S | None, owner: type) -> blocking[S, P, R] | Blocking[P, R]:
        if instance is None:
            return self
        bound: Callable[P, Coroutine[Any, Any, R]] = self._method.__get__(instance, owner)
        return Blocking(bound)

    def __call__(self, instance: S, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call it as a function of the class: `Tea.brew(tea, 3)`."""
        return portal().call(self._method(instance, *args, **kwargs))


async def to_its_end(work: Coroutine[Any, Any, R], stop: Callable[[], None] | None = None) -> R:
    """Await what is done as a whole or not at all: a cancelling, or several, take effect when it is over.

    Args:
        work: what is done.
        stop: called at each cancelling, to have it over soon.

    Raises:
        asyncio.CancelledError: the caller was cancelled meanwhile.
    """
    task = asyncio.create_task(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
            if stop is not None:
                stop()
    if cancelled is None:
        return task.result()
    if not task.cancelled():
        task.exception()  # has been seen
    raise cancelled


class Worker:
    """A daemon thread that runs users' plain functions, one after another, in the order given.

    They may block and may use the plain face of imkit; a thread of their own keeps the connection alive meanwhile,
    and a daemon one lets the interpreter end although one of them never returns.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: queue.SimpleQueue[tuple[concurrent.futures.Future[Any], Callable[[], Any]] | None]
        self._jobs = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    async def run(self, function: Callable[..., Awaitable[R] | R], *args: Any) -> R:
        """Run a function: a plain one on this thread, an async one on the portal; return its result."""
        if inspect.iscoroutinefunction(function):
            return await _contained(function(*args))
        if self._thread is None:
            self._thread = threading.Thread(target=self._main, name=self._name, daemon=True)
            self._thread.start()
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        self._jobs.put((future, functools.partial(function, *args)))
        result = await asyncio.wrap_future(future)
        return await _contained(result) if inspect.isawaitable(result) else cast(R, result)

    def close(self) -> None:
        """Let the thread end when it has done what it was given."""
        self._jobs.put(None)

    def _main(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, function = job
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = function()
            except Exception as error:
                future.set_exception(error if not isinstance(error, StopIteration) else _uncaught(error))
            except BaseException as error:
                future.set_exception(_uncaught(error))
            else:
                future.set_result(result)


async def _contained(work: Awaitable[R]) -> R:
    """Await a user's work; `sys.exit()` in it must not end the loop of everybody."""
    try:
        return await work
    except (SystemExit, KeyboardInterrupt) as error:
        raise _uncaught(error) from error


def _uncaught(error: BaseException) -> RuntimeError:
    """Return what stands for an exception that a future cannot carry, or that would end a loop."""
    wrapped = RuntimeError(f"{type(error).__name__} was raised in a function called by imkit")
    wrapped.__cause__ = error
    return wrapped
