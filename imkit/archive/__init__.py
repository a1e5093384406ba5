"""`Archive`: many threads on disk, brought up to date with few requests, read by pandas, SQL and Dask.

    <archive>/
        messages/day=2026-03-01/*.parquet      each message once, as it reads now; what is gone is marked
        versions/day=2026-03-01/*.parquet      as messages read before they were edited
        attachments/ab/abcdef…                 files, named by their sha256, and a table of them by day
        live/day=2026-03-01/*.json             edits and recalls as they were seen, where a log was kept
        catalogue/                             what of all that counts, and how far each thread has been read

Days are UTC days of the messages' times. `messages/**/*.parquet` holds no message twice while nobody writes, so it can
be given to any reader of Parquet. The columns are those of `imkit.history.frames` and of `imkit.archive.parquet`.
"""

from imkit.archive.archive import Archive

__all__ = ["Archive"]
