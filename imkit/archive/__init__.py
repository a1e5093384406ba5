"""`Archive`: the messages of many threads (子区) on disk, updated with few requests, read by pandas, SQL and Dask.

    <archive>/
        messages/day=2026-03-01/*.parquet      the current version of each message, once
        versions/day=2026-03-01/*.parquet      earlier versions of messages that were edited
        attachments/ab/abcdef…                 files, named by their sha256, and a table of them for each day
        live/day=2026-03-01/*.json             edits and recalls that a session saw, one a line, if a live log was kept
        replaced/                              files that were merged into others, for readers that still use them
        catalogue/                             which files count, and how far each conversation has been read

A conversation is a thread or a group. Days are the UTC days of the messages' times. While no writer is at work,
`messages/**/*.parquet` holds no message twice, so any reader of Parquet can use it. The columns are those of
`imkit.history.columns` and of `imkit.archive.parquet`; `gone_at` marks a message that the service no longer has.
"""

from imkit.archive.archive import Archive

__all__ = ["Archive"]
