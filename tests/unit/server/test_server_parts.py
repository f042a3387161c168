from __future__ import annotations

import base64
import io
import os
import socket
import time
from pathlib import Path

import bcrypt
import pytest

from kitops.errors import FileSystemError, InvalidValueError, StoreError
from kitops.oci.descriptor import Descriptor
from kitops.oci.digest import Digest
from kitops.oci.manifest import Manifest
from kitops.server import RegistryServer, ServerOptions
from kitops.server.access import BasicAccess, BearerAccess
from kitops.server.body import BrokenBodyError, drain, read_whole
from kitops.server.directory import DirectoryShelf, flat
from kitops.server.htpasswd import HtpasswdAccess
from kitops.server.shelf import Parcel, WrongDigestError
from kitops.server.store_shelf import StoreShelf
from kitops.server.wire import BadRequestError, Patience, Wire
from kitops.store import open_store
from registry_visitor import EMPTY_JSON, Visitor

A, B = Digest.of(b"a"), Digest.of(b"b")


class Given:
    """A body that is in memory."""

    def __init__(self, data: bytes, size: int | None = None) -> None:
        self._file = io.BytesIO(data)
        self.size = size if size is not None else len(data)

    @property
    def is_ended(self) -> bool:
        return self._file.tell() == len(self._file.getbuffer())

    def readinto(self, buffer: memoryview, /) -> int:
        return self._file.readinto(buffer)


def conversed(data: bytes) -> tuple[Wire, socket.socket]:
    """A wire on which ``data`` came, and its other end."""
    near, far = socket.socketpair()
    far.sendall(data)
    return Wire(near, Patience()), far


def read_all(data: bytes) -> bytes | None:
    """The body of the request that ``data`` is."""
    wire, far = conversed(data)
    with far, wire._sock:
        far.shutdown(socket.SHUT_WR)
        assert wire.wait()
        request = wire.read_request()
        assert request is not None
        return read_whole(request.body, 1000)


def test_a_body_ends_where_its_length_says_and_the_next_request_is_kept() -> None:
    wire, far = conversed(
        b"PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcGET /b HTTP/1.1\r\nHost: x\r\n\r\n"
    )
    with far, wire._sock:
        assert wire.wait()
        first = wire.read_request()
        assert first is not None
        assert (read_whole(first.body, 10), first.body.is_ended, first.body.size) == (b"abc", True, 3)
        assert wire.wait()
        second = wire.read_request()
        assert second is not None
        assert (second.target, second.body.is_ended, read_whole(second.body, 10)) == ("/b", True, b"")


def test_a_body_in_chunks_with_extensions_and_trailers() -> None:
    head = b"PUT /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n"
    assert read_all(head + b"3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\nnext") == b"abc0123456789"


def test_a_body_that_is_longer_than_wanted() -> None:
    assert read_whole(Given(b"abcdef"), 5) is None
    assert read_whole(Given(b"abcdef", 3), 5) is None  # it lied
    assert read_whole(Given(b"abcdef"), 6) == b"abcdef"


def test_a_body_is_drained_up_to_a_limit() -> None:
    found = Given(bytes(200_000))
    drain(found, 70_000)
    assert not found.is_ended
    drain(found, 1_000_000)
    assert found.is_ended


def test_a_body_that_ends_early() -> None:
    with pytest.raises(BrokenBodyError):
        read_all(b"PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc")


def test_a_head_that_ends_early() -> None:
    wire, far = conversed(b"PUT /a HT")
    with far, wire._sock:
        far.shutdown(socket.SHUT_WR)
        assert wire.wait()
        with pytest.raises(BadRequestError):
            wire.read_request()


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


def parcel(data: bytes) -> Parcel:
    return Parcel(data, Descriptor.of(data, "application/x"))


def test_repositories_below_each_other_do_not_meet(tmp_path: Path) -> None:
    shelf = DirectoryShelf(tmp_path)
    shelf.put_manifest("a", parcel(b"a"), ["b"])
    shelf.put_manifest("a/b", parcel(b"b"), ["latest"])
    assert (shelf.tags("a"), shelf.tags("a/b"), shelf.tags("a/b/c")) == (["b"], ["latest"], None)
    assert shelf.open_manifest("a", B) is None
    assert shelf.repositories() == ["a", "a/b"]


def test_tags_that_a_file_system_would_fold_together(tmp_path: Path) -> None:
    shelf = DirectoryShelf(tmp_path)
    shelf.put_manifest("a", parcel(b"a"), ["Rc1"])
    shelf.put_manifest("a", parcel(b"b"), ["rC1"])
    names = [path.name for path in (tmp_path / "repositories/a/_tags").iterdir()]
    assert len({name.lower() for name in names}) == 2
    assert shelf.tags("a") == ["Rc1", "rC1"]


@pytest.mark.parametrize("content", [b"v1\nnonsense", b"v1\n\xff\xfe"])
def test_a_tag_file_that_is_damaged_is_no_tag(tmp_path: Path, content: bytes) -> None:
    shelf = DirectoryShelf(tmp_path)
    shelf.put_manifest("a", parcel(b"a"), ["v1"])
    (tmp_path / "repositories/a/_tags/tv1").write_bytes(content)
    assert shelf.open_manifest("a", "v1") is None


