"""The log of a sandbox's process: whoever makes the server warn again and again cannot fill the disk with it.

Tracebacks are the largest records. Their middle is left out, if anything must be.
"""

from __future__ import annotations

import logging
from typing import TextIO

from imkit.sandbox.limits import Limits
from imkit.sandbox.server.rate_limit import RateLimit


class LimitedLog(logging.StreamHandler[TextIO]):
    """Writes records to standard error, so many and so long as the limits allow.

    Args:
        limits: the numbers.

    Attributes:
        rate: how many records it still writes.
    """

    def __init__(self, limits: Limits) -> None:
        super().__init__()
        self._most = limits.log_record_characters
        self.rate = RateLimit(limits.log_records_per_second, limits.log_records_at_once)
        self._left_out = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, or count it. The next one that is written says how many were left out."""
        if self.rate.wait():
            self._left_out += 1
        else:
            super().emit(record)

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of a record."""
        text = super().format(record)
        if len(text) > self._most:
            text = f"{text[: self._most // 2]} … {text[-(self._most // 2) :]}"
        if self._left_out:
            text += f"\n({self._left_out:,} records before this one were left out)"
            self._left_out = 0
        return text
