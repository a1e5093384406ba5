"""Made-up pages of roaming history, in the form in which the service sends them, for decode.py and memory.py.

The messages are texts of 2 to 30 words from 60 senders in one thread. Each has the thread mark, one ext key, and the
JIDs that the service adds.

Source: docs/protocol.md#roaming-history, docs/protocol.md#thread-marks.
"""

import json
import random
from base64 import b64encode
from collections.abc import Iterator
from itertools import count, islice

from imkit.messages import Text
from imkit.wire import schema, uplink
from imkit.wire.envelope import USER_DOMAIN

APP, PAGE, SENDERS = "org#app", 50, 60
THREAD = uplink.Address(APP, "210000033222000", is_thread=True)
MARK = {"msg_parent_id": "1882603211714461701", "muc_parent_id": "200000032964000", "thread_name": "Oolong 乌龙"}
THREAD_MARK = json.dumps({"thread": MARK}, ensure_ascii=False, separators=(",", ":"))
WORDS = """
    tea oolong garden lantern market ticket please tomorrow evening station meet order status refund shipping where
    when thanks maybe never always again about because between 你好 茶 谢谢 明天 票 灯会 晚上 车站 🍵 🎉
""".split()


def metas(seed: int = 1, *, own_ext: bool = False) -> Iterator[bytes]:
    """Yield serialised Metas without end, about a second apart.

    Args:
        seed: of the random numbers.
        own_ext: whether the ext key has a different value in each message, instead of one of three.
    """
    dice = random.Random(seed)
    moment = 1_795_000_000_000
    for number in count():
        moment += dice.randrange(1, 2000)
        sender = f"user-{dice.randrange(SENDERS):02}"
        ext = {"trace": f"{dice.getrandbits(64):016x}"} if own_ext else {"mood": dice.choice(["good", "bad", "好"])}
        body = Text(" ".join(dice.choices(WORDS, k=dice.randint(2, 30))), ext=ext)
        meta = uplink.encode_message(THREAD, sender, body, client_id=1)
        payload = schema.MessageBody.FromString(meta.payload)
        payload.meta = THREAD_MARK
        meta.payload = payload.SerializeToString()
        getattr(meta, "from").CopyFrom(
            schema.JID(appKey=APP, name=sender, domain=USER_DOMAIN, clientResource=f"webim_{sender}")
        )
        meta.id, meta.timestamp = 1_882_603_211_714_461_703 + number * 7919, moment
        yield meta.SerializeToString()


def pages(messages: int, seed: int = 1, *, own_ext: bool = False) -> Iterator[bytes]:
    """Yield the JSON answers for a number of messages, rounded down to whole pages."""
    endless = metas(seed, own_ext=own_ext)
    for number in range(messages // PAGE):
        entries = [{"msg": b64encode(meta).decode()} for meta in islice(endless, PAGE)]
        data = {"msgs": entries, "is_last": (number + 1) * PAGE >= messages, "next_key": str(number + 1)}
        yield json.dumps({"data": data}).encode()
