"""The Parquet files of an archive."""

from datetime import timedelta
from pathlib import Path

from tests.archive.conftest import fill


def test_days_are_utc_days(tmp_path: Path) -> None:
    archive = fill(tmp_path / "archive")
    days = archive.sql("select day, min(time) as first, max(time) as last from all_messages group by day order by day")
    assert (days["last"] - days["first"] == timedelta(hours=23)).all()
