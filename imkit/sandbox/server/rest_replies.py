"""The parts that all REST handlers share: the reply envelope, the errors, and `Call`, one checked request.

Source: docs/protocol.md#rest-transport, docs/protocol.md#errors, docs/protocol.md#limits.
"""

from __future__ import annotations

import json
import math
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn
from urllib.parse import parse_qsl

from imkit.sandbox.server.store import now_ms

PAGE_LIMIT = 50  # the largest page size
DEFAULT_LIMIT = 20
_FORM_FIELDS = 100

# The `error_code` of refusals; the official SDK reads it and the HTTP status. Source: docs/protocol.md#errors.
THREAD_EXISTS = 40002
ALREADY_IN = 40003
LIMIT_REACHED = 40007
NO_SUCH_THREAD = 40011


class RestError(Exception):
    """The server refuses a REST call.

    Args:
        status: the HTTP status.
        error: the name of the error.
        description: the reason, for people.
        code: the `error_code`, if the service has one for this case.
    """

    def __init__(self, status: int, error: str, description: str, code: int | None = None) -> None:
        super().__init__(description)
        self.status = status
        self.error = error
        self.description = description
        self.code = code

    def body(self) -> dict[str, Any]:
        """Return the JSON of the reply."""
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


def no_permission(description: str, error: str = "group_authorization") -> RestError:
    """Return the refusal of a call whose caller lacks a right in the group.

    SDK 5 takes a 401 for a refused login, so this is a 403 without an `error_code`.

    Args:
        description: the reason.
        error: the name that SDK 5 has in its table of this call.

    Source: docs/protocol.md#where-two-generations-differ.
    """
    return RestError(403, error, description)


def forbidden(description: str) -> RestError:
    """Return the refusal of a call that the caller's token does not allow."""
    return RestError(403, "forbidden", description)


def no_such_thread() -> RestError:
    """Return the refusal of a call about a thread that does not exist."""
    return RestError(404, "resource_not_found", "thread not exist", NO_SUCH_THREAD)


def no_such_group(group_id: str) -> RestError:
    """Return the refusal of a call about a group that does not exist; the SDK looks for these words."""
    return RestError(404, "resource_not_found", f"grpID {group_id} does not exist, do not find this group")


def no_such_user(name: str) -> RestError:
    """Return the refusal of a call about a user that does not exist."""
    return RestError(404, "service_resource_not_found", f"Service resource not found: user {name}")


def limit_reached(description: str, error: str = "limit_exceeded") -> RestError:
    """Return the refusal of a call that would go beyond a limit of the sandbox.

    Args:
        description: the reason.
        error: the name that SDK 5 has in its table of this call; it reads the name before the `error_code`.
    """
    return RestError(403, error, description, LIMIT_REACHED)


def bad_request(description: str, error: str = "illegal_argument") -> RestError:
    """Return the refusal of a call with a wrong parameter."""
    return RestError(400, error, description)


def message_number(message_id: object) -> int:
    """Return a message id of a request as a number; 0, which no message has, for what is not an id."""
    number = int(message_id) if isinstance(message_id, str) and re.fullmatch("[0-9]{1,19}", message_id) else 0
    return number if number < 2**63 else 0  # the store has no larger numbers


