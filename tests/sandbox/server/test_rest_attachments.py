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


PNG = b"\x89PNG\r\n\x1a\n" + b"\x00\x00\x00\rIHDR"


def test_a_size_of_a_picture_needs_no_secret(tea: TeaGroup, nobody: Api) -> None:
    """The UI kit of SDK 5 draws it so. Whoever knows the UUID, which nobody can guess, gets what it draws."""

    def stored(body: bytes, kind: str) -> tuple[str, str]:
        entity = upload(tea.alice.api, body, "p.png", kind).json()["entities"][0]
        return f"/chatfiles/{entity['uuid']}", entity["share-secret"]

    path, secret = stored(PNG, "text/html")
    for size in ("small", "large"):
        drawn = nobody.call("GET", f"{path}?size={size}")
        assert (drawn.status_code, drawn.content, drawn.headers["content-type"]) == (200, PNG, "image/png")
        assert drawn.headers["x-content-type-options"] == "nosniff"
        assert drawn.headers["content-disposition"] == "attachment"
        assert drawn.headers["access-control-allow-origin"] == "*"
    for query in ("", "?size=", "?size=origin", "?thumbnail=true", "?size=small2", f"?share-secret={secret[:-1]}"):
        assert nobody.refused("GET", f"{path}{query}", 403)["error_description"] == "chatfile no permission"
    # What is no picture stays secret, whatever its uploader called it.
    for body in (b"<html><script>1</script>", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"BM" + b"a" * 20, b""):
        path, secret = stored(body, "image/png")
        nobody.refused("GET", f"{path}?size=small", 403)
        whole = nobody.call("GET", f"{path}?size=small&share-secret={secret}")
        assert (whole.content, whole.headers["content-disposition"]) == (body, "attachment")


def test_a_player_may_ask_for_a_part(tea: TeaGroup, nobody: Api) -> None:
    entity = upload(tea.alice.api, bytes(range(256)) * 4000, "a.mp3", "audio/mpeg").json()["entities"][0]
    path = f"/chatfiles/{entity['uuid']}?em-redirect=true&share-secret={entity['share-secret']}"
    whole = nobody.call("GET", path)
    assert (whole.headers["accept-ranges"], len(whole.content)) == ("bytes", 1_024_000)
    for asked, (start, end) in {
        "bytes=0-": (0, 1_024_000),
        "bytes=300000-": (300_000, 1_024_000),
        "bytes=7-263": (7, 264),
        "bytes=1023999-99999999": (1_023_999, 1_024_000),
    }.items():
        part = nobody.call("GET", path, headers={"Range": asked})
        assert (part.status_code, part.content) == (206, whole.content[start:end])
        assert part.headers["content-range"] == f"bytes {start}-{end - 1}/1024000"
    for asked in ("bytes=-5", "bytes=5-4", "bytes=1024000-", "bytes=0-1,3-4", "bytes=x", "bytes=" + "9" * 400 + "-"):
        reply = nobody.call("GET", path, headers={"Range": asked})
        assert (reply.status_code, reply.content) == (200, whole.content)
    nobody.refused("GET", path[:-1], 403, headers={"Range": "bytes=0-"})


def test_attachments_have_a_limit(tea: TeaGroup) -> None:
    limit = 10 * 1024 * 1024
    assert upload(tea.alice.api, b"x" * limit).status_code == 200
    for size in (limit + 1, limit + 100_000):
        reply = upload(tea.alice.api, b"x" * size)
        assert (reply.status_code, reply.json()["error"]) == (413, "request_entity_too_large")
    tea.alice.api.refused("POST", "/chatfiles", 400, files={"other": ("x", b"x")})
    tea.alice.api.refused("POST", "/chatfiles", 400, content=b"--", headers={"Content-Type": "multipart/form-data"})
    tea.alice.api.refused("POST", "/sdk/chatfiles/part-upload", 404)
