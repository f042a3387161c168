from __future__ import annotations

import io
from email.message import Message
from pathlib import Path

import pytest

from kitops.oci.digest import Digest
from kitops.server.access import BasicAccess, BearerAccess
from kitops.server.body import BadBodyError, RequestBody
from kitops.server.shelf import Shelf, WrongDigestError

A, B = Digest.of(b"a"), Digest.of(b"b")


def body(data: bytes, **headers: str) -> RequestBody:
    message = Message()
    for key, value in headers.items():
        message[key.replace("_", "-")] = value
    return RequestBody(io.BytesIO(data), message)


def test_a_body_ends_where_its_length_says() -> None:
    found = body(b"abcdef", Content_Length="3")
    assert (found.read(10), found.is_ended, found.size) == (b"abc", True, 3)
    assert body(b"abcdef").read(10) == b""


def test_a_body_in_chunks_with_extensions_and_trailers() -> None:
    found = body(b"3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\nnext", Transfer_Encoding="Chunked")
    assert (found.read(100), found.is_ended, found.size) == (b"abc0123456789", True, None)


def test_a_body_that_is_longer_than_wanted() -> None:
    assert body(b"abcdef", Content_Length="6").read(5) is None


def test_a_body_is_drained_up_to_a_limit() -> None:
    found = body(bytes(200_000), Content_Length="200000")
    found.drain(70_000)
    assert not found.is_ended
    found.drain(1_000_000)
    assert found.is_ended


def test_a_body_that_ends_early() -> None:
    with pytest.raises(BadBodyError):
        body(b"abc", Content_Length="6").read(10)


def test_bearer_access() -> None:
    access = BearerAccess(
        "https://auth/token", "reg", lambda token, scope: (token, scope) == ("t", "repository:a:pull")
    )
    assert access.challenge("bearer t", "repository:a:pull") is None
    assert access.challenge(None, "") == 'Bearer realm="https://auth/token",service="reg"'
    assert access.challenge("Bearer t", "repository:a:push") == (
        'Bearer realm="https://auth/token",service="reg",scope="repository:a:push",error="insufficient_scope"'
    )


def test_passwords_do_not_show() -> None:
    assert "hunter2" not in repr(BasicAccess({"me": "hunter2"}))


def test_repositories_below_each_other_do_not_meet(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    shelf.put_manifest("a", b"a", "application/x", A, "b")
    shelf.put_manifest("a/b", b"b", "application/x", B, "latest")
    assert (shelf.tags("a"), shelf.tags("a/b"), shelf.tags("a/b/c")) == (["b"], ["latest"], None)
    assert shelf.manifest("a", str(B)) is None


def test_tags_that_a_file_system_would_fold_together(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    shelf.put_manifest("a", b"a", "application/x", A, "Rc1")
    shelf.put_manifest("a", b"b", "application/x", B, "rC1")
    names = [path.name for path in (tmp_path / "repositories/a/_tags").iterdir()]
    assert len({name.lower() for name in names}) == 2
    assert shelf.tags("a") == ["Rc1", "rC1"]


def test_a_tag_file_that_is_damaged_is_no_tag(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    shelf.put_manifest("a", b"a", "application/x", A, "v1")
    (tmp_path / "repositories/a/_tags/tv1").write_text("v1\nnonsense")
    assert shelf.manifest("a", "v1") is None


def test_an_upload_is_found_again_and_dropped_when_wrong(tmp_path: Path) -> None:
    upload = Shelf(tmp_path).start_upload("a")
    upload.append(body(b"abc", Content_Length="3"))
    later = Shelf(tmp_path)
    found = later.find_upload("a", upload.id)
    assert found is not None
    assert (found.size, found.digest("sha512")) == (3, upload.digest("sha512"))
    assert later.find_upload("a", "../../x") is None
    with pytest.raises(WrongDigestError):
        later.finish_upload("a", found, A)
    assert later.find_upload("a", upload.id) is None
