"""Upload and download of attachments."""

from typing import Any

from tests.sandbox.server.raw_client import Api, TeaGroup


def upload(api: Api, body: bytes, name: str = "说明.txt", kind: str = "text/plain") -> Any:
    path = "/chatfiles?chat-type=GROUP&chat-target=1"
    return api.call("POST", path, files={"file": (name, body, kind)}, headers={"restrict-access": "true"})


def test_a_download_needs_the_secret(tea: TeaGroup, nobody: Api) -> None:
    reply = upload(tea.alice.api, b"\x00body of the file\xff")
    assert reply.status_code == 200
    entity = reply.json()["entities"][0]
    assert entity["type"] == "chatfile"
    path, secret = f"/chatfiles/{entity['uuid']}", entity["share-secret"]
    back = tea.bob.api.call("GET", f"{path}?em-redirect=true&share-secret={secret}")
    assert (back.status_code, back.content) == (200, b"\x00body of the file\xff")
    assert back.headers["content-disposition"] == "attachment"
    assert nobody.call("GET", path, headers={"share-secret": secret}).content == back.content
    denied = tea.bob.api.refused("GET", f"{path}?share-secret=guess", 403)
    assert denied["error_description"] == "chatfile no permission"
    assert tea.bob.api.refused("GET", "/chatfiles/no-such-file", 404)["error"] == "file_expired"


def test_attachments_have_a_limit(tea: TeaGroup) -> None:
    limit = 10 * 1024 * 1024
    assert upload(tea.alice.api, b"x" * limit).status_code == 200
    for size in (limit + 1, limit + 100_000):
        reply = upload(tea.alice.api, b"x" * size)
        assert (reply.status_code, reply.json()["error"]) == (413, "request_entity_too_large")
    tea.alice.api.refused("POST", "/chatfiles", 400, files={"other": ("x", b"x")})
    tea.alice.api.refused("POST", "/chatfiles", 400, content=b"--", headers={"Content-Type": "multipart/form-data"})
    tea.alice.api.refused("POST", "/sdk/chatfiles/part-upload", 404)
