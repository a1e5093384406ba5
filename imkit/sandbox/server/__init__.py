"""The sandbox's server: REST and MSYNC on one port, in its own process, with its data in SQLite.

Where things are:
- `server`: builds the server from its parts and runs it.
- `msync`: reads and writes the frames of the WebSockets.
- `uplink`: handles each message, recall, edit and read ack that a client sends.
- `permissions`: which user may do what; also the time limit of a recall.
- `delivery`: which devices get a message or a notice. `device_queues`: what each device has not acknowledged yet.
- `notices`: builds thread notices, group events and the marks of messages.
- `rest` and `rest_…`: the REST calls. `middleware`: CORS, latency, rate limit and faults around them.
- `tcp_connections`, `request_body`, `host_names`, `quotas`: how many connections, how slow, how much, under which name.
- `users`, `groups`, `message_record`, `reactions`, `store`: the data.
- `demo`: a made-up community.

The server may import `imkit.wire` and the sandbox's settings, but never `imkit.client`: a mistake in shared code would
be the same on both sides, and no test would see it. The official SDK tests both sides.
"""
