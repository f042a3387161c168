"""What is judged is what is unpacked, and small files that two threads write are whole or an error."""

from __future__ import annotations

import io
import os
import resource
import tarfile
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from kitops.content.body import BEHIND, BIG
from kitops.content.cancel import CancelToken
from kitops.content.protocols import Run
from kitops.errors import FileSystemError, IntegrityError, NetworkError, TrustError
from kitops.layers.codec import PIECE, Codec
from kitops.layers.extract import Existing, Extracted, Extraction
from kitops.layers.index import Index
from kitops.layers.journal import ReplayReader
from kitops.layers.layer_content import LayerContent
from kitops.layers.newfiles import NewFiles
from kitops.layers.tar import END, member_header, padding
from kitops.layers.untar import Member, PieceReader
from kitops.layers.write import Format
from kitops.oci.descriptor import Descriptor

if TYPE_CHECKING:
    from collections.abc import Buffer, Iterator
    from pathlib import Path


def archive(files: dict[str, bytes], *, directories: tuple[str, ...] = ()) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as found:
        for path in directories:
            member = tarfile.TarInfo(path)
            member.type = tarfile.DIRTYPE
            member.size = 0
            found.addfile(member)
        for path, content in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(content)
            found.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def layer_of(content: bytes, path: str = "m") -> LayerContent:
    return LayerContent(
        Descriptor.of(content, "application/x"), Format.TAR, Codec.NONE, path=path, base="", what="the layer"
    )


def unpack(target: Path, blobs: list[Path], *, judge: bool = True) -> Extracted:
    layers = [layer_of(blob.read_bytes(), blob.name) for blob in blobs]
    with Extraction(target, existing=Existing.REFUSE, run=Run()) as extraction:
        for blob, layer in zip(blobs, layers, strict=True):
            if judge:
                extraction.judge(blob, layer)
        for blob, layer in zip(blobs, layers, strict=True):
            extraction.add_blob(blob, layer, lambda size: None)
        return extraction.commit()


FILES = {f"d{number % 7}/e/f{number}": bytes([number % 251]) * (number * 37 % 3000) for number in range(900)}
FILES["big"] = os.urandom(3 * PIECE + 77)
FILES["long/" + "x" * 120 + "/é"] = b"with an extended header"


@pytest.mark.parametrize("judge", [True, False])
def test_many_small_files_and_a_big_one_come_out_as_they_went_in(tmp_path: Path, *, judge: bool) -> None:
    blob = tmp_path / "blob"
    blob.write_bytes(archive(FILES, directories=("empty/inner",)))
    done = unpack(tmp_path / "out", [blob], judge=judge)
    out = tmp_path / "out"
    assert {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()} == FILES
    assert (out / "empty/inner").is_dir()
    assert (done.written, done.kept, done.size) == (len(FILES), 0, sum(map(len, FILES.values())))
    assert not [thread for thread in threading.enumerate() if thread.name == "kitops-ring"]


def test_a_file_of_two_layers_is_written_once_if_it_is_the_same(tmp_path: Path) -> None:
    blobs = [tmp_path / "one", tmp_path / "two"]
    blobs[0].write_bytes(archive({"a/same": b"content", "a/x": b"1"}))
    blobs[1].write_bytes(archive({"a/same": b"content", "a/y": b"2"}))
    done = unpack(tmp_path / "out", blobs)
    assert (done.written, sorted(os.listdir(tmp_path / "out/a"))) == (3, ["same", "x", "y"])
    blobs[1].write_bytes(archive({"a/same": b"CONTENT"}))
    with pytest.raises(TrustError, match="a/same is in another layer too, with other content"):
        unpack(tmp_path / "again", blobs)
    assert not (tmp_path / "again").exists()


def test_a_blob_that_changes_after_it_was_judged_is_refused(tmp_path: Path) -> None:
    blob = tmp_path / "blob"
    content = archive({"good": b"x" * 700, "other": b"y"})
    blob.write_bytes(content)
    layer = layer_of(content.replace(b"good", b"evil"))
    with Extraction(tmp_path / "out", existing=Existing.REFUSE, run=Run()) as extraction:
        extraction.judge(blob, layer)
        blob.write_bytes(content.replace(b"good", b"evil"))
        with pytest.raises(IntegrityError, match="the headers that were judged"):
            extraction.add_blob(blob, layer, lambda size: None)
    assert not (tmp_path / "out").exists()


