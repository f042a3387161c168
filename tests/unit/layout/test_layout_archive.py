"""OCI image layouts in a tar: the same bytes for the same content, whole or not at all, hostile ones refused."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import threading
from pathlib import Path

import pytest

from any_artifacts import put_artifact, put_signature
from kitops.content.cancel import CancelToken
from kitops.content.copy import BytesReader, copy, list_graph
from kitops.content.protocols import Reader, Run
from kitops.errors import Cancelled, FileSystemError, IntegrityError, InvalidValueError, KitError, TrustError
from kitops.layout import newfile
from kitops.layout.archive import open_archive, receive_stream
from kitops.layout.directory import LayoutDirectory, open_directory
from kitops.layout.write import Plan, create_archive, plan_archive, write_stream
from kitops.oci.descriptor import Descriptor
from kitops.oci.digest import Digest


@pytest.fixture
def layout(tmp_path: Path) -> LayoutDirectory:
    return open_directory(str(tmp_path / "layout"), Run(), create=True)


def plan_of(layout: LayoutDirectory, *entries: tuple[Descriptor, str | None]) -> Plan:
    manifests: dict[Descriptor, bytes] = {}
    blobs = [blob for desc, _ in entries for blob in list_graph(layout, desc, manifests, Run())]
    return plan_archive(entries, [*blobs, *manifests])


def write(layout: LayoutDirectory, path: Path, *entries: tuple[Descriptor, str | None]) -> None:
    with create_archive(str(path), plan_of(layout, *entries), Run()) as file:
        for desc, _ in entries:
            copy(layout, file, desc, Run())
        file.publish()


@pytest.fixture
def archive(layout: LayoutDirectory, tmp_path: Path) -> Path:
    subject = put_artifact(layout, os.urandom(300_000), b"small")
    write(layout, tmp_path / "a.tar", (subject, "reg.example.com/x:v1"), (put_signature(layout, subject), None))
    return tmp_path / "a.tar"


def test_what_was_written_is_read(archive: Path, layout: LayoutDirectory) -> None:
    with open_archive(str(archive), Run()) as contents:
        desc = contents.resolve("reg.example.com/x:v1")
        assert contents.find_only() == desc
        assert len(contents.referrers(desc.digest)) == 1
        assert contents.fetch(desc) == layout.fetch(desc)


def test_other_programs_read_it(archive: Path) -> None:
    with tarfile.open(archive) as tar:
        names = tar.getnames()
    assert names[:4] == ["oci-layout", "index.json", "blobs", "blobs/sha256"]
    assert names[4:] == sorted(names[4:])


def test_a_pipe_or_device_stays_one_and_a_link_too(layout: LayoutDirectory, tmp_path: Path) -> None:
    desc = put_artifact(layout, b"1")
    pipe, link = tmp_path / "pipe", tmp_path / "link.tar"
    os.mkfifo(pipe)
    with pytest.raises(FileSystemError, match="pipe: it is a pipe, a socket or a device, not a file"):
        write(layout, pipe, (desc, "a:1"))
    assert pipe.is_fifo()
    link.symlink_to("target.tar")
    write(layout, link, (desc, "a:1"))
    assert link.is_symlink()
    with open_archive(str(tmp_path / "target.tar"), Run()) as contents:
        assert contents.resolve("a:1").digest == desc.digest


def test_the_bytes_do_not_depend_on_order(layout: LayoutDirectory, tmp_path: Path) -> None:
    one, two = put_artifact(layout, b"1"), put_artifact(layout, b"2")
    write(layout, tmp_path / "a.tar", (one, "a:1"), (two, "b:1"), (one, None))
    write(layout, tmp_path / "b.tar", (two, "b:1"), (one, None), (one, "a:1"))
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    out = bytearray()
    write_stream(plan_of(layout, (two, "b:1"), (one, "a:1")), lambda desc: layout, out.extend, Run())
    assert bytes(out) == (tmp_path / "a.tar").read_bytes()


def test_a_damaged_source_leaves_no_file(layout: LayoutDirectory, tmp_path: Path) -> None:
    desc = put_artifact(layout, b"right")
    plan = plan_of(layout, (desc, "v1"))
    blob = tmp_path / "layout" / "blobs" / "sha256" / Digest.of(b"right").encoded
    blob.write_bytes(b"wrong")
    (tmp_path / "out").mkdir()
    with pytest.raises(IntegrityError), create_archive(str(tmp_path / "out" / "a.tar"), plan, Run()) as file:
        copy(layout, file, desc, Run())
    assert list((tmp_path / "out").iterdir()) == []


def test_an_unfinished_archive_is_not_published(layout: LayoutDirectory, tmp_path: Path) -> None:
    plan = plan_of(layout, (put_artifact(layout, b"1"), "v1"))
    with create_archive(str(tmp_path / "a.tar"), plan, Run()) as file, pytest.raises(IntegrityError, match="nothing"):
        file.publish()
    assert not (tmp_path / "a.tar").exists()


def test_what_had_the_name_is_replaced_in_the_end(layout: LayoutDirectory, tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(b"before")
    desc = put_artifact(layout, b"1")
    with create_archive(str(path), plan_of(layout, (desc, "v1")), Run()) as file:
        copy(layout, file, desc, Run())
        assert path.read_bytes() == b"before"
        file.publish()
    assert path.stat().st_size > 4096


def test_without_files_that_have_no_name(
    layout: LayoutDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(newfile.os, "O_TMPFILE")
    desc = put_artifact(layout, b"1")
    (tmp_path / "out").mkdir()
    path = tmp_path / "out" / "a.tar"
    with create_archive(str(path), plan_of(layout, (desc, "v1")), Run()):
        assert len(list((tmp_path / "out").iterdir())) == 1
    assert list((tmp_path / "out").iterdir()) == []
    write(layout, path, (desc, "v1"))
    assert list((tmp_path / "out").iterdir()) == [path]


def test_a_disk_that_is_too_small_is_told_before(layout: LayoutDirectory, tmp_path: Path) -> None:
    huge = Descriptor("a/b", Digest.of(b"huge"), 1 << 60)
    with (
        pytest.raises(FileSystemError, match=r"\d+ bytes needed, \d+ bytes free"),
        create_archive(str(tmp_path / "a.tar"), plan_archive([], [huge]), Run()),
    ):
        pass


def test_a_place_that_is_not_there(layout: LayoutDirectory, tmp_path: Path) -> None:
    with pytest.raises(FileSystemError), create_archive(str(tmp_path / "no" / "a.tar"), plan_archive([], []), Run()):
        pass
    with pytest.raises(FileSystemError), open_archive(str(tmp_path / "no.tar"), Run()):
        pass


# --- hostile ones


def member(name: str, content: bytes = b"", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    found = tarfile.TarInfo(name)
    found.size = len(content)
    for key, value in fields.items():
        setattr(found, key, value)
    return found, content


LAYOUT = member("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
INDEX = member("index.json", b'{"schemaVersion":2,"manifests":[]}')


def make_tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def absurd_size() -> bytes:
    data = bytearray(make_tar(LAYOUT, INDEX, member("blobs/sha256/" + "a" * 64, b"x")))
    start = data.index(b"blobs/sha256/")
    data[start + 124 : start + 136] = b"77777777777\0"
    data[start + 148 : start + 156] = b" " * 8
    data[start + 148 : start + 156] = b"%06o\0 " % sum(data[start : start + 512])
    return bytes(data)


HOSTILE: dict[str, tuple[bytes, type[KitError], str]] = {
    "leads out": (make_tar(LAYOUT, INDEX, member("../x", b"x")), TrustError, "leads out"),
    "absolute": (make_tar(LAYOUT, INDEX, member("/etc/x", b"x")), TrustError, "absolute"),
    "symbolic link": (
        make_tar(LAYOUT, member("index.json", type=tarfile.SYMTYPE, linkname="/etc/passwd")),
        TrustError,
        "a symbolic link",
    ),
    "hard link": (make_tar(LAYOUT, INDEX, member("x", type=tarfile.LNKTYPE, linkname="y")), TrustError, "a hard link"),
    "device": (make_tar(LAYOUT, INDEX, member("x", type=tarfile.CHRTYPE)), TrustError, "a character device"),
    "twice": (make_tar(LAYOUT, INDEX, INDEX), TrustError, "index.json is in it twice"),
    "twice by another spelling": (make_tar(LAYOUT, INDEX, member("./index.json", b"{}")), TrustError, "twice"),
    "cut off": (make_tar(LAYOUT, INDEX)[:1600], IntegrityError, "an early end"),
    "no end": (make_tar(LAYOUT, INDEX)[:2048], IntegrityError, "an early end"),
    "absurd size": (absurd_size(), IntegrityError, "an early end"),
    "no tar": (b"not a tar at all" * 100, IntegrityError, "something else"),
    "empty": (b"", IntegrityError, "an early end"),
    "no layout": (make_tar(INDEX), InvalidValueError, "has no oci-layout"),
    "no index": (make_tar(LAYOUT), InvalidValueError, "has no index.json"),
    "compressed": (gzip.compress(make_tar(LAYOUT, INDEX)), InvalidValueError, "is compressed"),
}


@pytest.fixture(params=list(HOSTILE))
def hostile(request: pytest.FixtureRequest) -> tuple[bytes, type[KitError], str]:
    return HOSTILE[request.param]


def test_hostile_files_are_refused(hostile: tuple[bytes, type[KitError], str], tmp_path: Path) -> None:
    data, kind, message = hostile
    (tmp_path / "x.tar").write_bytes(data)
    with pytest.raises(kind, match=message), open_archive(str(tmp_path / "x.tar"), Run()):
        pass


def feed(data: bytes) -> int:
    """The reading end of a pipe that gets these bytes."""
    reading, writing = os.pipe()

    def run() -> None:
        try:
            with open(writing, "wb") as file:
                file.write(data)
        except BrokenPipeError:
            pass

    threading.Thread(target=run).start()
    return reading


def read_all(reader: Reader) -> bytes:
    found = b""
    buffer = memoryview(bytearray(1000))
    while count := reader.readinto(buffer):
        found += buffer[:count]
    return found


def test_hostile_streams_are_refused(hostile: tuple[bytes, type[KitError], str]) -> None:
    data, kind, message = hostile
    descriptor = feed(data)
    if message.startswith("has no"):  # told by who reads what the stream gave
        os.close(descriptor)
        return
    try:
        with pytest.raises(kind, match=message):
            receive_stream(descriptor, "the pipe", lambda desc, reader: None, Run())
    finally:
        os.close(descriptor)


def test_a_stream_gives_every_blob(archive: Path) -> None:
    got: dict[Digest, bytes] = {}

    def put(desc: Descriptor, reader: Reader) -> None:
        got[desc.digest] = read_all(reader)
        assert len(got[desc.digest]) == desc.size

    descriptor = feed(archive.read_bytes())
    try:
        files = receive_stream(descriptor, "the pipe", put, Run())
    finally:
        os.close(descriptor)
    assert set(files) == {"oci-layout", "index.json"}
    assert all(Digest.of(data) == digest for digest, data in got.items())
    assert len(got) == 6


def test_blobs_of_a_stream_may_be_left_unread(archive: Path) -> None:
    descriptor = feed(archive.read_bytes())
    try:
        assert len(receive_stream(descriptor, "the pipe", lambda desc, reader: None, Run())) == 2
    finally:
        os.close(descriptor)


def test_a_pipe_that_says_nothing_can_be_interrupted() -> None:
    reading, writing = os.pipe()
    token = CancelToken()
    timer = threading.Timer(0.05, token.cancel)
    timer.start()
    try:
        with pytest.raises(Cancelled):
            receive_stream(reading, "the pipe", lambda desc, reader: None, Run(cancel=token))
    finally:
        timer.join()
        os.close(reading)
        os.close(writing)


def test_other_files_are_allowed(tmp_path: Path) -> None:
    extra = member("manifest.json", b"[]"), member("notes/README", b"hello"), member("blobs/sha256/short", b"x")
    (tmp_path / "x.tar").write_bytes(make_tar(LAYOUT, *extra, INDEX))
    with open_archive(str(tmp_path / "x.tar"), Run()) as contents:
        assert contents.names().descriptors == ()
        with pytest.raises(KitError):
            contents.fetch(Descriptor.of(b"y", "a/b"))


def test_a_file_needs_its_bytes(layout: LayoutDirectory) -> None:
    desc = Descriptor.of(b"inline", "a/b")
    inline = Descriptor(desc.media_type, desc.digest, desc.size, data=b"inline")
    assert layout.fetch(inline) == b"inline"
    with pytest.raises(IntegrityError):
        layout.put(desc, BytesReader(b"other!"), lambda size: None)
