"""Attachments: checks before an upload, uploads, and downloads from the app's own server only.

Source: docs/protocol.md#upload, docs/protocol.md#download, docs/protocol.md#bundle-files, docs/protocol.md#limits.
"""

from __future__ import annotations

import asyncio
import io
import mimetypes
import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, aclosing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from imkit.client.account import Account
from imkit.errors import IMError, InvalidMessage, ProtocolError, TooLarge, Unsupported
from imkit.escape import file_name_for_disk
from imkit.file_errors import advice, file_errors
from imkit.messages import Attachment, Audio, Combine, Image, Message, Video
from imkit.portal import Worker
from imkit.whole_files import partial_file
from imkit.wire import bundle
from imkit.wire.keyvalues import check_text
from imkit.wire.untrusted_json import is_id, text

ATTACHMENT_BYTES = 10 * 2**20
BUNDLE_BYTES = 16 * 2**20  # ten times 300 messages of 5 KB

BytesProgress = Callable[[int, int | None], Awaitable[None] | None]
A = TypeVar("A", bound=Attachment)
_KINDS: dict[type[Attachment], str] = {Image: "image", Audio: "audio", Video: "video"}


async def upload_attachment(account: Account, target_id: str, body: A, progress: BytesProgress | None = None) -> A:
    """Upload the file of an attachment, unless the attachment has a URL already; return the body with its URL.

    Args:
        account: the login that sends.
        target_id: the thread or group that the message will be sent to.
        body: with `file` (a path, bytes or an http URL) or `url`.
        progress: called with the bytes sent and their total.

    Raises:
        InvalidMessage: there is no such file, or it is not of the body's kind.
        TooLarge: it is over 10 MB.

    Source: docs/protocol.md#upload.
    """
    if isinstance(body.file, str) and body.file.startswith(("http://", "https://")) and body.url is None:
        body = replace(body, file=None, url=body.file)
    if body.file is None:
        if not body.url or not body.url.startswith(("http://", "https://")):
            hint = "Give a path or bytes, or url= with an http URL."
            raise InvalidMessage(f"this {type(body).__name__} has neither a file nor a URL", hint=hint)
        return body
    if body.url is not None:
        raise InvalidMessage(f"this {type(body).__name__} has a file and a URL", hint="Give one of them.")
    data, name = await asyncio.to_thread(_read, body.file)
    name = body.file_name or name or _default_name(body)
    check_text("the name of a file", name)
    checked = _check_file(body, data, name)
    url, secret = await _upload(account, target_id, data, name, progress)
    uploaded = replace(checked, file=None, url=url, secret=secret, file_name=name, file_size=len(data))
    if isinstance(uploaded, Video) and uploaded.thumbnail_url is None:
        uploaded = replace(uploaded, thumbnail_url=f"{url}?vframe=true", thumbnail_secret=secret)
    return uploaded


async def upload_bundle(
    account: Account, target_id: str, body: Combine, name: str, progress: BytesProgress | None = None
) -> Combine:
    """Upload the messages of a bundle as one file; return the bundle with its URL.

    Args:
        account: the login that sends.
        target_id: the thread or group that the bundle will be sent to.
        body: with `messages`, or a received bundle, which keeps its URL.
        name: the file's name.
        progress: called with the bytes sent and their total.

    Raises:
        InvalidMessage: no messages, more than 300, or bundles nested deeper than 10 levels.

    Source: docs/protocol.md#bundle-files.
    """
    if body.url is not None and not body.messages:
        return body  # a received bundle that is forwarded
    inner = max((m.body.level for m in body.messages if isinstance(m.body, Combine)), default=0)
    if inner >= bundle.MAX_LEVEL:
        raise InvalidMessage(f"bundles can be nested {bundle.MAX_LEVEL} levels deep at most")
    data = bundle.pack(account.app.app_key, body.messages)
    url, secret = await _upload(account, target_id, data, name, progress)
    query = f"?em-redirect=true&share-secret={secret}"
    return replace(
        body, messages=(), url=url + query, secret=secret, file_name=name, file_size=len(data), level=inner + 1
    )


