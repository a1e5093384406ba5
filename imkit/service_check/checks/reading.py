"""Checks of what a user reads: threads, groups, attributes, roaming history, the list of conversations.

Source: docs/protocol.md#thread-calls, docs/protocol.md#group-calls, docs/protocol.md#list-of-conversations.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterable
from datetime import timedelta
from typing import Any, TypeVar

from imkit.client.roaming import Query, fetch_page
from imkit.errors import Forbidden, IMError, NotFound, ServiceNotEnabled
from imkit.hints import operation
from imkit.service_check.check import Check, Seen
from imkit.service_check.examination import Examination
from imkit.times import in_words, to_milliseconds
from imkit.wire.rest_message import message_from_json
from imkit.wire.untrusted_json import mapping, objects, objects_in, text

T = TypeVar("T")

_MOST_LISTED = 60
_CONVERSATIONS_OF_A_KIND = 2  # whose oldest message is looked at
# How many days each plan keeps messages.
_PLANS = {3: "free", 7: "pro", 90: "flagship", 180: "premium"}


async def _first(items: AsyncIterable[T], most: int) -> list[T]:
    """Return the first items of a list of the service."""
    found: list[T] = []
    async for item in items:
        found.append(item)
        if len(found) == most:
            break
    return found


def _counted(items: list[Any], what: str) -> str:
    more = " or more" if len(items) == _MOST_LISTED else ""
    return f"{len(items)}{more} {what}{'' if len(items) == 1 else 's'}"


async def _threads(examination: Examination) -> Seen:
    try:
        threads = await _first(examination.session.threads(), _MOST_LISTED)
    except ServiceNotEnabled as error:
        return Seen(f"off: {error.status} {error.reason}", False)
    return Seen(f"on; this user has joined {_counted(threads, 'thread')}", True)


async def _groups(examination: Examination) -> Seen:
    groups = await _first(examination.session.groups(), _MOST_LISTED)
    ids = [group.id for group in groups]
    is_repeated = len(set(ids)) < len(ids)
    seen = f"this user is in {_counted(groups, 'group')}"
    return Seen(f"{seen}; some are listed twice" if is_repeated else seen, not is_repeated)


async def _attributes(examination: Examination) -> Seen:
    account = examination.session.account
    body = {"targets": [account.user], "properties": ["nickname", "avatarurl"]}
    what = operation("read_users", count=1)
    try:
        answer = await account.rest.request("POST", "metadata", "user", "get", what=what, body=body, repeatable=True)
    except ServiceNotEnabled as error:
        return Seen(f"off: {error.status} {error.reason}", False)
    names = [name for name in mapping(mapping(answer, "data"), account.user) if name in body["properties"]]
    return Seen(f"on; of this user: {', '.join(names) or 'neither nickname nor avatar'}", True)


async def _roaming(examination: Examination) -> Seen:
    session = examination.session
    ids = [examination.sample.thread.id] if examination.sample is not None else []
    for listing in (session.groups(), session.threads()):
        with contextlib.suppress(ServiceNotEnabled):  # threads are off: groups have a history all the same
            ids += [each.id for each in await _first(listing, _CONVERSATIONS_OF_A_KIND)]
    oldest: list[int] = []
    problems: list[IMError] = []
    asked = set(ids)
    for target_id in asked:
        try:
            page = await fetch_page(session.account.rest, session.user, target_id, Query(), -1, newest_first=False)
        except ServiceNotEnabled as error:
            return Seen(f"off: {error.status} {error.reason}", False)
        except (Forbidden, NotFound) as error:  # such as a group that ended meanwhile
            problems.append(error)
        else:
            oldest += [to_milliseconds(message.time) for message in page.messages[:1]]
    if not oldest and problems:
        raise problems[0]
    if not oldest:
        return Seen(f"none of {len(asked)} groups and threads has a message", None)
    age = timedelta(milliseconds=await session.account.now_ms() - min(oldest))
    seen = f"on; the oldest message of {len(asked)} groups and threads is {in_words(age)} old"
    for kept, plan in _PLANS.items():
        if age <= timedelta(days=kept):
            return Seen(f"{seen}: the {plan} plan keeps that, or a higher one", True)
    return Seen(f"{seen}: no plan keeps messages for so long", False)


async def _conversations(examination: Examination) -> Seen:
    account = examination.session.account
    params = {"limit": 50, "cursor": "", "need_mark": "true", "needEmptySession": "false"}
    what = operation("list_conversations", user=account.user)
    try:
        answer = await account.rest.get("sdk", "user", account.user, "user_channels", "list", what=what, params=params)
    except (ServiceNotEnabled, NotFound) as error:
        return Seen(f"off: {error.status} {error.reason}", False)
    listed = list(objects(mapping(answer, "data"), "channel_infos"))
    messages = [message_from_json(entry.get("meta")) for entry in listed]
    times = [message.time for message in messages if message is not None]
    is_ordered = times == sorted(times, reverse=True)
    order = "the newest message first" if is_ordered else "not in the order of their newest messages"
    return Seen(f"on; {len(listed)} listed, {order}", is_ordered)


async def _channel_ids(examination: Examination) -> Seen:
    account = examination.session.account
    answer = await account.rest.get("users", account.user, "user_channels", params={"pageNum": 1, "pageSize": 20})
    ids = [text(entry, "channel_id") for entry in objects_in(mapping(answer, "data").get("channel_infos"))]
    if not ids:
        return Seen("the list is empty", None)
    form = re.compile(re.escape(account.app.app_key) + r"_.+@(conference\.)?easemob\.com")
    odd = [found for found in ids if not form.fullmatch(found)]
    domains = ", ".join(sorted({found.rpartition("@")[2] for found in ids}))
    return Seen(f"of {len(ids)}, {len(odd)} have another form; after the @: {domains:.80}", not odd)


_OFF = "Ask Easemob, or the app's console, to switch it on."

# What an app may have switched off: asked before anything is made.
READING_CHECKS = (
    Check(
        name="threads",
        assumed="Threads (子区) are switched on for the app.",
        ask=_threads,
        follows="Threads can be made and read.",
        otherwise=f"Calls about threads end in ServiceNotEnabled. {_OFF}",
        source="thread-calls",
    ),
    Check(
        name="groups",
        assumed="The list of groups names each group of the user once.",
        ask=_groups,
        follows="session.groups() is whole.",
        otherwise="Do not trust session.groups(): its pages overlap.",
        source="group-calls",
    ),
    Check(
        name="user attributes",
        assumed="User attributes (用户属性) are switched on for the app.",
        ask=_attributes,
        follows="session.users(…) tells nicknames.",
        otherwise=f"session.users(…) and frame.im.named(…) end in ServiceNotEnabled. {_OFF}",
        source="user-attributes",
    ),
)
# What the user sees; a run that writes has something to see by then.
VIEW_CHECKS = (
    Check(
        name="roaming",
        assumed="Roaming history (消息漫游) is switched on, and keeps messages for 3, 7, 90 or 180 days.",
        ask=_roaming,
        follows="history() loads what is that old.",
        otherwise=f"Where it is off, history() ends in ServiceNotEnabled. {_OFF}",
        source="roaming-history",
    ),
    Check(
        name="order of conversations",
        assumed="The list of conversations (会话列表) is on, with the newest message first.",
        ask=_conversations,
        follows="session.conversations() has the service's order.",
        otherwise="Sort what session.conversations() returns by last_message.time.",
        source="list-of-conversations",
    ),
    Check(
        name="channel ids",
        assumed="The earlier list of conversations names them org#app_<id>@<domain>.",
        ask=_channel_ids,
        follows="Nothing for imkit, which does not use this list.",
        otherwise="Nothing for imkit, which does not use this list; only the sandbox differs from the service.",
        source="list-of-conversations",
    ),
)
