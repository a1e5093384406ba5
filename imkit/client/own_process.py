"""A login belongs to the process that made it: a forked child gets a copy of it, which it must not use."""

from __future__ import annotations

import os

from imkit.errors import SessionClosed


class OwnProcess:
    """The process in which a part of a login was made; the part asks it before it uses the login's sockets or tasks.

    Example:
        >>> process = OwnProcess()
        >>> process.is_current
        True
        >>> process.check()
    """

    def __init__(self) -> None:
        self._id = os.getpid()

    @property
    def is_current(self) -> bool:
        """Whether the caller is in this process, and not in a forked child of it."""
        return os.getpid() == self._id

    def check(self) -> None:
        """Refuse to work in a forked child.

        Raises:
            SessionClosed: the caller is in another process.
        """
        if not self.is_current:
            hint = "Log in anew in the child with imkit.login(…). In the parent process the session goes on."
            raise SessionClosed(f"this session belongs to process {self._id}, not to its forked child", hint=hint)
