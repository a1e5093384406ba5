"""The sandbox's server: REST and MSYNC on one port, in a process of its own, with its data in SQLite.

`server` puts it together; `msync` speaks the socket's protocol and the `rest_…` modules the REST calls; `uplink`
decides about each message that a client sends, `permissions` who may do what, `delivery` who gets it; `store` keeps it.
It may import `imkit.wire` and the sandbox's settings, and never `imkit.client`: the official SDK is the judge of both
sides, and neither must be wrong in the way of the other.
"""
