"""Law of outlines: a layer laid out from a listing is, byte for byte, the one that packing the directory gives."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from kitops.content.protocols import Run
from kitops.errors import PackError
from kitops.layers.codec import Codec
from kitops.layers.ignore import IgnoreRules
from kitops.layers.outline import ListedFile, Outline, outline_directory
from kitops.layers.walk import scan
from kitops.layers.write import Format, layer_size, write_layer

_NAME = st.sampled_from(
    ["a", "a-b", "b", "Kitfile", ".kitignore", ".DS_Store", "ü", "model.bin", "x" * 90, "c.txt", "tmp"]
)
_PATHS = st.lists(_NAME, min_size=1, max_size=4).map("/".join)
_RULES = st.lists(st.sampled_from(["a", "!a/b", "*.txt", "**/tmp", "!**/model.bin", "b/*", "x*"]), max_size=4)
_FILES = st.dictionaries(_PATHS, st.tuples(st.binary(max_size=1500), st.booleans()), min_size=1, max_size=8)


def without_conflicts(files: dict[str, tuple[bytes, bool]]) -> dict[str, tuple[bytes, bool]]:
    """No file is a directory of another one."""
    return {path: found for path, found in files.items() if not any(other.startswith(f"{path}/") for other in files)}


def fill(outline: Outline, files: dict[str, tuple[bytes, bool]]) -> bytes:
    found = bytearray(outline.size)
    position = 0
    for part in outline.parts:
        assert part.start == position
        found[part.start : part.content] = outline.head(part) if part.path else b""
        if part.path:
            found[part.content : part.content + part.size] = files[part.path][0]
            found[part.content + part.size : part.end] = outline.tail(part)
        else:
            found[part.start : part.end] = outline.head(part)
        position = part.end
    assert position == len(found) == outline.size
    return bytes(found)


@settings(max_examples=150, deadline=None)
@given(_FILES.map(without_conflicts), _RULES, st.data())
def test_a_listing_gives_the_layer_of_the_directory(
    files: dict[str, tuple[bytes, bool]], lines: list[str], data: st.DataObject
) -> None:
    places = {"/".join(path.split("/")[:depth]) for path in files for depth in range(1, path.count("/") + 2)}
    directories = sorted(places - files.keys())
    path = data.draw(st.sampled_from([".", *directories]))
    deeper = data.draw(st.frozensets(st.sampled_from(sorted(places | {"nowhere"})), max_size=2))
    rules = IgnoreRules.parse("\n".join(lines))
    with tempfile.TemporaryDirectory() as top:
        for name, (content, executable) in files.items():
            target = Path(top, "in", name)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            target.chmod(0o755 if executable else 0o644)
        for found in Path(top, "in").rglob("*"):
            if found.is_dir():
                found.chmod(0o755)
        listing = [
            ListedFile(name, len(content), 0o755 if executable else 0o644)
            for name, (content, executable) in files.items()
        ]
        try:
            entries = scan(Path(top, "in"), path, ignore=rules, deeper=deeper).entries
        except PackError as error:
            assert "excluded by .kitignore" in error.message or "never packed" in error.message
            try:
                outline_directory(listing, path, rules, deeper)
            except PackError as ours:
                assert ours.message == error.message
                return
            raise AssertionError("only one of the two refuses") from error
        outline = outline_directory(listing, path, rules, deeper)
        out = os.open(Path(top, "layer"), os.O_RDWR | os.O_CREAT)
        try:
            size = layer_size(entries, Format.TAR)
            write_layer(entries, Format.TAR, Codec.NONE, out, size=size, overlap=False, run=Run(), moved=lambda _: None)
        finally:
            os.close(out)
        assert fill(outline, files) == Path(top, "layer").read_bytes()