def _read(file: str | os.PathLike[str] | bytes) -> tuple[bytes, str]:
    if isinstance(file, bytes):
        if len(file) > ATTACHMENT_BYTES:
            raise TooLarge(f"the attachment has {len(file):,} bytes; at most {ATTACHMENT_BYTES:,} can be sent")
        return file, ""
    if not isinstance(file, str | os.PathLike):
        raise InvalidMessage(f"{file!r:.80} is not a file", hint="Give a path, bytes, or an http URL.")
    path = Path(file)
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise InvalidMessage(f"{str(file)!r:.200} is not a file", hint="Give the path of one file.")
        with path.open("rb") as opened:
            data = opened.read(ATTACHMENT_BYTES + 1)  # the file may be growing
    except OSError as error:
        hint = f"{advice(error)}, then send it again. Nothing was sent."
        if isinstance(error, FileNotFoundError):
            hint = f"Check the path: a relative one begins at {Path.cwd()}. Nothing was sent."
        raise InvalidMessage(f"{path} cannot be read: {error.strerror or error}", hint=hint) from error
    except ValueError as error:  # a path with a zero character or half a character
        if isinstance(error, IMError):
            raise
        raise InvalidMessage(f"{str(path)!r:.200} is not a path: {error}") from error
    largest = max(size, len(data))
    if largest > ATTACHMENT_BYTES:
        raise TooLarge(f"{path.name} has {largest:,} bytes; at most {ATTACHMENT_BYTES:,} can be sent")
    if len(data) < size:
        hint = "Another program is changing it. Send it again when that has ended. Nothing was sent."
        raise InvalidMessage(f"{path} had {size:,} bytes, and {len(data):,} when it was read", hint=hint)
    return data, path.name


def _default_name(body: Attachment) -> str:
    return f"{type(body).__name__.lower()}.bin"


def _check_file(body: A, data: bytes, name: str) -> A:
    """Refuse an empty file or a file of another kind; return a picture with its width and height."""
    if not data:
        raise InvalidMessage(f"{name} is empty")
    wanted = _KINDS.get(type(body))
    guessed = (mimetypes.guess_type(name)[0] or "").partition("/")[0]
    if isinstance(body, Image):
        from PIL import Image as Picture  # takes time to load, and only pictures need it

        try:
            with Picture.open(io.BytesIO(data)) as picture:
                width, height = picture.size
                animated = picture.format == "GIF"
        except (OSError, ValueError, Picture.DecompressionBombError) as error:
            raise InvalidMessage(f"{name} is not a picture", hint="Send it with imkit.File(…).") from error
        return replace(body, width=body.width or width, height=body.height or height, animated=animated)
    if wanted is not None and guessed in {"image", "audio", "video", "text"} - {wanted}:
        hint = f"Send it as {guessed}, not as {wanted}."
        raise InvalidMessage(f"{name} looks like {guessed}, not {wanted}", hint=hint)
    return body


async def _upload(
    account: Account, target_id: str, data: bytes, name: str, progress: BytesProgress | None
) -> tuple[str, str]:
    """Upload a file, and return its URL and its share-secret."""
    worker = Worker("imkit-progress")
    try:

        async def report(done: int) -> None:
            if progress is not None:
                await worker.run(progress, done, len(data))

        answer = await account.rest.upload(target_id, data, name, report)
    finally:
        worker.close()
    entities = answer.get("entities")
    entity = entities[0] if isinstance(entities, list) and entities and isinstance(entities[0], dict) else {}
    uuid, secret = text(entity, "uuid"), text(entity, "share-secret")
    if not uuid:
        raise ProtocolError(f"{name} was uploaded, but the answer has no uuid")
    return f"{account.rest.base_url}/chatfiles/{uuid}", secret


async def download(
    account: Account, message: Message, folder: str | os.PathLike[str], progress: BytesProgress | None = None
) -> Path:
    """Save a message's attachment to a folder, under a safe name that no other file there has.

    Args:
        account: the login that downloads.
        message: a message with an attachment.
        folder: where to save it; created if it does not exist.
        progress: called with the bytes received, and with their total if it is known.

    Returns:
        The path of the file.

    Raises:
        InvalidMessage: the message has no attachment, or `folder` is not a path.
        FileError: the folder does not take the file. Nothing is left of it.
        Unsupported: the URL does not point to the app's own server.
        NotFound: the service has deleted the file (by default after 7 days).
        ProtocolError: the file is larger than 1 GiB.

    Source: docs/protocol.md#download.
    """
    path, secret = _location(account, message)
    if not isinstance(folder, str | os.PathLike):
        raise InvalidMessage(f"{folder!r:.80} is not a folder", hint="Give the path of a folder.")
    body = message.body
    name = body.file_name if isinstance(body, Attachment | Combine) else None
    plain_name = f"{message.type}-{message.id if is_id(message.id) else 'file'}"
    wanted = file_name_for_disk(name or path.rpartition("/")[2], fallback=plain_name)
    directory = Path(folder)
    worker = Worker("imkit-progress")
    try:
        with ExitStack() as stack:
            with _saving(directory / wanted):
                await asyncio.to_thread(directory.mkdir, parents=True, exist_ok=True)
                file, partial = stack.enter_context(partial_file(directory / plain_name))
            done = 0
            async with aclosing(account.rest.download(path, secret)) as chunks:
                async for chunk, total in chunks:
                    done += len(chunk)
                    with _saving(directory / wanted):
                        await asyncio.to_thread(file.write, chunk)
                    if progress is not None:
                        await worker.run(progress, done, total)
            with _saving(directory / wanted):
                file.close()
                return await asyncio.to_thread(_claim_name, partial, directory, (wanted, plain_name))
    finally:
        worker.close()


