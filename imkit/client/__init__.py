"""One login at the service: its app and credentials, its connection, its REST calls, its events and their pace.

Everything here runs on imkit's own loop (`imkit.portal`). It may import `imkit.wire` and the modules at the top of
the package that hold plain data; it knows nothing of tables, forms or the sandbox.
"""
