"""Checks of attachments: downloads with and without the share-secret, and what a recall does to the file.

Source: docs/protocol.md#attachments, docs/protocol.md#recall.
"""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urlsplit

from imkit.client.attachments import ATTACHMENT_BYTES, fetch_attachment, unpack
from imkit.errors import NotFound
from imkit.messages import Attachment, File, Message
from imkit.service_check.check import Check, Seen
from imkit.service_check.examination import Examination
from imkit.service_check.history_pages import ids
from imkit.service_check.observation import Refusal, answer_of, settled
from imkit.service_check.sample import FILE

_FILES = ("audio", "video", "file")
_REDIRECTS = (301, 302, 303, 307, 308)  # to the file


async def _with_secret(examination: Examination) -> Seen:
    account, sample = examination.session.account, examination.made
    found: dict[str, str] = {}
    for kind in _FILES:
        if (message := sample.first(kind)) is not None:
            data = await answer_of(examination.session, fetch_attachment(account, message, ATTACHMENT_BYTES))
            found[kind] = str(data) if isinstance(data, Refusal) else "" if data == FILE else "other bytes"
    if (bundle := sample.first("combine")) is not None:
        messages = await answer_of(examination.session, unpack(account, bundle))
        if isinstance(messages, Refusal):
            found["combine"] = str(messages)
        else:
            is_same = bool(messages) and ids(messages) == ids(sample.sent[: len(messages)])
            found["combine"] = "" if is_same else "other messages"
    if not found:
        return Seen("no attachment was taken", None)
    wrong = [f"{kind}: {words}" for kind, words in found.items() if words]
    return Seen("; ".join(wrong) or f"as they were uploaded: {', '.join(found)}", not wrong)


async def _without_secret(examination: Examination) -> Seen:
    answers = {
        kind: await answer_of(
            examination.session, fetch_attachment(examination.session.account, _secretless(message), ATTACHMENT_BYTES)
        )
        for kind in (*_FILES, "img")
        if (message := examination.made.first(kind)) is not None
    }
    if not answers:
        return Seen("no attachment was taken", None)
    words = {
        kind: answer if isinstance(answer, Refusal) else f"{len(answer)} bytes" for kind, answer in answers.items()
    }
    told = "; ".join(f"{kind}: {answer}" for kind, answer in words.items())
    return Seen(told, all(isinstance(answer, Refusal) for answer in answers.values()))


def _secretless(message: Message) -> Message:
    body = message.body
    assert isinstance(body, Attachment)
    return replace(message, body=replace(body, secret=None))


async def _small_picture(examination: Examination) -> Seen:
    picture = examination.made.first("img")
    if picture is None or not isinstance(picture.body, Attachment):
        return Seen("no picture was taken", None)
    rest = examination.session.account.rest
    name = urlsplit(picture.body.url or "").path.rpartition("/")[2]
    params = {"em-redirect": "true", "size": "small"}
    answer = await answer_of(examination.session, rest.content("GET", "chatfiles", name, params=params))
    if isinstance(answer, Refusal) and answer.error.status not in _REDIRECTS:
        return Seen(str(answer), False)
    return Seen("handed out" if isinstance(answer, bytes) else "handed out, at another address", True)


async def _thumbnail(examination: Examination) -> Seen:
    picture = examination.made.first("img")
    if picture is None:
        return Seen("no picture was taken", None)
    fetched = fetch_attachment(examination.session.account, picture, ATTACHMENT_BYTES, thumbnail=True)
    answer = await answer_of(examination.session, fetched)
    if isinstance(answer, Refusal):
        return Seen(str(answer), False)
    whole = await fetch_attachment(examination.session.account, picture, ATTACHMENT_BYTES)
    return Seen(f"{len(answer)} bytes; the picture itself has {len(whole)}", True)


async def _of_recalled(examination: Examination) -> Seen:
    thread = examination.made.thread
    sent = await examination.paced(thread.send.aio, File(FILE, file_name="recalled.txt"))
    await examination.paced(thread.recall.aio, sent)

    async def ask() -> bytes | Refusal:
        return await answer_of(
            examination.session, fetch_attachment(examination.session.account, sent, ATTACHMENT_BYTES)
        )

    answer = await settled(ask, lambda answer: isinstance(answer, Refusal))
    if isinstance(answer, Refusal):
        return Seen(str(answer), isinstance(answer.error, NotFound))
    return Seen(f"{len(answer)} bytes", False)


ATTACHMENT_CHECKS = (
    Check(
        name="attachments",
        assumed="A file comes back as it was uploaded.",
        ask=_with_secret,
        follows="session.download() and session.unpack() work.",
        otherwise="session.download() or session.unpack() does not work for the types that are named.",
        source="download",
        needs="write",
    ),
    Check(
        name="attachments without the secret",
        assumed="Without its share-secret a file is refused.",
        ask=_without_secret,
        follows="Only users who got the message can load the file.",
        otherwise="Everybody who is logged in and knows the address can load these files.",
        source="download",
        needs="write",
    ),
    Check(
        name="small size of a picture",
        assumed="The small size of a picture is handed out without the share-secret.",
        ask=_small_picture,
        follows="The UI kit of SDK 5 can draw pictures.",
        otherwise="imkit gives the secret. The UI kit of SDK 5 may not draw pictures.",
        source="sdk-5-rest-calls",
        needs="write",
    ),
    Check(
        name="thumbnail of a picture",
        assumed="A small picture can be asked for with thumbnail=true and the share-secret.",
        ask=_thumbnail,
        follows="Cards of messages show pictures.",
        otherwise="Cards of messages show no pictures; session.download() loads them.",
        source="download",
        needs="write",
    ),
    Check(
        name="file of a recalled message",
        assumed="A recall removes the file, too: a download is answered with 404.",
        ask=_of_recalled,
        follows="A recalled file can no longer be loaded.",
        otherwise="A recall does not take back a file: who has its address can still load it.",
        source="recall",
        needs="write",
    ),
)
