"""imkit's own event loop, and the decorator that makes an async method callable without `await`.

A notebook's kernel has an event loop of its own, and the kernel's version decides which thread runs a widget callback.
So imkit runs one event loop of its own in a daemon thread. That works on every kernel. All sockets, locks and queues
of imkit are created and used on this loop; every other thread only submits coroutines to it.
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
import selectors
import sys
import threading
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, cast, overload

from imkit.errors import IMError
from imkit.misuse import how_awaited, not_awaitable, wrong_call
from imkit.tracebacks import is_raised_by_user, shorten

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
S = TypeVar("S")

# On Windows an interrupt cannot end a wait without a timeout. So a wait wakes up this often, on every system.
_WAKE_SECONDS = 0.2


class _Loop(asyncio.SelectorEventLoop):
    """An event loop that knows its sockets, so that a forked child can let go of them."""

    def __init__(self) -> None:
        self._sockets_in_use = selectors.DefaultSelector()
        self._connections: weakref.WeakSet[asyncio.BaseTransport] = weakref.WeakSet()
        super().__init__(self._sockets_in_use)

    async def create_connection(self, *args: Any, **options: Any) -> Any:
        """Do what every loop does, and note the connection."""
        transport, protocol = await super().create_connection(*args, **options)
        self._connections.add(transport)
        return transport, protocol

    def descriptors(self) -> set[int]:
        """Return the file descriptors of all its sockets, and that of its selector if it has one."""
        found = {key.fd for key in self._sockets_in_use.get_map().values()}
        sockets = [transport.get_extra_info("socket") for transport in self._connections]  # also those that are idle
        found |= {each.fileno() for each in sockets if each is not None}
        if hasattr(self._sockets_in_use, "fileno"):
            found.add(self._sockets_in_use.fileno())
        return found - {-1}


class Portal:
    """An event loop in a daemon thread, to which other threads submit coroutines.

    Example:
        >>> async def answer() -> int:
        ...     return 42
        >>> portal().call(answer())
        42
    """

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._work: set[asyncio.Task[Any]] = set()
        self._closers: dict[Callable[[], Coroutine[Any, Any, None]], None] = {}
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._main, name="imkit-loop", daemon=True)
        self._thread.start()
        self._ready.wait()
        atexit.register(self.close)

    def _main(self) -> None:
        # Not asyncio.Runner: it starts a new thread to wait for the loop's executor, and an interpreter that is ending
        # cannot start threads.
        loop = _Loop() if sys.platform != "win32" else asyncio.new_event_loop()  # noqa: TID251  # the one loop of imkit
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
        """Start a coroutine on the loop and return its future, without waiting; for callbacks, which must not wait."""
        self._check_alive(work)
        future: concurrent.futures.Future[R] = concurrent.futures.Future()
        self._loop.call_soon_threadsafe(self._start, work, future)
        return future

    def _start(self, work: Coroutine[Any, Any, R], future: concurrent.futures.Future[R]) -> None:
        """Run a coroutine as a task. Its result goes to `future`, and cancelling `future` cancels the task."""
        if future.cancelled():
            work.close()
            return
        task = self._loop.create_task(work)
        self._work.add(task)  # asyncio holds tasks only weakly: without this the garbage collector could take one

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
        """Run a coroutine on the loop and wait for its result; an interrupt (the stop button) cancels it.

        Raises:
            RuntimeError: the caller runs on the loop itself, where waiting would block the loop.
        """
        if self.is_current:
            work.close()
            raise RuntimeError("a blocking call on imkit's own loop would wait for itself: use `await ….aio(…)`")
        self._check_alive(work)
        # The future exists before the work begins, so an interrupt can cancel the work at any moment.
        future: concurrent.futures.Future[R] = concurrent.futures.Future()
        try:
            self._loop.call_soon_threadsafe(self._start, work, future)
            while True:
                try:
                    return future.result(_WAKE_SECONDS)
                except TimeoutError:
                    if future.done():  # the coroutine itself raised the TimeoutError
                        return future.result()
        except BaseException:
            future.cancel()
            raise

    def run(self, function: Callable[[], R]) -> R:
        """Run a quick function on the loop's thread, which owns imkit's state, and return its result."""
        if self.is_current:
            return function()

        async def work() -> R:
            return function()

        return self.call(work())

    async def wait(self, work: Coroutine[Any, Any, R]) -> R:
        """Run a coroutine on the loop and await it from any event loop; cancelling the await cancels the work."""
        if self.is_current:
            return await work
        return await asyncio.wrap_future(self.submit(work))

    def before_close(self, closer: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Register an async function to run before the loop ends, such as one that logs sessions out."""
        self._closers[closer] = None

    async def _run_closers(self) -> None:
        async with asyncio.timeout(2):
            for closer in self._closers:
                await closer()

    def close(self) -> None:
        """End the loop and cancel the tasks that are left on it. Runs by itself when the interpreter ends."""
        if self._thread.is_alive() and self.pid == os.getpid():
            with contextlib.suppress(TimeoutError):
                self.call(self._run_closers())
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(3)

    def abandon(self) -> None:
        """In a forked child, let go of the loop of the parent process; its thread does not exist here.

        In this process all its sockets become /dev/null, so nothing can reach their other ends, whatever uses them. Its
        tasks stay as they are: the end of a task would log out, release a lock or remove a file of the parent's.
        """
        nowhere = os.open(os.devnull, os.O_RDWR)
        if isinstance(self._loop, _Loop):
            for descriptor in self._loop.descriptors():
                os.dup2(nowhere, descriptor, inheritable=False)
        os.close(nowhere)
        # The frame of the loop's thread never ends here, so it keeps the portal, and with it the tasks, until the exit.
        self._abandoned_tasks = asyncio.all_tasks(self._loop)