def test_an_upload_is_found_again_and_dropped_when_wrong(tmp_path: Path) -> None:
    upload = DirectoryShelf(tmp_path).start_upload("a", "sha256")
    upload.append(Given(b"abc"))
    later = DirectoryShelf(tmp_path)
    found = later.find_upload("a", upload.id)
    assert found is not None
    assert (found.size, found.digest("sha512")) == (3, upload.digest("sha512"))
    assert later.find_upload("a", "../../x") is None
    with pytest.raises(WrongDigestError):
        later.finish_upload("a", found, A)
    assert later.find_upload("a", upload.id) is None


def test_a_big_upload_is_hashed_beside_and_goes_on_after_a_break(tmp_path: Path) -> None:
    class Breaking(Given):
        def readinto(self, buffer: memoryview, /) -> int:
            if not (count := super().readinto(buffer)):
                raise BrokenBodyError
            return count

    data = bytes(range(256)) * 48 * 1024
    shelf = DirectoryShelf(tmp_path, durable=True)
    upload = shelf.start_upload("a", "sha256")
    with pytest.raises(BrokenBodyError):
        upload.append(Breaking(data[:9_000_000]))
    upload.append(Given(data[9_000_000:9_000_010]))
    assert upload.size == 9_000_010
    found = DirectoryShelf(tmp_path).find_upload("a", upload.id)
    assert found is not None
    found.append(Given(data[9_000_010:]), Digest.of(data))
    assert found.digest("sha256") == Digest.of(data).encoded


def test_half_a_block_on_a_full_disk_is_cut_off(tmp_path: Path) -> None:
    upload = DirectoryShelf(tmp_path).start_upload("a", "sha256")
    upload.append(Given(b"abc"))
    with open(upload.path, "ab") as file:
        file.write(b"left over")
    upload.append(Given(b"def"))
    assert upload.digest("sha256") == Digest.of(b"abcdef").encoded


def test_a_directory_is_served_once(tmp_path: Path) -> None:
    first, second = DirectoryShelf(tmp_path), DirectoryShelf(tmp_path)
    first.hold()
    with pytest.raises(StoreError, match="served by another process"):
        second.hold()
    first.close()
    second.close()
    second.hold()
    second.close()


def days_ago(*paths: Path) -> None:
    for path in paths:
        os.utime(path, (time.time() - 2 * 86400,) * 2)


def push_blob(shelf: DirectoryShelf, data: bytes) -> Path:
    upload = shelf.start_upload("a", "sha256")
    upload.append(Given(data))
    shelf.finish_upload("a", upload, Digest.of(data))
    return Path(shelf.blob_path(Digest.of(data)))


def test_tidying_takes_what_nobody_has_and_dead_uploads(tmp_path: Path) -> None:
    shelf = DirectoryShelf(tmp_path)
    kept, lost, young = (push_blob(shelf, data) for data in (b"kept", b"lost", b"young"))
    dead, alive = shelf.start_upload("a", "sha256"), shelf.start_upload("a", "sha256")
    days_ago(kept, lost, Path(dead.path))
    shelf.delete_blob("a", Digest.of(b"lost"))
    shelf.delete_blob("a", Digest.of(b"young"))
    shelf.tidy()
    assert [path.exists() for path in (kept, lost, young)] == [True, False, True]
    assert shelf.find_upload("a", dead.id) is None
    assert shelf.find_upload("a", alive.id) is alive


def test_gc_takes_blobs_that_no_manifest_lists(tmp_path: Path) -> None:
    manifest = Manifest.build(config=Descriptor.of(b"config", "x"), layers=[Descriptor.of(b"layer", "x")])
    blobs = [b"config", b"layer", b"unlisted"]
    for frees, left in ((False, 3), (True, 2)):
        shelf = DirectoryShelf(tmp_path / str(frees), frees=frees)
        paths = [push_blob(shelf, data) for data in blobs]
        shelf.put_manifest("a", Parcel(manifest.raw, manifest.descriptor), ["v1"])
        days_ago(*paths, *(tmp_path / str(frees) / "repositories/a/_blobs").iterdir())
        shelf.tidy()
        assert sum(path.exists() for path in paths) == left


def test_gc_leaves_a_repository_alone_whose_manifest_is_damaged(tmp_path: Path) -> None:
    shelf = DirectoryShelf(tmp_path, frees=True)
    blob = push_blob(shelf, b"layer")
    shelf.put_manifest("a", parcel(b"no JSON"), ["v1"])
    days_ago(blob, *(tmp_path / "repositories/a/_blobs").iterdir())
    shelf.tidy()
    assert blob.exists()


