"""`Check`: one thing that imkit assumes of a service, and how to ask the service whether it is so."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from imkit.service_check.examination import Examination

# What a check needs: only the login; `write`: what the doctor makes; a second user, as well.
Needs = Literal["login", "write", "second user"]


@dataclass(frozen=True, slots=True)
class Seen:
    """What the service did.

    Args:
        text: in one sentence, for a reader; the service's own words in it are escaped when the report is made.
        agrees: whether it is as assumed; `None`: this service did not let the check find out.
        follows: what follows from it; `None`: what the check says of an answer that agrees, or does not.
    """

    text: str
    agrees: bool | None
    follows: str | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that imkit assumes of a service.

    Args:
        name: a few words, such as ``"end of a range"``.
        assumed: what imkit assumes, in one sentence.
        ask: asks the service. An `IMError` that it raises becomes a line of the report: it could not be asked.
        follows: what follows if it is so.
        otherwise: what follows if it is not: what imkit does about it, or which call not to trust.
        source: the section of docs/protocol.md that has the fact, such as ``"roaming-history"``.
        needs: what the check needs.
    """

    name: str
    assumed: str
    ask: Callable[[Examination], Awaitable[Seen]]
    follows: str
    otherwise: str
    source: str
    needs: Needs = "login"
