"""Limits how often a warning about strangers' input is logged.

A member can send a thousand messages that cannot be read, and a service a million malformed entries. Each would be a
line in the log of everybody who reads them.
"""

from __future__ import annotations

import logging
import time

SHOWN = 5  # of equal warnings; they differ only in their arguments
PERIOD_SECONDS = 60.0


class RepeatedWarnings(logging.Filter):
    """Passes the first warnings of each kind in a minute, and then tells how many were left out.

    Example:
        >>> limited = RepeatedWarnings()
        >>> def warn(number):
        ...     return limited.filter(logging.makeLogRecord({"levelno": 30, "msg": "bad item %d", "args": (number,)}))
        >>> [warn(number) for number in range(7)]
        [True, True, True, True, True, False, False]
    """

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[str, tuple[float, int]] = {}  # by text without arguments: when the period began, how many came

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is logged."""
        if record.levelno < logging.WARNING:
            return True
        now, kind = time.monotonic(), str(record.msg)
        began, count = self._seen.get(kind, (now, 0))
        if now - began >= PERIOD_SECONDS:
            left_out = count - SHOWN
            began, count = now, 0
            if left_out > 0:
                record.msg, record.args = f"{record.getMessage()} (and {left_out:,} more before)", ()
        count += 1
        if count == SHOWN:
            note = f"more warnings of this kind are only counted for {PERIOD_SECONDS:.0f} s"
            record.msg, record.args = f"{record.getMessage()} ({note})", ()
        self._seen[kind] = began, count
        return count <= SHOWN


def logger_of_untrusted(name: str) -> logging.Logger:
    """Return the logger with this name; its warnings are about what strangers wrote, so they are limited."""
    logger = logging.getLogger(name)
    if not any(isinstance(each, RepeatedWarnings) for each in logger.filters):
        logger.addFilter(RepeatedWarnings())
    return logger
