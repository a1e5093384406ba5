"""The log records of one logger: sessions of other tests, and libraries, may log at the same time."""

import logging

import pytest


def logged(caplog: pytest.LogCaptureFixture, logger: str) -> list[logging.LogRecord]:
    """Return the records that a logger has written during this test, also those of loggers beneath it."""
    return [record for record in caplog.records if f"{record.name}.".startswith(f"{logger}.")]