@contextmanager
def _saving(path: Path) -> Iterator[None]:
    """Turn an error about a file into one of imkit's.

    Raises:
        FileError: the disk does not take the file.
        InvalidMessage: this cannot be a path.
    """
    try:
        with file_errors(path):
            yield
    except ValueError as error:  # a zero character or half a character
        if isinstance(error, IMError):
            raise
        raise InvalidMessage(f"{str(path)!r:.200} is not a path: {error}") from error


async def unpack(account: Account, message: Message) -> list[Message]:
    """Return the messages in a bundle.

    Raises:
        InvalidMessage: the message is not a bundle.
        ProtocolError: its file is damaged, or larger than a bundle can be.

    Source: docs/protocol.md#bundle-files.
    """
    if not isinstance(_checked(message).body, Combine):
        raise InvalidMessage(f"message {message.id} is a {message.type}, not a bundle")
    return await asyncio.to_thread(bundle.unpack, await fetch_attachment(account, message, BUNDLE_BYTES))


async def fetch_attachment(account: Account, message: Message, max_bytes: int, *, thumbnail: bool = False) -> bytes:
    """Return the bytes of a message's attachment, from the app's own server.

    Args:
        account: the login that downloads.
        message: the message.
        max_bytes: so many at the most.
        thumbnail: ask for a small size of a picture. A service that has none gives the picture itself.

    Raises:
        InvalidMessage: the message has no attachment.
        Unsupported: the attachment is not at the app's own server.
        ProtocolError: the file has more than `max_bytes` bytes; the rest is not fetched.
    """
    path, secret = _location(account, message)
    data = bytearray()
    async with aclosing(account.rest.download(path, secret, max_bytes, thumbnail=thumbnail)) as chunks:
        async for chunk, _ in chunks:
            data += chunk
    return bytes(data)


def _checked(message: object) -> Message:
    """Return a message, or refuse anything else: an id does not say where the file is."""
    if not isinstance(message, Message):
        hint = "Give the Message itself: event.message, or one of thread.messages()."
        raise InvalidMessage(f"{message!r:.60} is not a message", hint=hint)
    return message


def is_own_attachment(account: Account, message: Message) -> bool:
    """Return whether a message has an attachment that is at the app's own server."""
    try:
        _location(account, message)
    except (InvalidMessage, Unsupported):
        return False
    return True


def _location(account: Account, message: Message) -> tuple[str, str]:
    """Return the path of an attachment on the app's own server, and its share-secret.

    The sender chose the URL, so its host cannot be trusted. As in the official SDK, imkit takes only the path from it
    and asks the app's own server.
    """
    body = _checked(message).body
    if not isinstance(body, Attachment | Combine) or not body.url:
        raise InvalidMessage(f"message {message.id} ({message.type}) has no attachment")
    try:
        path = urlsplit(body.url).path
    except ValueError:
        path = ""
    own = urlsplit(account.rest.base_url).path + "/chatfiles/"
    if not path.startswith(own) or "/" in path.removeprefix(own) or ".." in path:
        hint = "Open its URL yourself if you trust the sender."
        raise Unsupported(f"the attachment of message {message.id} is not at the app's own server", hint=hint)
    return path, body.secret or ""


def _claim_name(partial: Path, directory: Path, names: Sequence[str]) -> Path:
    """Rename a finished download to a name, or to ``name (2)`` and so on if a file has that name.

    Args:
        partial: the download.
        directory: its folder.
        names: the first that the disk takes; a sender can choose one that some file systems refuse.
    """
    for name in names:
        stem, suffix = os.path.splitext(name)
        for number in range(1, 10_000):
            path = directory / (name if number == 1 else f"{stem} ({number}){suffix}")
            try:
                path.open("xb").close()  # creates the file, or fails: an existing file is never replaced
            except FileExistsError:
                continue
            except OSError:
                if name == names[-1]:
                    raise
                break
            os.replace(partial, path)
            return path
    raise InvalidMessage(f"{directory} already holds 10,000 files named {names[0]}")