def test_an_index_replays_what_it_read(tmp_path: Path) -> None:
    content = archive(FILES, directories=("d1",))
    blob = tmp_path / "blob"
    blob.write_bytes(content)
    index = Index()
    descriptor = os.open(blob, os.O_RDONLY)
    judged = list(index.read(descriptor, "base", "it"))
    os.close(descriptor)
    assert index.is_whole
    assert [member.path for member in judged] == ["base/d1", *(f"base/{path}" for path in FILES)]
    pieces = PieceReader(iter([memoryview(content[at : at + 1000]) for at in range(0, len(content), 1000)]), "it")
    replayed: list[Member] = []
    for member in index.replay(pieces):
        assert b"".join(map(bytes, pieces.parts(member.size))) == FILES.get(member.path.removeprefix("base/"), b"")
        replayed.append(member)
    assert replayed == judged


def test_a_directory_that_claims_content_is_parsed_again(tmp_path: Path) -> None:
    member = tarfile.TarInfo("d")
    member.type = tarfile.DIRTYPE
    member.size = 1024
    content = member.tobuf() + bytes(1024) + archive({"d/file": b"content"})
    blob = tmp_path / "blob"
    blob.write_bytes(content)
    unpack(tmp_path / "out", [blob])
    assert (tmp_path / "out/d/file").read_bytes() == b"content"


def test_content_that_cannot_be_written_beside_is_an_error_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    files = NewFiles(tmp_path / "new", tmp_path / "shown", CancelToken(), cached=True)
    assert files.put_off("a/file", 0o644, memoryview(b"content"))
    errand = files.hand_over()
    assert errand is not None
    assert files.hand_over() is None
    descriptor = next(
        int(name) for name in os.listdir("/proc/self/fd") if read_link(name) == str(tmp_path / "new/a/file")
    )
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, descriptor)
    os.close(full)
    with pytest.raises(FileSystemError, match="shown/a/file") as caught:
        errand()
    assert caught.value.exit_code == 14
    files.close()


