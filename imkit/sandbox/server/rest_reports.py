"""Reports of messages (举报) over REST.

Source: docs/protocol.md#reports.
"""

from __future__ import annotations

from typing import Any

from starlette.routing import Route

from imkit.sandbox.server.permissions import is_in, user_or_app
from imkit.sandbox.server.rest import Backend, route
from imkit.sandbox.server.rest_replies import Call, bad_request, limit_reached, message_number


def routes(backend: Backend) -> list[Route]:
    """Return the routes of this module."""
    return [route(backend, "POST", "/user/{user}/moderation/report/message/{message}", report, needs_room=True)]


def report(backend: Backend, call: Call) -> dict[str, Any]:
    """POST /user/{user}/moderation/report/message/{message}: a user reports a message that it can see."""
    limits = backend.options.limits
    user = user_or_app(call, call.path["user"])
    kind = call.text("reportType", longest=limits.name_characters)
    reason = call.text("reportReason", longest=limits.description_characters)
    message = backend.record.find(message_number(call.path["message"]))
    if message is None or not is_in(backend.groups, user, message.conversation):
        raise bad_request("report failed, get message by id failed", "report_failed")
    if backend.reports.count(user) >= limits.reports_per_user:
        raise limit_reached(f"a user may report {limits.reports_per_user} messages")
    backend.reports.add(message.id, user, kind, reason)
    return {"data": {"result": "ok"}}
