"""Checks of the roaming history (消息漫游): time bounds, cursors, pages, what a recall leaves.

Source: docs/protocol.md#roaming-history.
"""

from __future__ import annotations

from imkit.client.roaming import Query, fetch_page
from imkit.service_check.check import Check, Seen
from imkit.service_check.examination import Examination


async def _page_size(examination: Examination) -> Seen:
    session, thread = examination.session, examination.made.thread
    page = await fetch_page(session.account.rest, session.user, thread.id, Query(), -1, newest_first=False)
    return Seen(f"a first page of {len(page.entries)} messages", len(page.entries) == 50)


HISTORY_CHECKS = (
    Check(
        name="page size",
        assumed="A page holds the 50 messages that are asked for.",
        ask=_page_size,
        follows="A history of n messages takes n / 50 requests.",
        otherwise="imkit follows shorter pages; loading takes more requests.",
        source="roaming-history",
        needs="write",
    ),
)
