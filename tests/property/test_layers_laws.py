"""Laws of layers: Python's tarfile and ours read each other; damaged archives are clear errors and touch nothing."""

from __future__ import annotations

import io
import os
import tarfile
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from kitops.content.copy import BytesReader
from kitops.content.protocols import Run
from kitops.errors import KitError
from kitops.layers.codec import Codec
from kitops.layers.extract import Existing, Extraction
from kitops.layers.layer_content import LayerContent
from kitops.layers.members import list_files
from kitops.layers.tar import END, member_header, padding
from kitops.layers.write import Format
from kitops.oci.descriptor import Descriptor
from kitops.oci.digest import Digest

_PART = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=60).filter(
    lambda part: part not in (".", "..") and len(part.encode()) < 250
)
_FILES = st.dictionaries(st.lists(_PART, min_size=1, max_size=4).map("/".join), st.binary(max_size=1500), max_size=4)
_FORMATS = st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])


def list_ours(archive: bytes) -> list[tuple[str, int, Digest]]:
    found = list_files(BytesReader(archive), Format.TAR, Codec.NONE, layer_path="m", what="it", run=Run())
    return [(file.path, file.size, file.digest) for file in found]


def write_theirs(files: dict[str, bytes], form: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for path, content in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


@given(_FILES, _FORMATS)
def test_we_read_what_tarfile_writes(files: dict[str, bytes], form: int) -> None:
    assert list_ours(write_theirs(files, form)) == [
        (path, len(content), Digest.of(content)) for path, content in files.items()
    ]


@given(_FILES)
def test_tarfile_reads_what_we_write(files: dict[str, bytes]) -> None:
    archive = b"".join(
        member_header(path.encode(), 0o644, len(content), is_dir=False) + content + bytes(padding(len(content)))
        for path, content in files.items()
    )
    with tarfile.open(fileobj=io.BytesIO(archive + END)) as found:
        read = {member.name: found.extractfile(member) for member in found}
        assert {name: file.read() if file else None for name, file in read.items()} == files


@given(_FILES.filter(bool), _FORMATS, st.integers(0, 5000), st.binary(min_size=1, max_size=40))
def test_a_damaged_archive_is_an_error_or_stays_inside(
    files: dict[str, bytes], form: int, at: int, damage: bytes
) -> None:
    archive = bytearray(write_theirs(files, form))
    at %= len(archive)
    archive[at : at + len(damage)] = damage
    layer = LayerContent(
        Descriptor.of(bytes(archive), "application/x"), Format.TAR, Codec.NONE, path="m", base="", what="it"
    )
    with tempfile.TemporaryDirectory() as top:
        blob, target = Path(top, "blob"), Path(top, "inner", "target")
        blob.write_bytes(archive)
        target.mkdir(parents=True)
        try:
            with Extraction(target, existing=Existing.REFUSE, run=Run()) as extraction:
                extraction.judge(blob, layer)
                extraction.add_blob(blob, layer, lambda size: None)
                extraction.commit()
        except KitError:
            assert os.listdir(target) == []
        assert sorted(os.listdir(top)) == ["blob", "inner"]
        assert os.listdir(target.parent) == ["target"]
