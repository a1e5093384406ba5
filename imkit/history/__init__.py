"""Pages of roaming history (消息漫游) → columns → DataFrames and files.

| module | what it does |
|---|---|
| `arguments` | checks the arguments of `history()` and `messages()` |
| `message_pages` | reads page by page, for `messages()` |
| `fetch` | loads many threads at the same time; `time_shards` and `time_ranges` divide a long history by time |
| `columns` | messages → Arrow columns; `bulk_decode`, `bulk_ext` and `batch_protobuf` decode thousands at once |
| `load` | stops, resumes and finishes a load; `frames` makes its DataFrame; `progress` shows how far it is |
| `summary` | the line above a frame in a notebook |
| `export` | writes a frame to a file |

It may import `imkit.client` and what is below that.
"""
