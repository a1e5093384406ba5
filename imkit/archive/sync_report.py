"""What a sync reports: what it has found and done, and why not all of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from imkit.archive.catalogue import Conversation
from imkit.archive.merge import Folded
from imkit.escape import for_html, for_terminal

_SHOWN = 5


@dataclass(slots=True)
class SyncReport:
    """What a sync has found and done.

    Attributes:
        new, changed: ids of threads and groups that were not in the archive; that had new messages.
        unchanged: how many had none.
        vanished, forbidden: what can be read no more, and why; what was read of it is kept.
        rows_added, rows_changed, rows_gone: messages that are new; that read differently now; that are gone from the
            service and marked so.
        attachments_kept: how many files were fetched.
        attachments_failed: message id → why its file could not be had.
        requests: how many it took.
        seconds: how long.
        reasons: why not everything has been read; empty where it has.
    """

    place: str
    new: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    unchanged: int = 0
    vanished: dict[str, str] = field(default_factory=dict)
    forbidden: dict[str, str] = field(default_factory=dict)
    rows_added: int = 0
    rows_changed: int = 0
    rows_gone: int = 0
    attachments_kept: int = 0
    attachments_failed: dict[str, str] = field(default_factory=dict)
    requests: int = 0
    seconds: float = 0.0
    reasons: list[str] = field(default_factory=list)

    def _lines(self) -> list[str]:
        rows = f"{self.rows_added:,} messages added, {self.rows_changed:,} changed, {self.rows_gone:,} gone"
        found = [
            f"synced {self.place}: {rows}",
            f"conversations: {len(self.new):,} new, {len(self.changed):,} changed, {self.unchanged:,} unchanged; "
            f"{self.requests:,} requests in {self.seconds:,.1f} s",
        ]
        if self.attachments_kept or self.attachments_failed:
            found.append(
                f"attachments: {self.attachments_kept:,} fetched, {len(self.attachments_failed):,} not to be had"
            )
        for what, which in (("vanished", self.vanished), ("forbidden", self.forbidden)):
            some = [f"{target_id} ({reason})" for target_id, reason in list(which.items())[:_SHOWN]]
            more = f" and {len(which) - _SHOWN:,} more" if len(which) > _SHOWN else ""
            found += [f"{what}, and kept: {'; '.join(some)}{more}"] if some else []
        return found + [f"not complete: {reason}" for reason in self.reasons]

    def __repr__(self) -> str:
        return "\n".join(for_terminal(line) for line in self._lines())

    def _repr_html_(self) -> str:
        first, *others = map(for_html, self._lines())
        return f"<b>{first}</b>" + "".join(f"<br><small>{line}</small>" for line in others)

    def count(self, done: Folded) -> None:
        """Add what a piece has brought."""
        self.rows_added += done.added
        self.rows_changed += done.changed
        self.rows_gone += done.gone

    def lose(self, conversation: Conversation, reason: str) -> None:
        """Add what can be read no more, whatever was expected of it."""
        (self.forbidden if conversation.status == "forbidden" else self.vanished)[conversation.id] = reason
        for which in (self.new, self.changed):
            if conversation.id in which:
                which.remove(conversation.id)
