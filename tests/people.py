"""User ids for tests: all tests share one sandbox, so each test makes new users."""

import itertools

_numbers = itertools.count(1)


def new_name(what: str = "user") -> str:
    """Return a user id that is new in this run."""
    return f"{what}-{next(_numbers)}"