def test_files_that_nobody_wrote_are_closed(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    before = sorted(os.listdir("/proc/self/fd"))
    files = NewFiles(tmp_path / "new", tmp_path / "shown", CancelToken(), cached=True)
    for number in range(500):
        assert files.put_off(f"d/{number}", 0o644, memoryview(b"content"))
    assert not files.put_off("d/1", 0o644, memoryview(b"other"))
    files.close()
    assert sorted(os.listdir("/proc/self/fd")) == before
    assert (files.count, files.size) == (500, 3500)


def test_few_files_wait_where_the_process_may_have_few_open(tmp_path: Path) -> None:
    blob = tmp_path / "blob"
    blob.write_bytes(tar_of({f"d/{number}": b"%d" % number for number in range(200)}))
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = set(map(int, os.listdir("/proc/self/fd")))
    sixty_more = next(limit for limit in range(before[0]) if len(set(range(limit)) - used) == 60)
    resource.setrlimit(resource.RLIMIT_NOFILE, (sixty_more, before[1]))
    try:
        unpack(tmp_path / "out", [blob])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert len(list((tmp_path / "out/d").iterdir())) == 200


@pytest.mark.parametrize("judge", [True, False])
def test_a_size_that_fits_no_number_of_the_system_is_refused(tmp_path: Path, judge: bool) -> None:
    member = tarfile.TarInfo("m/file")
    member.pax_headers = {"size": "9999999999999999999"}
    blob = tmp_path / "blob"
    blob.write_bytes(member.tobuf(tarfile.PAX_FORMAT) + END)
    with pytest.raises(IntegrityError, match="an absurd size"):
        unpack(tmp_path / "out", [blob], judge=judge)
    assert not (tmp_path / "out").exists()


def read_link(name: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{name}")
    except OSError:
        return ""


HUGE = 1 << 60  # no machine has room for it in its page cache


def tar_of(files: dict[str, bytes]) -> bytes:
    """An archive as this tool writes it."""
    whole = b""
    for path, content in files.items():
        header = member_header(path.encode(), 0o644, len(content), is_dir=False)
        whole += header + content + bytes(padding(len(content)))
    return whole + END


def test_big_files_past_the_page_cache(tmp_path: Path) -> None:
    files = {"a/big": os.urandom(BIG + 12_345), "a/small": b"small", "exact": os.urandom(BIG)}
    blob = tmp_path / "blob"
    blob.write_bytes(tar_of(files))
    out = tmp_path / "out"
    with Extraction(out, existing=Existing.REFUSE, run=Run(), size=HUGE) as extraction:
        extraction.add_blob(blob, layer_of(blob.read_bytes()), lambda size: None)
        extraction.commit()
    assert {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()} == files
    assert not [thread for thread in threading.enumerate() if thread.name == "kitops-write"]


class Broken:
    """A stream that breaks off."""

    def __init__(self, content: bytes, end: int) -> None:
        self._content = memoryview(content)[:end]

    def readinto(self, buffer: memoryview, /) -> int:
        if not self._content:
            raise NetworkError("the connection broke")
        count = min(len(buffer), len(self._content))
        buffer[:count] = self._content[:count]
        self._content = self._content[count:]
        return count


def break_off(out: Path, layer: LayerContent, content: bytes, end: int) -> None:
    with Extraction(out, existing=Existing.REFUSE, run=Run(), size=HUGE) as extraction:
        extraction.add_journalled(Broken(content, end), layer, lambda size: None)


@pytest.mark.parametrize("end", [BIG - 5_000_000, BIG + 4_000_000, 2 * BIG + 100_000])
def test_a_broken_stream_past_the_page_cache_goes_on_from_what_surely_was_written(tmp_path: Path, end: int) -> None:
    files = {"one": os.urandom(BIG), "two": os.urandom(BIG + 7), "three": os.urandom(5_000_000)}
    content, out = tar_of(files), tmp_path / "out"
    layer = layer_of(content)
    with pytest.raises(NetworkError):
        break_off(out, layer, content, end)
    asked: list[int] = []

    @contextmanager
    def open_at(start: int) -> Iterator[io.BytesIO]:
        asked.append(start)
        yield io.BytesIO(content[start:])

    with Extraction(out, existing=Existing.REFUSE, run=Run(), size=HUGE) as extraction:
        replay = extraction.find_replay(layer)
        assert replay is not None
        with ReplayReader(replay, len(content), open_at) as reader:
            extraction.add_journalled(reader, layer, lambda size: None)
        extraction.commit()
    assert {path.name: path.read_bytes() for path in out.iterdir()} == files
    assert len(asked) == 1
    assert end - BEHIND - (8 << 20) <= asked[0] <= end


def test_a_journal_without_room_is_an_error_about_the_target(tmp_path: Path) -> None:
    layer = layer_of(content := archive({f"{number}": b"x" for number in range(9)}))
    out = tmp_path / "out"

    class Full(io.BytesIO):
        """The disk is full from the first byte on that comes."""

        def readinto(self, buffer: Buffer, /) -> int:
            if not self.tell():
                (journal,) = out.glob(".kitops-unpack-*/journal/*")
                (descriptor,) = (fd for fd in os.listdir("/proc/self/fd") if is_same(f"/proc/self/fd/{fd}", journal))
                with open("/dev/full", "wb") as full:
                    os.dup2(full.fileno(), int(descriptor))
            return super().readinto(buffer)

    with (
        pytest.raises(FileSystemError, match=f"unpacking into {out}: no space left on device"),
        Extraction(out, existing=Existing.REFUSE, run=Run()) as extraction,
    ):
        extraction.add_journalled(Full(content), layer, lambda _: None)
    assert not out.exists()


def is_same(one: str, other: Path) -> bool:
    return os.path.exists(one) and os.path.samefile(one, other)
