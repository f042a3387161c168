"""Entries become layers: headers of every shape, links and special files, files that change, codecs."""

from __future__ import annotations

import hashlib
import io
import json
import os
import socket
import tarfile
from pathlib import Path

import pytest

from golden_trees import GOLDEN
from kitops.content.copy import BytesReader
from kitops.content.protocols import LayerRecord, Run
from kitops.errors import Cancelled, FileSystemError, IntegrityError, PackError, TrustError
from kitops.layers.codec import Codec, decompress
from kitops.layers.ignore import IgnoreRules, read_ignore
from kitops.layers.members import list_files
from kitops.layers.tar import END, header_size, member_header
from kitops.layers.walk import Scan, Symlinks, scan
from kitops.layers.write import Format, fingerprint, layer_size, stream_layer, write_layer
from kitops.oci.digest import Digest


def scan_all(context: Path, path: str = "m", symlinks: Symlinks = Symlinks.REFUSE) -> Scan:
    return scan(context, path, ignore=IgnoreRules(), symlinks=symlinks)


def write(
    found: Scan, out: Path, form: Format = Format.TAR, codec: Codec = Codec.NONE, *, overlap: bool = False
) -> LayerRecord:
    descriptor = os.open(out, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    moved: list[int] = []
    size = layer_size(found.entries, form)
    try:
        record = write_layer(
            found.entries, form, codec, descriptor, size=size, overlap=overlap, run=Run(), moved=moved.append
        )
    finally:
        os.close(descriptor)
    assert sum(moved) == size
    assert record.digest == Digest.of(out.read_bytes())
    assert record.size == out.stat().st_size
    return record


@pytest.fixture
def context(tmp_path: Path) -> Path:
    context = tmp_path / "context"
    (context / "m/sub").mkdir(parents=True)
    (context / "m/large.bin").write_bytes(os.urandom(1 << 20) + b"tail")
    (context / "m/sub/small.txt").write_text("small")
    (context / "m/empty").write_bytes(b"")
    return context


def test_the_header_of_a_file_over_eight_gibibytes_is_that_of_the_go_tool() -> None:
    told = json.loads((GOLDEN / "big-header.json").read_text())
    start = (GOLDEN / "big-header.bin").read_bytes()
    with tarfile.open(fileobj=io.BytesIO(start)) as archive:
        member = archive.next()
    assert member is not None
    assert member.size == (8 << 30) + 1
    header = member_header(member.name.encode(), member.mode, member.size, is_dir=False)
    assert start.startswith(header)
    assert len(header) == header_size(member.name.encode(), member.size)
    total = len(header) + member.size + -member.size % 512 + len(END)
    assert total == told["layerSize"]


@pytest.mark.parametrize("codec", list(Codec))
@pytest.mark.parametrize("overlap", [False, True])
def test_a_layer_reads_back_whatever_its_codec(codec: Codec, overlap: bool, context: Path, tmp_path: Path) -> None:
    found = scan_all(context)
    record = write(found, tmp_path / "layer", codec=codec, overlap=overlap)
    plain = b"".join(bytes(piece) for piece in decompress([memoryview((tmp_path / "layer").read_bytes())], codec, "it"))
    assert record.diff_id == Digest.of(plain)
    with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
        content = {member.name: archive.extractfile(member) for member in archive}
        assert list(content) == ["m", "m/empty", "m/large.bin", "m/sub", "m/sub/small.txt"]
        file = content["m/large.bin"]
        assert file is not None
        assert file.read() == (context / "m/large.bin").read_bytes()
    listed = list_files(
        BytesReader((tmp_path / "layer").read_bytes()), Format.TAR, codec, layer_path="m", what="it", run=Run()
    )
    assert {(file.path, file.size, str(file.digest)) for file in listed} == {
        (path, (context / path).stat().st_size, f"sha256:{hashlib.sha256((context / path).read_bytes()).hexdigest()}")
        for path in ("m/empty", "m/large.bin", "m/sub/small.txt")
    }


@pytest.mark.parametrize("codec", list(Codec))
def test_a_raw_layer_is_the_file(codec: Codec, context: Path, tmp_path: Path) -> None:
    found = scan_all(context, "m/large.bin")
    found.entries = [entry for entry in found.entries if not entry.is_dir]
    record = write(found, tmp_path / "layer", Format.RAW, codec, overlap=True)
    assert record.diff_id == Digest.of((context / "m/large.bin").read_bytes())
    (file,) = list_files(
        BytesReader((tmp_path / "layer").read_bytes()), Format.RAW, codec, layer_path="x", what="it", run=Run()
    )
    assert (file.path, file.digest) == ("x", record.diff_id)


def test_a_streamed_layer_is_the_written_one(context: Path, tmp_path: Path) -> None:
    found = scan_all(context)
    write(found, tmp_path / "layer")
    streamed = b"".join(bytes(piece) for piece in stream_layer(found.entries, Format.TAR, Codec.NONE))
    assert streamed == (tmp_path / "layer").read_bytes()


@pytest.mark.parametrize("path", ["m/large.bin", "m/sub/small.txt"])
@pytest.mark.parametrize("change", ["grow", "shrink", "vanish"])
def test_a_file_that_changes_is_named(path: str, change: str, context: Path, tmp_path: Path) -> None:
    found = scan_all(context)
    file = context / path
    if change == "grow":
        file.write_bytes(file.read_bytes() + b"more")
    elif change == "shrink":
        file.write_bytes(b"x")
    else:
        file.unlink()
    with pytest.raises((PackError, FileSystemError), match=path):
        write(found, tmp_path / "layer")


def test_the_fingerprint_changes_with_any_file_and_with_the_codec(context: Path) -> None:
    one = fingerprint(scan_all(context).entries, Format.TAR, Codec.NONE)
    assert one == fingerprint(scan_all(context).entries, Format.TAR, Codec.NONE)
    assert one.key != fingerprint(scan_all(context).entries, Format.TAR, Codec.ZSTD).key
    (context / "m/sub/small.txt").chmod(0o600)
    assert one.key != fingerprint(scan_all(context).entries, Format.TAR, Codec.NONE).key


def test_links_and_special_files_are_all_named(context: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (context / "m/link").symlink_to("large.bin")
    (context / "m/dangling").symlink_to("nowhere")
    os.mkfifo(context / "m/pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        monkeypatch.chdir(context)  # the name of a socket is short
        listener.bind("m/sock")
    with pytest.raises(PackError) as caught:
        scan_all(context)
    text = f"{caught.value} {caught.value.hint}"
    assert all(word in text for word in ("m/link", "m/dangling", "--symlinks skip", ".kitignore"))
    assert caught.value.message.startswith("symbolic links, pipes, sockets and devices of path m are not packed:\n")
    assert {"  m/link -> large.bin", "  m/pipe, a pipe", "  m/sock, a socket"} <= set(caught.value.lines)
    skipped = scan_all(context, symlinks=Symlinks.SKIP)
    links = {"m/link": "a symbolic link", "m/dangling": "a symbolic link"}
    assert dict(skipped.skipped) == links | {"m/pipe": "a pipe", "m/sock": "a socket"}
    with pytest.raises(PackError, match="dangling"):
        scan_all(context, symlinks=Symlinks.FOLLOW)
    os.unlink("m/pipe")
    os.unlink("m/sock")
    with pytest.raises(PackError, match="symbolic links of path m are not packed:\n") as caught:
        scan_all(context)
    assert "--symlinks follow" in (caught.value.hint or "")


@pytest.mark.parametrize("symlinks", list(Symlinks))
def test_a_path_that_is_a_pipe(context: Path, symlinks: Symlinks) -> None:
    os.mkfifo(context / "pipe")
    with pytest.raises(PackError, match="path pipe of the Kitfile is a pipe, which cannot be packed") as caught:
        scan_all(context, "pipe", symlinks)
    assert caught.value.hint == "take it out of the Kitfile"


def test_followed_links_may_lead_out_but_not_in_circles(context: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/blob").write_text("blob")
    (context / "m/out").symlink_to(tmp_path / "outside")
    found = scan_all(context, symlinks=Symlinks.FOLLOW)
    assert b"m/out/blob" in [entry.name for entry in found.entries]
    assert found.followed[0][0] == "m/out"
    (context / "m/loop").symlink_to(context / "m")
    with pytest.raises(PackError, match="loop"):
        scan_all(context, symlinks=Symlinks.FOLLOW)


def test_a_layer_path_that_is_a_link(context: Path) -> None:
    (context / "alias").symlink_to("m")
    with pytest.raises(PackError, match="alias"):
        scan_all(context, "alias")
    assert b"alias/empty" in [entry.name for entry in scan_all(context, "alias", Symlinks.FOLLOW).entries]


@pytest.mark.parametrize("path", ["/etc", "..", "../x", "missing", "m/empty/below"])
def test_paths_that_cannot_be_packed(path: str, context: Path) -> None:
    with pytest.raises(PackError, match=path.strip("./") or "leaves"):
        scan_all(context, path)


def test_names_that_are_no_text_are_refused(context: Path) -> None:
    with open(os.fsencode(context) + b"/m/\xff\xfe", "wb"):
        pass
    with pytest.raises(PackError, match="UTF-8"):
        scan_all(context)


def test_directories_are_packed_as_deep_as_they_can_be_unpacked(context: Path) -> None:
    deep = "m/" + "d/" * 254
    (context / deep).mkdir(parents=True)
    (context / deep / "f").write_text("x")
    names = [entry.name.decode() for entry in scan_all(context).entries]
    assert f"{deep}f" in names
    (context / deep / "d").mkdir()
    with pytest.raises(PackError, match="path m has more than 255 directories inside each other"):
        scan_all(context)
    with pytest.raises(PackError, match="255 directories"):
        scan_all(context, "d/" * 255 + "f")


def test_dots_inside_a_name_are_names(context: Path) -> None:
    (context / "m/a..b").write_text("")
    assert b"m/a..b" in [entry.name for entry in scan_all(context).entries]


def test_a_path_that_is_wholly_ignored_is_told(context: Path) -> None:
    (context / ".kitignore").write_text("m\n")
    with pytest.raises(PackError, match="ignore"):
        scan(context, "m", ignore=read_ignore(context))


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (".DS_Store", "operating systems leave files of that name"),
        ("m/Thumbs.db", "operating systems leave files of that name"),
        ("Kitfile", "it says what is packed"),
        ("m/.kitops-unpacked.json", "`kit unpack` leaves files of that name"),
    ],
)
def test_a_path_that_is_never_packed_is_told_the_rule(path: str, reason: str, context: Path) -> None:
    (context / path).write_text("x")
    with pytest.raises(PackError, match=f"path {path} is never packed: {reason}"):
        scan_all(context, path)


def test_an_ignore_file_that_cannot_be_read_is_no_empty_one(context: Path) -> None:
    assert read_ignore(context).is_ignored("m", is_dir=True) is False
    (context / ".kitignore").symlink_to("secrets")
    with pytest.raises(FileSystemError, match=r"reading .*\.kitignore: no such file"):
        read_ignore(context)
    (context / "secrets").write_text("m\n")
    assert read_ignore(context).is_ignored("m", is_dir=True)
    (context / "secrets").unlink()
    os.mkfifo(context / "secrets")
    with pytest.raises(FileSystemError, match=r"\.kitignore: it is not a file"):
        read_ignore(context)


def test_a_disk_that_is_full_is_told(context: Path) -> None:
    found = scan_all(context)
    descriptor = os.open("/dev/full", os.O_RDWR)
    try:
        with pytest.raises(FileSystemError):
            write_layer(
                found.entries,
                Format.TAR,
                Codec.NONE,
                descriptor,
                size=9,
                overlap=False,
                run=Run(),
                moved=lambda size: None,
            )
    finally:
        os.close(descriptor)


def test_cancelling_ends_the_writing(context: Path, tmp_path: Path) -> None:
    run = Run()
    found = scan_all(context)
    run.cancel.cancel()
    descriptor = os.open(tmp_path / "layer", os.O_RDWR | os.O_CREAT)
    try:
        with pytest.raises(Cancelled):
            write_layer(
                found.entries,
                Format.TAR,
                Codec.ZSTD,
                descriptor,
                size=9,
                overlap=True,
                run=run,
                moved=lambda size: None,
            )
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("codec", [Codec.GZIP, Codec.ZSTD])
@pytest.mark.parametrize("damage", ["cut", "trailing", "garbage", "empty"])
def test_damaged_compression_is_told(codec: Codec, damage: str) -> None:
    compressor = codec.open_compressor()
    content = compressor.compress(b"content" * 1000) + compressor.flush()
    changed = {"cut": content[:-3], "trailing": content + b"junk", "garbage": b"garbage!" * 10, "empty": b""}[damage]
    with pytest.raises(IntegrityError):
        list(decompress([memoryview(changed)], codec, "it"))


@pytest.mark.parametrize("codec", [Codec.GZIP, Codec.ZSTD])
def test_several_members_in_a_row_are_one_content(codec: Codec) -> None:
    parts = []
    for text in (b"one", b"two"):
        compressor = codec.open_compressor()
        parts.append(compressor.compress(text) + compressor.flush())
    found = b"".join(bytes(piece) for piece in decompress([memoryview(b"".join(parts))], codec, "it"))
    assert found == b"onetwo"


def read_hostile(content: bytes) -> list[str]:
    reader = BytesReader(content)
    return [file.path for file in list_files(reader, Format.TAR, Codec.NONE, layer_path="m", what="it", run=Run())]


def with_checksum(header: bytearray) -> bytes:
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def test_broken_archives_are_told() -> None:
    header = bytearray(member_header(b"a", 0o644, 3, is_dir=False))
    broken = [
        b"x" * 512,
        bytes(header[:300]),
        bytes(header),
        bytes(header) + b"abc" + bytes(509) + b"y" * 512,
        with_checksum(bytearray(header[:124] + b"zzzzzzzzzzz\0" + header[136:])),
        with_checksum(bytearray(header[:124] + b"\xff" * 12 + header[136:])),
        with_checksum(bytearray(header[:156] + b"x" + header[157:])) + b"no records" + bytes(502),
        with_checksum(bytearray(header[:124] + b"77777777777\0" + header[136:156] + b"x" + header[157:])),
    ]
    for content in broken:
        with pytest.raises(IntegrityError):
            read_hostile(content)


def test_gnu_long_names_and_sizes_are_read() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        member = tarfile.TarInfo("d/" + "n" * 300)
        member.size = 5
        archive.addfile(member, io.BytesIO(b"hello"))
    assert read_hostile(buffer.getvalue()) == ["d/" + "n" * 300]


def test_a_name_with_a_nul_is_called_that() -> None:
    records = b"20 path=m/a\0b/cdefg\n"
    extended = bytearray(member_header(b"m/a", 0o644, len(records), is_dir=False))
    extended[156:157] = b"x"
    file = member_header(b"m/a", 0o644, 0, is_dir=False)
    with pytest.raises(TrustError, match=r"the name m/a\\x00b/cdefg holds a NUL"):
        read_hostile(with_checksum(extended) + records.ljust(512, b"\0") + file + END)


def test_names_that_are_no_text_are_not_unpacked() -> None:
    with pytest.raises(TrustError, match="UTF-8"):
        read_hostile(member_header(b"\xff", 0o644, 0, is_dir=False) + END)
