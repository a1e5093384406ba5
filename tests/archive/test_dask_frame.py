"""A Dask DataFrame on an archive."""

import pandas as pd

from imkit.archive import Archive
from imkit.history.frames import COLUMNS


def test_dask_gives_the_same_rows_as_a_frame(filled: Archive) -> None:
    frame = filled.frame()
    lazy = filled.dask()
    assert lazy.npartitions == 3
    computed = lazy.compute().sort_values("time", ignore_index=True)
    assert computed.columns.tolist() == [*COLUMNS, "target_id"]
    texts = {name: "string" for name, dtype in COLUMNS.items() if dtype == "category"}
    pd.testing.assert_frame_equal(computed[[*COLUMNS]], frame.astype(texts))
    counted = lazy.groupby("sender").size().compute().sort_index()
    assert counted.tolist() == frame.groupby("sender", observed=True).size().tolist()
    one_day = filled.dask(since="2026-11-24T00:00Z", until="2026-11-25T00:00Z", columns=["time"], gone=True)
    assert one_day.columns.tolist() == ["time", "gone_at"]
    assert len(one_day) == 24
