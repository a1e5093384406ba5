"""Compacting an archive."""

import pandas as pd

from imkit.archive import Archive, parquet
from imkit.archive.catalogue import CatalogueWriter
from imkit.archive.merge import CommitBatch, merge_batch
from imkit.archive.storage import storage_at
from imkit.history.columns import batch_of
from tests.archive.conftest import message


def test_compacting_merges_the_files_of_a_day_and_changes_no_row(filled: Archive) -> None:
    storage = storage_at(filled.path)
    with storage.writing(0):
        writer = CatalogueWriter(storage)
        for number in range(72, 80):
            table = parquet.archive_rows(batch_of([message(number)]), "7", 1)
            merge_batch(storage, writer, CommitBatch([table]), 1)
    before = filled.frame()
    assert len(filled.files()) == 11
    assert filled.compact() == 7
    assert len(filled.files()) == 4
    pd.testing.assert_frame_equal(filled.frame(), before)
    assert filled.verify().ok
