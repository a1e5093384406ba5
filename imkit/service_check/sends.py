"""What a check sends besides the sample: more messages and threads of the sample's group, with which they go.

Source: docs/protocol.md#sending, docs/protocol.md#read-receipts.
"""

from __future__ import annotations

from imkit.errors import MessageNotFound
from imkit.messages import Body, Message
from imkit.service_check.examination import Examination
from imkit.service_check.observation import Refusal, in_history
from imkit.service_check.own_groups import GROUP_NAME
from imkit.session import Session
from imkit.threads import Thread
from imkit.wire import schema
from imkit.wire.enums import StatusCode
from imkit.wire.protocol import SendAnswered
from imkit.wire.refusals import send_refused
from imkit.wire.uplink import Address, encode_message


async def new_thread(examination: Examination, session: Session, name: str = GROUP_NAME) -> Thread:
    """Let a user make one more thread in the sample's group, with which it is removed."""
    group = session.group(examination.made.group.id)
    return await group.create_thread.aio(name, await examination.paced(group.send.aio, f"{GROUP_NAME}: {name}"))


async def new_message(examination: Examination, words: str = "a message of imkit doctor") -> Message:
    """Send one more message to the sample's thread."""
    return await examination.paced(examination.made.thread.send.aio, words)


async def kept_message(
    examination: Examination, words: str = "a message of imkit doctor", thread: Thread | None = None
) -> Message:
    """Send one more message to the sample's thread or another one, and wait until it is in the history.

    A check of what a change leaves there needs this: what is not there yet looks like what is gone.

    Raises:
        MessageNotFound: it has not come into the history.
    """
    thread = thread or examination.made.thread
    sent = await examination.paced(thread.send.aio, words)
    if await in_history(examination.session, thread.id, sent.id) is None:
        raise MessageNotFound("a new message has not come into the history", hint="")
    return sent


async def send_raw(
    examination: Examination,
    body: Body,
    *,
    is_marked: bool = True,
    asks_for_receipts: bool = False,
    client_id: int | None = None,
) -> SendAnswered:
    """Send a body to the sample's thread without imkit's own checks, and return the answer, which may be a refusal.

    Args:
        examination: the run.
        body: the body.
        is_marked: whether the message has the thread mark.
        asks_for_receipts: whether it asks the readers for receipts.
        client_id: the number by which the answer names it; `None`: a new one.
    """
    session = examination.session
    client_id = client_id or session.account.protocol.next_client_id()
    address = Address(session.app.app_key, examination.made.thread.id, is_thread=is_marked)
    meta = encode_message(address, session.user, body, client_id)
    if asks_for_receipts:
        payload = schema.MessageBody.FromString(meta.payload)
        payload.msgConfig.allowGroupAck = True
        meta.payload = payload.SerializeToString()
    return await examination.paced(session.account.connection.send, client_id, meta)


def refusal_in(answer: SendAnswered) -> Refusal | None:
    """Return the refusal in the answer to a send, or `None` if the service took it."""
    if answer.status == StatusCode.OK:
        return None
    return Refusal(send_refused("the send", answer.status, answer.reason), f"status {answer.status}: {answer.reason}")
