"""Pages of roaming history (消息漫游) to columns, and columns to DataFrames and files.

`fetch` loads the pages of many threads side by side, `time_shards` divides a long history by time, `bulk_decode` reads
thousands of messages at once into Arrow columns, `load` and `frames` make the DataFrame, `export` writes files. It may
import `imkit.client` and what is below that.
"""
