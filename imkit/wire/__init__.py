"""The MSYNC protocol without I/O: frames and messages as bytes, and the client's protocol state.

The client and the sandbox's server both import this package. It imports no asyncio, no numpy and no Arrow.

Source: docs/protocol.md#socket-transport.
"""
