"""A malformed page of history must never pass for its end: what comes after it would be lost and taken as read."""

import json
from pathlib import Path
from typing import Any

import pytest

import imkit
from tests.history.roaming_service import START, text_entries
from tests.stand_ins import Answer, Asked, odd_session, roamed, text_meta

ONE = text_entries(1)
# Some forms of malformed pages; tests/wire/test_roaming_page.py has all of them.
MALFORMED: list[Any] = [
    None,
    {"msgs": "x", "is_last": True},
    {"msgs": ONE},
    {"msgs": ONE, "is_last": "true"},
    {"msgs": ONE, "is_last": False, "next_key": {"at": 7}},
]
PAGES = pytest.mark.parametrize("data", MALFORMED, ids=lambda data: json.dumps(data)[:40])


class Service:
    """A thread with three messages on two pages. The second page is malformed, so many times.

    Args:
        data: of the malformed page.
        times: how often it comes.
    """

    def __init__(self, data: Any, times: float) -> None:
        self.data, self.times = data, times

    def __call__(self, asked: Asked) -> Answer:
        if asked.path.endswith("/thread/message"):
            newest = [{"thread_id": each, "last_message": {"id": "1003"}} for each in asked.json["threadIds"]]
            return Answer(200, {"entities": newest})
        is_upwards = not asked.json["is_positive"]
        first, second = ((3, 2), (1,)) if is_upwards else ((1,), (2, 3))
        if asked.json["queue"].startswith("7@"):
            return Answer(200, {"data": {"msgs": roamed(text_meta(9, "whole", at=START)), "is_last": True}})
        if asked.json["start"] == -1:
            return Answer(200, {"data": {"msgs": text_entries(*first), "is_last": False, "next_key": "second"}})
        if self.times > 0:
            self.times -= 1
            return Answer(200, {"data": self.data})
        return Answer(200, {"data": {"msgs": text_entries(*second), "is_last": True, "next_key": ""}})


@PAGES
def test_a_history_is_not_complete_after_a_malformed_page(data: Any) -> None:
    service = Service(data, times=1_000)
    with odd_session(service) as (session, _):
        thread = session.thread("42")
        with pytest.raises(imkit.ProtocolError, match="history of 42"):
            thread.history()
        with pytest.raises(imkit.ProtocolError, match="history of 42"):
            list(thread.messages(order="newest"))
        stopped = session.stopped
        assert stopped is not None
        assert stopped.attrs["imkit"]["complete"] is False
        service.times = 0
        whole = thread.history(resume=stopped)
        assert whole["text"].tolist() == ["m1", "m2", "m3"]
        assert whole.attrs["imkit"]["complete"] is True


def test_a_page_that_is_malformed_once_is_asked_for_again() -> None:
    with odd_session(Service({"msgs": "x", "is_last": True}, times=2)) as (session, _):
        frame = session.thread("42").history()
        assert frame["text"].tolist() == ["m1", "m2", "m3"]
        assert frame.attrs["imkit"]["complete"] is True


@pytest.mark.parametrize("data", [{"msgs": "x", "is_last": True}, {"msgs": ONE}], ids=["msgs", "is_last"])
def test_an_archive_does_not_take_a_malformed_page_as_read(data: Any, tmp_path: Path) -> None:
    service = Service(data, times=1_000)
    with odd_session(service) as (session, _):
        archive = imkit.Archive(tmp_path / "archive")
        threads = [session.thread("42"), session.thread("7")]
        report = archive.sync(session, threads)
        assert len(report.reasons) == 1
        assert "42: asking for the history of 42: a page of history" in report.reasons[0]
        assert not report.vanished
        assert not report.forbidden
        stored = archive.frame()
        assert stored.attrs["imkit"]["complete"] is False
        assert set(stored["text"]) >= {"whole"}  # the other thread was read
        service.times = 0
        assert archive.sync(session, threads).reasons == []
        assert set(archive.frame()["text"]) == {"m1", "m2", "m3", "whole"}
        assert archive.frame().attrs["imkit"]["complete"] is True


@pytest.mark.parametrize("answer", [{"entities": "x"}, {"data": "x"}, {"entities": {"id": "7"}}])
def test_a_malformed_list_is_not_an_empty_one(answer: dict[str, Any]) -> None:
    with odd_session(lambda _: Answer(200, answer)) as (session, _):
        listings: list[Any] = [session.group("42").threads(), session.threads(), session.group("42").members()]
        for listing in listings:
            with pytest.raises(imkit.ProtocolError, match="not a list"):
                list(listing)


def test_an_entry_that_is_not_a_group_does_not_end_the_list_of_groups() -> None:
    def answer(asked: Asked) -> Answer:
        page = int(asked.query["pagenum"])
        entries: list[Any] = [{"groupid": str(100 * page + number)} for number in range(20 if page < 2 else 3)]
        return Answer(200, {"data": [*entries[:-2], None, {"groupid": "../7"}]})

    with odd_session(answer) as (session, _):
        assert len(list(session.groups())) == 18 + 18 + 1
