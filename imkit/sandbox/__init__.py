"""A local IM server to learn and test with: REST and MSYNC on one port, SQLite behind.

It is not for production: a real app's engine is Easemob's cloud.
"""