def success(app_key: str, method: str, path: str, started: int, extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return a reply in the documented envelope.

    Args:
        app_key: the app.
        method: the HTTP method.
        path: the path of the request.
        started: when the request arrived, in ms.
        extra: the fields that the handler adds; one that is None is left out.
    """
    organization, _, application = app_key.partition("#")
    now = now_ms()
    reply = {
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
    return {name: value for name, value in reply.items() if value is not None}


@dataclass(slots=True)
class Call:
    """One REST call whose app and token are checked.

    Attributes:
        user: the user of the token; None for the app's own token, which may do everything.
        path: the parameters in the path.
        query: the query parameters.
        body: the JSON body, `{}` without one.
        headers: the HTTP headers.
    """

    user: str | None
    path: dict[str, str]
    query: Mapping[str, str]
    body: Any = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def resource(self) -> str | None:
        """The resource of the calling device. That device gets no notice of the call."""
        return self.query.get("resource")

    @property
    def operator(self) -> str:
        """The operator that notices name: the user of the token, or "admin" for the app."""
        return self.user or "admin"

    def text(self, name: str, *, default: str | None = None, longest: int | None = None) -> str:
        """Return a string of the body.

        Args:
            name: the field.
            default: for a missing field; without a default the field must be present and not empty.
            longest: the largest number of characters.
        """
        value = self.body.get(name, default)
        if not isinstance(value, str) or (not value and default is None):
            raise bad_request(f"{name} is missing or not a string")
        if longest is not None and len(value) > longest:
            raise bad_request(f"{name} is longer than {longest} characters")
        return value

    def names(self, name: str, *, most: int | None = None) -> list[str]:
        """Return a list of strings of the body, `[]` for a missing field; it holds at most `most`."""
        value = self.body.get(name) or []
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise bad_request(f"{name} is not a list of strings")
        if most is not None and len(value) > most:
            raise bad_request(f"{name} holds more than {most}")
        return value

    def limit(self, default: int = DEFAULT_LIMIT, *names: str, most: int = PAGE_LIMIT) -> int:
        """Return the page size of the query, 1 to `most`; `names` are further names that the parameter may have."""
        given = (self.query.get(name) for name in ("limit", "pagesize", *names))
        try:
            limit = int(next(filter(None, given), default))
        except ValueError:
            raise bad_request("limit is not a number") from None
        return max(1, min(most, limit))

    def cursor(self, *names: str) -> str:
        """Return the cursor of the query; `names` are further names that the parameter may have.

        For a first page the SDK may send the words "undefined" and "null", which are JavaScript's empty values.
        """
        given = (self.query.get(name) for name in ("cursor", *names))
        return next((cursor for cursor in given if cursor not in (None, "", "undefined", "null")), None) or ""


def page_of(items: list[Any], names: list[str], cursor: str, limit: int) -> tuple[list[Any], str]:
    """Return a page of a list and the cursor of the next page, "" after the last.

    Args:
        items: the whole list.
        names: the name of each item.
        cursor: the name of the last item of the page before; "" for the first page.
        limit: the largest number of items.
    """
    start = names.index(cursor) + 1 if cursor in names else 0
    page = items[start : start + limit]
    more = start + limit < len(items)
    return page, names[start + limit - 1] if more else ""


def parse_body(raw: bytes, *, lists: bool = False) -> Any:
    """Return the JSON object of a request, or also a list if `lists`; `{}` for an empty body.

    NaN and the infinities are no JSON, although Python reads them; nor is a number that only Python's infinity could
    hold. A value that was accepted can therefore be given back as JSON.
    """
    if not raw:
        return {}
    try:
        # From bytes, Python would also read half of a surrogate pair, and other encodings than UTF-8.
        body = json.loads(raw.decode(), parse_constant=_refuse_number, parse_float=_finite_float)
        if b"\\u" in raw:
            json.dumps(body, ensure_ascii=False).encode()  # fails on half of a surrogate pair: no store can hold it
    except (ValueError, RecursionError):
        raise bad_request("the body is not JSON", "json_parse") from None
    if not isinstance(body, (dict, list) if lists else dict):
        raise bad_request("the body is not a JSON object", "json_parse")
    return body


def parse_form(raw: bytes) -> dict[str, str]:
    """Return the fields of a form in UTF-8; of a field that comes twice the last value counts.

    Example:
        >>> parse_form(b"nickname=%E5%B0%8F%E7%BE%8E&sign=")
        {'nickname': '小美', 'sign': ''}
    """
    try:
        return dict(parse_qsl(raw.decode(), keep_blank_values=True, errors="strict", max_num_fields=_FORM_FIELDS))
    except ValueError:
        raise bad_request("the body is not a form in UTF-8, or has too many fields") from None


def _refuse_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a JSON number")


def _finite_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        _refuse_number(text)
    return value