def test_gc_leaves_what_a_running_push_asked_for(tmp_path: Path) -> None:
    shelf = DirectoryShelf(tmp_path, frees=True)
    with RegistryServer(shelf) as server, Visitor(server.address) as visitor:
        for data in (b"{}", b"asked", b"fetched"):
            visitor.put_blob(data, "a")
        links = [tmp_path / "repositories/a/_blobs" / flat(Digest.of(data)) for data in (b"{}", b"asked", b"fetched")]
        days_ago(*links)
        for data in (b"{}", b"asked"):
            assert visitor.ask("HEAD", f"/v2/a/blobs/{Digest.of(data)}").status == 200
        assert visitor.ask("GET", f"/v2/a/blobs/{Digest.of(b'fetched')}").body == b"fetched"
        before = links[0].stat().st_mtime_ns
        assert visitor.ask("HEAD", f"/v2/a/blobs/{Digest.of(b'{}')}").status == 200
        assert links[0].stat().st_mtime_ns == before  # one touch an hour is enough
        shelf.tidy()
        assert [link.exists() for link in links] == [True, True, False]
        manifest = Manifest.build(config=EMPTY_JSON, layers=[Descriptor.of(b"asked", "application/x")])
        put = visitor.ask("PUT", "/v2/a/manifests/v1", manifest.raw, Content_Type=manifest.media_type)
        assert put.status == 201


def test_what_is_served_read_only_is_not_touched(tmp_path: Path) -> None:
    push_blob(DirectoryShelf(tmp_path), b"old")
    (link,) = (tmp_path / "repositories/a/_blobs").iterdir()
    days_ago(link)
    before = link.stat().st_mtime_ns
    options = ServerOptions(read_only=True)
    with RegistryServer(DirectoryShelf(tmp_path), options) as server, Visitor(server.address) as visitor:
        assert visitor.ask("HEAD", f"/v2/a/blobs/{Digest.of(b'old')}").status == 200
    assert link.stat().st_mtime_ns == before


def test_a_blob_of_the_store_that_is_asked_for_before_a_push_counts_as_new(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    with RegistryServer(StoreShelf(tmp_path, store)) as server, Visitor(server.address) as visitor:
        visitor.put_blob(b"asked")
        path = Path(store.blobs.path(Digest.of(b"asked")))
        days_ago(path)
        assert visitor.ask("HEAD", f"/v2/a/b/blobs/{Digest.of(b'never')}").status == 404
        assert visitor.ask("HEAD", f"/v2/a/b/blobs/{Digest.of(b'asked')}").status == 200
        assert path.stat().st_mtime > time.time() - 3600


# --- users


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def hashed(password: bytes) -> bytes:
    return bcrypt.hashpw(password[:72], bcrypt.gensalt(4))


def test_htpasswd(tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_bytes(b"\xef\xbb\xbf# people\n\nme:" + hashed(b"pass:word") + b"\nlong:" + hashed(b"x" * 100) + b"\n")
    access = HtpasswdAccess(path)
    for _ in range(2):
        assert access.challenge(basic("me", "pass:word"), "") is None
        assert access.challenge(basic("long", "x" * 100), "") is None
        for user, password in (("me", "wrong"), ("nobody", "pass:word"), ("me", ""), ("me", "pass:word\0")):
            assert access.challenge(basic(user, password), "") == 'Basic realm="kitops"'
    for value in (None, "", "Basic", "Basic !", "Basic /w==", "Bearer x"):
        assert access.challenge(value, "") == 'Basic realm="kitops"'


def test_htpasswd_is_read_again_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_bytes(b"me:" + hashed(b"old"))
    access = HtpasswdAccess(path)
    assert access.challenge(basic("me", "old"), "") is None
    path.write_bytes(b"me:" + hashed(b"newer") + b"\n")
    assert access.challenge(basic("me", "old"), "") is not None
    assert access.challenge(basic("me", "newer"), "") is None
    path.write_bytes(b"half a line")
    assert access.challenge(basic("me", "newer"), "") is None  # as it was, until the file is right again


@pytest.mark.parametrize(
    "content",
    [
        b"me:plain",
        b"me:$apr1$x$y",
        b"me",
        b":$2y$05$" + b"a" * 53,
        b"me:$2y$03$" + b"a" * 53,
        b"me:$2y$99$" + b"a" * 53,
        b"",
        b"# nobody\n",
    ],
)
def test_a_password_file_that_is_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "users"
    path.write_bytes(content)
    with pytest.raises(InvalidValueError, match="users") as caught:
        HtpasswdAccess(path)
    assert "htpasswd -B" in str(caught.value.hint)


def test_a_password_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileSystemError):
        HtpasswdAccess(tmp_path / "users")


def test_a_refusal_takes_as_long_for_every_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "users"
    path.write_bytes(b"low:%b\nhigh:%b\n" % (hashed(b"right"), bcrypt.hashpw(b"right", bcrypt.gensalt(7))))
    access = HtpasswdAccess(path)
    checked: list[int] = []
    really = bcrypt.checkpw

    def check(password: bytes, against: bytes) -> bool:
        checked.append(2 ** int(against[4:6]))
        return really(password, against)

    monkeypatch.setattr(bcrypt, "checkpw", check)
    for name in ("low", "high", "nobody"):
        checked.clear()
        assert access.challenge(basic(name, "wrong"), "") is not None
        assert sum(checked) == 2**7
    assert access.challenge(basic("low", "right"), "") is None
