"""Attachments are stored by their content and without secrets; one that cannot be fetched does not stop the others."""

import errno
import hashlib
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

import imkit
from imkit.archive import Archive, attachments
from imkit.archive.storage import Storage, storage_at
from imkit.client.account import Account
from imkit.client.attachments import fetch_attachment
from imkit.errors import NotFound
from imkit.history.message_pages import PageWalk
from imkit.messages import Attachment
from tests.archive.conftest import Tea

LEAF, NOTE = b"leaf" * 100, b"note"


def test_files_are_stored_once_and_without_their_secrets(tea: Tea, archive: Archive, tmp_path: Path) -> None:
    thread = tea.thread("Oolong", "a")
    sent = [
        thread.send(imkit.File(LEAF, file_name="../../leaf.txt")),
        thread.send(imkit.File(LEAF, file_name="again.txt")),
        tea.group.send(imkit.File(NOTE, file_name="note.txt")),
    ]
    report = archive.sync(tea.alice, tea.group, attachments=True)
    assert (report.attachments_kept, report.attachments_failed) == (3, {})
    kept = sorted(path.name for path in (tmp_path / "archive" / "attachments").glob("??/*"))
    assert kept == sorted(hashlib.sha256(data).hexdigest() for data in (LEAF, NOTE))
    table = archive.sql("select message_id, sha256, size, file_name from attachments order by message_id")
    assert table.message_id.tolist() == sorted(message.id for message in sent)
    assert table["size"].tolist() == [400, 400, 4]
    assert archive.verify().ok
    secrets = [message.body.secret for message in sent if isinstance(message.body, Attachment)]
    assert all(secrets)
    whole = b"".join(path.read_bytes() for path in (tmp_path / "archive").rglob("*") if path.is_file())
    texts = "".join(archive.sql(f"select * from {view}").to_csv() for view in ("all_messages", "attachments"))
    assert [secret for secret in secrets if secret and (secret.encode() in whole or secret in texts)] == []
    second = archive.sync(tea.alice, tea.group, attachments=True, lookback=timedelta(0))
    assert second.attachments_kept == 0


def test_a_file_that_cannot_be_fetched_is_noted_and_tried_again_unless_it_expired(
    tea: Tea, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread = tea.thread("Oolong")
    lost, late, fine = [thread.send(imkit.File(data, file_name="f")) for data in (b"lost", b"late", b"fine")]
    content = fetch_attachment
    errors: dict[str, imkit.IMError] = {lost.id: NotFound("expired"), late.id: imkit.ServiceBusy("busy")}

    async def fail(account: Account, message: imkit.Message, most: int) -> bytes:
        if message.id in errors:
            raise errors[message.id]
        return await content(account, message, most)

    monkeypatch.setattr(attachments, "fetch_attachment", fail)
    report = archive.sync(tea.alice, thread, attachments=True)
    assert report.attachments_kept == 1
    assert report.attachments_failed.keys() == {lost.id, late.id}
    assert "1 fetched, 2 failed" in repr(report)
    errors.clear()
    second = archive.sync(tea.alice, thread, attachments=True)
    assert second.attachments_kept == 1  # the expired file is not tried again
    table = archive.sql("select message_id, sha256, reason from attachments").set_index("message_id")
    assert "expired" in table.reason[lost.id]
    assert table.sha256[[late.id, fine.id]].notna().all()


def test_a_thread_whose_history_is_refused_now_is_tried_again(
    tea: Tea, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread = tea.thread("Oolong")
    sent = thread.send(imkit.File(LEAF, file_name="f"))

    async def refused(self: PageWalk) -> AsyncIterator[list[imkit.Message]]:
        raise imkit.ServiceBusy("busy now")
        yield []

    with monkeypatch.context() as patch:
        patch.setattr(PageWalk, "pages", refused)
        report = archive.sync(tea.alice, thread, attachments=True)
    assert report.attachments_failed.keys() == {sent.id}
    assert "busy now" in report.attachments_failed[sent.id]
    assert archive.sync(tea.alice, thread, attachments=True).attachments_kept == 1


def test_verify_finds_a_damaged_attachment(tea: Tea, archive: Archive, tmp_path: Path) -> None:
    thread = tea.thread("Oolong")
    thread.send(imkit.File(LEAF, file_name="f"))
    archive.sync(tea.alice, thread, attachments=True)
    path = next((tmp_path / "archive" / "attachments").glob("??/*"))
    path.write_bytes(b"coffee")
    assert [problem.what for problem in archive.verify().problems] == ["the attachment is missing or damaged"]


def test_after_an_error_of_the_disk_no_fetch_goes_on(
    tea: Tea, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread = tea.thread("Oolong")
    for number in range(8):
        thread.send(imkit.File(f"leaf {number}".encode(), file_name="f"))
    archive.sync(tea.alice, thread)
    kind = type(storage_at(archive.path))
    write = kind.write
    stored: list[str] = []

    def full_after_three(storage: Storage, name: str, data: bytes) -> None:
        if name.startswith("attachments/") and not name.endswith(".parquet"):
            stored.append(name)
            if len(stored) > 3:
                raise OSError(errno.ENOSPC, "No space left on device", name)
        write(storage, name, data)

    with monkeypatch.context() as patch:
        patch.setattr(kind, "write", full_after_three)
        with pytest.raises(imkit.ArchiveError, match="No space left"):
            archive.sync(tea.alice, thread, attachments=True)
        attempts = len(stored)
    report = archive.sync(tea.alice, thread, attachments=True)
    assert len(stored) == attempts, "a fetch went on after the sync had given up the lock"
    assert len(archive.sql("select distinct message_id from attachments where final")) == 8
    assert report.attachments_failed == {}
    verification = archive.verify()
    assert verification.ok, verification
    assert not verification.notes, verification
