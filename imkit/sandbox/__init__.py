"""The sandbox (沙箱): a local IM server to learn and test with. It starts, finds and configures the server.

`process` has `Sandbox`, a private server, and `shared`, the server of all notebooks. `options` has the server's
settings, `faults` its faults, `demo` the made-up community. `server` is the server itself.

The sandbox is not for production: Easemob's cloud serves a real app.
"""
