"""The arguments of history() and messages(): what they mean, and which are refused before any request."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pandas as pd
import pytest

import imkit
from imkit.history.arguments import query
from imkit.times import to_milliseconds
from tests.history.recorded_thread import RecordedThread
from tests.stand_ins import Answer, odd_session


def test_moments_may_be_given_in_several_ways(recorded: RecordedThread) -> None:
    moment = recorded.sent[100].time
    taipei = timezone(timedelta(hours=8))
    ways: list[Any] = [
        moment,
        moment.astimezone(taipei),
        moment.isoformat(),
        moment.astimezone(taipei).isoformat(),
        moment.astimezone().replace(tzinfo=None),  # without a zone: local time
        moment.astimezone().replace(tzinfo=None).isoformat(),
        pd.Timestamp(moment),
    ]
    for way in ways:
        assert recorded.thread.history(since=way)["message_id"].tolist() == recorded.ids[100:]
    today = moment.astimezone().date()
    for day in (today, today.isoformat()):
        assert len(recorded.thread.history(since=day, until=date.today() + timedelta(days=1))) == len(recorded.ids)
    assert recorded.thread.history(until=today).empty


def test_a_date_is_its_local_midnight() -> None:
    midnight = datetime(2026, 11, 23).astimezone()
    wanted = query(since=date(2026, 11, 23), until="2026-11-24")
    assert wanted.since == to_milliseconds(midnight)
    assert wanted.until == to_milliseconds(datetime(2026, 11, 24).astimezone())


def test_moments_between_milliseconds_are_rounded_up() -> None:
    moment = datetime(2026, 11, 23, 12, 0, 0, 1, tzinfo=UTC)
    assert query(since=moment).since == to_milliseconds(moment) + 1
    assert query(since=moment.replace(microsecond=0)).since == to_milliseconds(moment)


@pytest.mark.parametrize(
    "arguments",
    [
        {"since": "yesterday"},
        {"since": 1_700_000_000},
        {"since": 1.5},
        {"until": "2026-13-01"},
        {"since": datetime.min},
        {"until": datetime.max.replace(tzinfo=timezone(-timedelta(hours=12)))},
        {"since": date.min},
        {"since": pd.NaT},
        {"since": "2026-11-24", "until": "2026-11-23"},
        {"since": "2026-11-23", "until": "2026-11-23"},
        {"types": "txt"},
        {"types": ["text"]},
        {"types": [None]},
        {"types": 7},
        {"sender": "no user"},
        {"sender": 7},
        {"limit": 0},
        {"limit": -1},
        {"limit": 2.5},
        {"limit": "10"},
        {"order": "random"},
        {"order": None},
    ],
    ids=str,
)
def test_arguments_out_of_bounds(arguments: dict[str, Any]) -> None:
    with odd_session(lambda _: Answer(500, {})) as (session, server):
        thread = session.thread("42")
        calls: list[Callable[..., Any]] = [
            thread.history,
            session.group("42").messages,
            lambda **given: session.history(thread, **given),
        ]
        for call in calls:
            with pytest.raises(imkit.InvalidMessage):
                call(**arguments)
        assert server.asked == []


@pytest.mark.parametrize("targets", [7, None, "42", ["42"], [None]], ids=repr)
def test_a_history_of_anything_but_conversations_is_refused(recorded: RecordedThread, targets: Any) -> None:
    with pytest.raises(imkit.InvalidMessage):
        recorded.alice.history(targets)
