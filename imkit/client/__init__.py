"""One login at the service: app, credentials, connection, REST calls, rate limit, sends and events.

`imkit.client.account` puts the parts together; begin there. Everything here runs on imkit's own loop (`imkit.portal`).
These modules may import `imkit.wire` and the plain modules at the top of the package. They know nothing of DataFrames,
forms or the sandbox.
"""
