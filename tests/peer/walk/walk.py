"""The walk: all its steps in their order."""

import time

from imkit.sandbox.process import Sandbox
from tests.peer.sdk5 import Sdk5
from tests.peer.walk import (
    carried,
    changes,
    conversations,
    delivery,
    devices,
    ends,
    groups,
    history,
    login,
    messages,
    threads,
    users,
)
from tests.peer.walk.company import people

# A step may use what earlier steps have made.
STEPS = [
    *(*login.steps, *groups.steps, *threads.steps, *messages.steps, *changes.steps, *carried.steps, *users.steps),
    *(*history.steps, *delivery.steps, *devices.steps, *conversations.steps, *ends.steps),
]


def walk(sandbox: Sandbox, sdk: Sdk5) -> None:
    """Take all steps and print them. An exception carries a note that names the step."""
    with people(sandbox, sdk) as company:
        for number, taken in enumerate(STEPS, 1):
            started = time.monotonic()
            try:
                taken.act(company)
            except BaseException as error:
                error.add_note(f"in step {number} of {len(STEPS)} of the walk: {taken.words}")
                raise
            print(f"{number:3} {time.monotonic() - started:5.2f} s  {taken.words}", flush=True)