async def _cancel_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


_portal: Portal | None = None
_portal_lock = threading.Lock()


def _abandon_portal_of_parent() -> None:
    global _portal, _portal_lock
    parents, _portal, _portal_lock = _portal, None, threading.Lock()  # another thread may have held the lock
    if parents is not None:
        parents.abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_portal_of_parent)


def portal() -> Portal:
    """Return this process's portal. It is made at the first call; a forked child process makes its own."""
    global _portal
    with _portal_lock:
        if _portal is None:
            if sys.is_finalizing():  # such as the end of a forked child: a new thread would never run
                raise RuntimeError("imkit's event loop cannot begin while the interpreter ends")
            _portal = Portal()
        return _portal


_EXPECTED = (IMError, KeyboardInterrupt, asyncio.CancelledError)


class _ShortTracebacks:
    """Shortens the traceback of an exception that leaves a function of imkit's which the user called.

    It is for the outermost function, so that this function's own frame goes too: its variables may be secret. A fault
    of imkit keeps all its frames: an exception that is no `IMError` and no interrupt, and that no function of the
    user's raised.
    """

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            return
        if isinstance(error, _EXPECTED) or is_raised_by_user(error):
            shorten(error)


short_tracebacks = _ShortTracebacks()


class Blocking(Protocol[P, R_co]):
    """The type of a blocking call: a function that also has an awaitable form, `.aio`."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Run the call and wait for its result."""

    async def aio(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Run the same call and await its result."""


def blocking_function(function: Callable[P, Coroutine[Any, Any, R]]) -> Blocking[P, R]:
    """Return a function that runs an async function and blocks until it is done, and that has an `.aio`.

    The stop button of a notebook cancels a call that blocks. `.aio` can be awaited on any event loop; cancelling the
    await cancels the work.

    Both are plain functions with the name, the signature and the docstring of `function`, because Shift+Tab in
    JupyterLab shows functions best: of another callable it shows the class and its `__call__` as well.

    Example:
        >>> async def brew(minutes: int) -> str:
        ...     return f"{minutes} min"
        >>> blocking_function(brew)(3)
        '3 min'
    """

    def begin(*args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        try:
            return function(*args, **kwargs)
        except TypeError:  # an async function only takes its arguments here
            if (error := wrong_call(function, args, kwargs)) is None:
                raise
        raise error

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        __tracebackhide__ = True  # IPython's mode Verbose would show the arguments beside a fault of imkit
        with short_tracebacks:
            if (awaited := how_awaited()) is not None:
                raise not_awaitable(function, awaited, has_aio=True)
            return portal().call(begin(*args, **kwargs))

    @functools.wraps(function)
    async def aio(*args: P.args, **kwargs: P.kwargs) -> R:
        __tracebackhide__ = True
        with short_tracebacks:
            return await portal().wait(begin(*args, **kwargs))

    call.aio = aio  # type: ignore[attr-defined]  # functions may have attributes
    return cast("Blocking[P, R]", call)


class blocking(Generic[S, P, R]):
    """Make an async method callable without `await`: `thing.method()` blocks, `await thing.method.aio()` does not.

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

    @overload
    def __get__(self, instance: None, owner: type) -> Blocking[Concatenate[S, P], R]: ...

    @overload
    def __get__(self, instance: S, owner: type) -> Blocking[P, R]: ...

    def __get__(self, instance: S | None, owner: type) -> Blocking[Concatenate[S, P], R] | Blocking[P, R]:
        if instance is None:
            return blocking_function(self._method)
        bound: Callable[P, Coroutine[Any, Any, R]] = self._method.__get__(instance, owner)
        return blocking_function(bound)


async def to_its_end(work: Coroutine[Any, Any, R], stop: Callable[[], None] | None = None) -> R:
    """Await work that must not be cut off half-way: a cancellation takes effect only when the work is over.

    Args:
        work: the work that must run to its end.
        stop: called at each cancellation, so that the work can end soon.

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
        task.exception()  # marks it as retrieved, or asyncio would log it
    raise cancelled


class FirstErrorTaskGroup(asyncio.TaskGroup):
    """A task group that raises the first error itself, and no ExceptionGroup, as the caller of a call expects.

    Example:
        >>> async def brew_two() -> list[str]:
        ...     async with FirstErrorTaskGroup() as group:
        ...         cups = [group.create_task(asyncio.sleep(0, tea)) for tea in ("oolong", "pu'er")]
        ...     return [cup.result() for cup in cups]
        >>> portal().call(brew_two())
        ['oolong', "pu'er"]
    """

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await super().__aexit__(kind, error, trace)
            return
        except BaseExceptionGroup as group:
            first = group.exceptions[0]
        raise first  # not in the handler: the group would become its context


class Worker:
    """A daemon thread that runs the functions users give to imkit, one after another, in the order given.

    A user's function may block and may make blocking calls of imkit: it does not run on the loop, so the connection
    stays alive meanwhile. The thread is a daemon thread, so the interpreter can end although a function never returns.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: queue.SimpleQueue[tuple[concurrent.futures.Future[Any], Callable[[], Any]] | None]
        self._jobs = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    async def run(self, function: Callable[..., Awaitable[R] | R], *args: Any) -> R:
        """Run a function and return its result: a plain one on this thread, an async one on the portal's loop."""
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
        """End the thread after the functions that were given to it so far."""
        self._jobs.put(None)

    def _main(self) -> None:
        process_id = os.getpid()
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
            if os.getpid() != process_id:  # the function forked: nobody gives this thread of the child a next one
                return


async def _contained(work: Awaitable[R]) -> R:
    """Await a user's coroutine; a `sys.exit()` in it must not end imkit's loop."""
    try:
        return await work
    except (SystemExit, KeyboardInterrupt) as error:
        raise _uncaught(error) from error


def _uncaught(error: BaseException) -> RuntimeError:
    """Return a RuntimeError in place of an exception that a future cannot carry or that would end a loop."""
    wrapped = RuntimeError(f"{type(error).__name__} was raised in a function called by imkit")
    wrapped.__cause__ = error
    return wrapped
