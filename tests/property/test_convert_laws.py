"""Laws of conversions: there and back is the same ModelKit, and no way loses a file."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from golden_trees import tree_of
from kitops.content.protocols import Run
from kitops.oci.reference import Reference
from kitops.ops.convert import ConvertOptions, convert
from kitops.ops.pack import PackOptions, pack
from kitops.ops.place import Connection, Place
from kitops.ops.unpack import unpack
from kitops.store import open_store

NAMES = st.text("abcäZ .-", min_size=1, max_size=6).filter(lambda text: text.strip(" .") == text and text)
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
TREES = st.dictionaries(PATHS, st.binary(max_size=2000), min_size=1, max_size=6)
REF = Reference.parse("law:v1")


def no_network() -> Connection:
    raise AssertionError("this test has no network")


def lay(tree: dict[str, bytes], root: Path) -> None:
    for path, content in tree.items():
        if not any(other != path and other.startswith(f"{path}/") for other in tree):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(content)
    for number, path in enumerate(sorted(root.rglob("*"))):
        path.chmod(0o755 if path.is_dir() or number % 2 else 0o644)


def files(place: Place, ref: Reference, target: Path) -> dict[str, tuple[bytes, int]]:
    unpack(place, ref, target)
    return {
        path: (content, (target / path).stat().st_mode)
        for path, content in tree_of(target).items()
        if content is not None
    }


@given(tree=TREES, codec=st.sampled_from(["none", "gzip", "zstd"]))
@settings(max_examples=6, deadline=None)
def test_every_way_there_and_back(tree: dict[str, bytes], codec: str) -> None:
    with tempfile.TemporaryDirectory() as made:
        root = Path(os.path.realpath(made))
        place = Place(root / "home", open_store(root / "home/store", run=Run()), no_network, Run())
        lay(tree, root / "p/model")
        options = PackOptions(references=(REF,), kitfile_text=b"model: {path: model}\n", compression=codec)  # type: ignore[arg-type]
        packed = pack(place, root / "p", options).desc
        expected = files(place, REF, root / "expected")
        modelpack = convert(place, REF, "modelpack").reference
        assert convert(place, modelpack, "modelkit").desc == packed
        spread = convert(place, REF, "modelpack", ConvertOptions(layer_format="raw")).reference
        assert files(place, spread, root / "spread") == expected
        tar = ConvertOptions(layer_format="tar", compression=codec)  # type: ignore[arg-type]
        assert convert(place, spread, "modelkit", tar).desc == packed
        image = convert(place, REF, "image").reference
        assert files(place, image, root / "image") == expected
        assert convert(place, image, "modelkit", tar).desc == packed
