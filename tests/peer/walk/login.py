"""Logging in, and tokens."""

from tests.peer.walk.company import AUTHENTICATION, PASSWORD, TOKEN_EXPIRED, Steps, Walk, refused

steps = Steps()


@steps.add
def _(walk: Walk) -> None:
    """A page cannot log in with a token that nobody issued."""
    assert refused(walk.alice, "client.login", {"userId": "alice", "token": "made-up"}).type == AUTHENTICATION


@steps.add
def _(walk: Walk) -> None:
    """A page cannot get a token with a wrong password."""
    assert refused(walk.alice, "token", "alice", "coffee").type == 400


@steps.add
def _(walk: Walk) -> None:
    """The token of one user does not log in another."""
    token = walk.alice.call("token", "alice", PASSWORD)
    assert refused(walk.alice, "client.login", {"userId": "bob", "token": token}).type == AUTHENTICATION


@steps.add
def _(walk: Walk) -> None:
    """Alice logs in with a token that her page got from another origin."""
    walk.alice.open("alice", pwd=PASSWORD)
    assert walk.alice.call("client.getConnectionState") == "connected"
    assert walk.alice.call("client.getCurrentUserId") == "alice"
    assert walk.alice.call("client.getClientResource")


@steps.add
def _(walk: Walk) -> None:
    """A new token takes the place of the first, and the connection stays."""
    walk.alice.call("client.renewToken", walk.alice.call("token", "alice", PASSWORD))
    assert walk.alice.seen("onDisconnected", lambda event: event["state"] == "disconnected") == []


@steps.add
def _(walk: Walk) -> None:
    """A token that nobody issued does not take its place."""
    assert refused(walk.alice, "client.renewToken", "made-up").type in {AUTHENTICATION, TOKEN_EXPIRED}
