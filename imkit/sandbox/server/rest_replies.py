"""The shapes of REST replies: the envelope, the errors, the pages (fact sheet sections 10 and 12)."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from imkit.sandbox.server.store import now_ms

PAGE_LIMIT = 50  # fact sheet section 12: pages 1 to 50
DEFAULT_LIMIT = 20

# What each situation is answered with. The official SDK reads the HTTP status and error_code (section 12); where the
# documentation leaves the choice between two codes open, the one the fact sheet's study used is taken.
NO_PERMISSION, THREAD_EXISTS, UNSUPPORTED, ALREADY_IN, NO_SUCH_THREAD = 40001, 40002, 40009, 40003, 40011


class RestError(Exception):
    """A REST call is refused."""

    def __init__(self, status: int, error: str, description: str, code: int | None = None) -> None:
        super().__init__(description)
        self.status = status
        self.error = error
        self.description = description
        self.code = code

    def body(self) -> dict[str, Any]:
        """Return the JSON to answer with."""
        return error_body(self.error, self.description, self.code)


def error_body(error: str, description: str, code: int | None = None) -> dict[str, Any]:
    """Return an error in the documented envelope.

    Example:
        >>> error_body("thread_exist", "this message already has a thread", 40002)["error_code"]
        40002
    """
    body: dict[str, Any] = {
        "error": error,
        "error_description": description,
        "exception": f"sandbox.{error}",
        "timestamp": now_ms(),
        "duration": 0,
    }
    if code is not None:
        body["error_code"] = code
    return body


def no_permission(description: str = "no permission") -> RestError:
    """Return the refusal of who lacks a right."""
    return RestError(401, "unauthorized", description, NO_PERMISSION)


def no_such_thread() -> RestError:
    """Return the refusal for a thread that is not there."""
    return RestError(404, "resource_not_found", "thread not exist", NO_SUCH_THREAD)


def no_such_group(group_id: str) -> RestError:
    """Return the refusal for a group that is not there; the SDK looks for these words."""
    return RestError(404, "resource_not_found", f"grpID {group_id} does not exist, do not find this group")


def no_such_user(name: str) -> RestError:
    """Return the refusal for a user that is not there."""
    return RestError(404, "service_resource_not_found", f"Service resource not found: user {name}")


def bad_request(description: str, error: str = "illegal_argument") -> RestError:
    """Return the refusal of what makes no sense."""
    return RestError(400, error, description)


def success(app_key: str, method: str, path: str, started: int, extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return a reply in the documented envelope."""
    organization, _, application = app_key.partition("#")
    now = now_ms()
    return {
        "action": method.lower(),
        "application": str(uuid.uuid5(uuid.NAMESPACE_URL, app_key)),
        "uri": path,
        "path": path,
        "entities": [],
        "timestamp": now,
        "duration": max(0, now - started),
        "organization": organization,
        "applicationName": application,
        **extra,
    }


@dataclass(slots=True)
class Call:
    """One REST call, checked: the app is right and the token is good.

    Attributes:
        user: whose token it is; None for the app's own, which may do anything.
        path: the parameters in the path.
        query: the parameters behind the question mark.
        body: the JSON body, `{}` without one.
    """

    user: str | None
    path: dict[str, str]
    query: Mapping[str, str]
    body: Any = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def resource(self) -> str | None:
        """The device the call comes from, which needs no news of it (section 1)."""
        return self.query.get("resource")

    @property
    def operator(self) -> str:
        """Who acts, as notices name it; the app acts as "admin" (section 7)."""
        return self.user or "admin"

    def only(self, user: str) -> str:
        """Return a user id from the path, lower-cased, if the token is theirs or the app's."""
        name = user.lower()
        if self.user is not None and self.user != name:
            raise no_permission("the token belongs to another user")
        return name

    def only_app(self) -> None:
        """Refuse a user's token."""
        if self.user is not None:
            raise no_permission("this call wants the app's token")

    def text(self, name: str, *, default: str | None = None, longest: int | None = None) -> str:
        """Return a string from the body."""
        value = self.body.get(name, default)
        if not isinstance(value, str) or (not value and default is None):
            raise bad_request(f"{name} is missing or not a string")
        if longest is not None and len(value) > longest:
            raise bad_request(f"{name} is longer than {longest} characters")
        return value

    def names(self, name: str, *, most: int | None = None) -> list[str]:
        """Return a list of strings from the body, lower-cased user ids perhaps."""
        value = self.body.get(name) or []
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise bad_request(f"{name} is not a list of strings")
        if most is not None and len(value) > most:
            raise bad_request(f"{name} holds more than {most}")
        return value

    def limit(self, default: int = DEFAULT_LIMIT) -> int:
        """Return the page size asked for, within 1 to 50."""
        try:
            limit = int(self.query.get("limit") or self.query.get("pagesize") or default)
        except ValueError:
            raise bad_request("limit is not a number") from None
        return max(1, min(PAGE_LIMIT, limit))

    def cursor(self) -> str:
        """Return the cursor; the SDK's first page of group members sends the word "undefined" (section 10)."""
        cursor = self.query.get("cursor") or ""
        return "" if cursor == "undefined" else cursor


def parse_body(raw: bytes) -> Any:
    """Return a request's JSON object; an empty body is an empty one."""
    if not raw:
        return {}
    try:
        body = json.loads(raw)
        if b"\\u" in raw:  # the only way to half a character, which no store and no reply can hold
            json.dumps(body, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise bad_request("the body is not JSON", "json_parse") from None
    if not isinstance(body, dict | list):
        raise bad_request("the body is not a JSON object", "json_parse")
    return body
