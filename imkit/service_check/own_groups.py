"""`OwnGroups`: the groups that a run of the doctor makes, and removes at its end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from imkit.errors import ConnectionLost, GroupNotFound, IMError, ProtocolError, ServiceBusy, TimedOut
from imkit.portal import to_its_end
from imkit.session import Session
from imkit.threads import Group

GROUP_NAME = "imkit doctor"  # an owner of the app who finds a leftover can tell what it is
_REMOVAL_SECONDS = 15.0


class OwnGroups:
    """The groups that a run has made. Their threads and messages go with them.

    Args:
        session: the login that makes and owns them.

    Attributes:
        made: those that are not removed yet.
        left_over: what could not be removed, in words for a reader.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self.made: list[Group] = []
        self.left_over: list[str] = []

    async def create(self, name: str = GROUP_NAME, members: Iterable[str] = ()) -> Group:
        """Make a group, which `remove` destroys.

        Raises:
            IMError: as `Session.create_group` does.
        """
        earlier = set(self._session.account.known.group_names)

        async def create() -> Group:
            try:
                group = await self._session.create_group.aio(name, members)
            except (ConnectionLost, TimedOut, ServiceBusy, ProtocolError) as error:  # no answer that names the group
                if not isinstance(error, ConnectionLost) or error.outcome == "unknown":
                    self.left_over.append(f"perhaps a group named {name!r}: {error}")
                raise
            if group.id in earlier:  # it must not be destroyed: it may be full of messages
                raise ProtocolError(f"for a new group the service named group {group.id}, which was there before")
            self.made.append(group)
            return group

        return await to_its_end(create())  # a stop must not come between the making and the noting of it

    async def remove(self) -> None:
        """Destroy the groups; `left_over` then says what could not be removed."""
        while self.made:
            group = self.made.pop()
            try:
                async with asyncio.timeout(_REMOVAL_SECONDS):
                    await _destroy(group)
            except (IMError, TimeoutError) as error:
                problem = error if isinstance(error, IMError) else f"no answer in {_REMOVAL_SECONDS:.0f} s"
                self.left_over.append(f"group {group.id} ({group.name!r}): {problem}")


async def _destroy(group: Group) -> None:
    """Destroy a group. After a lost answer this asks again: a group that is gone then is what was wanted."""
    for is_last in (False, False, True):
        try:
            await group.destroy.aio()
        except GroupNotFound:
            return
        except (ConnectionLost, TimedOut, ServiceBusy):
            if is_last:
                raise
        else:
            return
