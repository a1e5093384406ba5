"""`SyncReport`: what a sync has found and done, and why something is missing."""

from __future__ import annotations

from dataclasses import dataclass, field

from imkit.archive.catalogue import ConversationState
from imkit.archive.merge import MergeResult
from imkit.cards import report
from imkit.escape import for_terminal

_SHOWN = 5


@dataclass(slots=True)
class SyncReport:
    """The result of a sync.

    Attributes:
        place: path or URL of the archive.
        new: ids of threads and groups that the archive did not have before.
        changed: ids of threads and groups with new messages.
        unchanged: number of threads and groups without new messages.
        vanished: id → why, for threads and groups that no longer exist. The archive keeps their messages.
        forbidden: id → why, for those that this user may not read. The archive keeps their messages.
        rows_added: number of new messages.
        rows_changed: number of messages that were edited or reacted to since they were stored.
        rows_gone: number of messages that the service no longer has; they are marked.
        attachments_kept: number of attachments that were fetched.
        attachments_failed: message id → why its attachment could not be fetched.
        requests: number of requests that the sync made.
        seconds: how long the sync took.
        reasons: why messages are missing; empty if none are.
        missed_live: what the live log has missed since the last sync. This sync has read these times again.
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
    missed_live: list[str] = field(default_factory=list)

    def _lines(self) -> list[str]:
        rows = f"{self.rows_added:,} messages added, {self.rows_changed:,} changed, {self.rows_gone:,} gone"
        lines = [
            f"synced {self.place}: {rows}",
            f"conversations: {len(self.new):,} new, {len(self.changed):,} changed, {self.unchanged:,} unchanged; "
            f"{self.requests:,} requests in {self.seconds:,.1f} s",
        ]
        if self.attachments_kept or self.attachments_failed:
            lines.append(f"attachments: {self.attachments_kept:,} fetched, {len(self.attachments_failed):,} failed")
        for status, reasons in (("vanished", self.vanished), ("forbidden", self.forbidden)):
            shown = [f"{target_id} ({reason})" for target_id, reason in list(reasons.items())[:_SHOWN]]
            more = f" and {len(reasons) - _SHOWN:,} more" if len(reasons) > _SHOWN else ""
            lines += [f"{status}, and kept: {'; '.join(shown)}{more}"] if shown else []
        lines += [f"not complete: {reason}" for reason in self.reasons[:_SHOWN]]
        lines += [f"read again: {missed}" for missed in self.missed_live[:_SHOWN]]
        hidden = len(self.reasons) - _SHOWN
        return lines + ([f"not complete: {hidden:,} more"] if hidden > 0 else [])

    def __repr__(self) -> str:
        return "\n".join(for_terminal(line) for line in self._lines())

    def _repr_html_(self) -> str:
        return report(self._lines())

    def add_rows(self, result: MergeResult) -> None:
        """Add the numbers of one merge."""
        self.rows_added += result.added
        self.rows_changed += result.changed
        self.rows_gone += result.gone

    def add_unreadable(self, conversation: ConversationState, reason: str) -> None:
        """Report a conversation as vanished or forbidden, and no longer as new or changed."""
        reasons = self.forbidden if conversation.status == "forbidden" else self.vanished
        reasons[conversation.id] = reason
        for ids in (self.new, self.changed):
            if conversation.id in ids:
                ids.remove(conversation.id)
