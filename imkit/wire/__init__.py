"""Bytes ⇄ messages: the MSYNC protocol without I/O. The client and the sandbox share this room, and only this."""
