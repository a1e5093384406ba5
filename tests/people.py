"""Users of their own for each test: the sandbox is everybody's."""

import itertools

_numbers = itertools.count(1)


def new_name(what: str = "user") -> str:
    """A user id that nobody has had in this run."""
    return f"{what}-{next(_numbers)}"
