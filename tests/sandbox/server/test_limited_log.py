import io
import logging
from dataclasses import replace

from imkit.sandbox.limits import Limits
from imkit.sandbox.server.limited_log import LimitedLog


class Log:
    """A log that takes three records of 40 characters, and no further ones."""

    def __init__(self) -> None:
        few = replace(Limits(), log_records_per_second=1e-9, log_records_at_once=3, log_record_characters=40)
        self.handler = LimitedLog(few)
        self.written = io.StringIO()
        self.handler.setStream(self.written)

    def warn(self, text: str) -> None:
        self.handler.handle(logging.makeLogRecord({"msg": text, "levelno": logging.WARNING}))


def test_many_records_do_not_fill_the_log() -> None:
    log = Log()
    for number in range(1000):
        log.warn(f"record {number}")
    log.handler.rate.give_back()
    log.warn("the next one")
    lines = ["record 0", "record 1", "record 2", "the next one", "(997 records before this one were left out)"]
    assert log.written.getvalue().splitlines() == lines


def test_of_a_long_record_the_middle_is_left_out() -> None:
    log = Log()
    log.warn("a" * 1000 + "b" * 1000)
    assert log.written.getvalue() == f"{'a' * 20} … {'b' * 20}\n"
