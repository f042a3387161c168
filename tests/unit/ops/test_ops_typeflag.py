"""What the ``typeflag`` of a raw layer says holds: a link is refused as it is in an archive, a directory is made."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_ops_foreign import REF, Layer, put

from golden_trees import tree_of
from kitops.errors import TrustError
from kitops.oci.reference import Reference
from kitops.ops.convert import ConvertOptions, convert
from kitops.ops.diff import diff
from kitops.ops.place import Place
from kitops.ops.repair import repair
from kitops.ops.status import status
from kitops.ops.tensors import tensors
from kitops.ops.unpack import UnpackOptions, unpack
from kitops.ops.validate import validate
from kitops.ops.verify import verify

CONFIG = "application/vnd.cncf.model.config.v1+json"
CODE = "application/vnd.cncf.model.code.v1"


def described(path: str, typeflag: Any, size: int = 0, key: str = "org.cncf") -> dict[str, Any]:
    table = {"name": path.rpartition("/")[2], "mode": 0o755, "uid": 0, "gid": 0, "size": size,
             "mtime": "2026-01-01T00:00:00Z", "typeflag": typeflag}  # fmt: skip
    return {
        "annotations": {
            f"{key}.model.filepath": path,
            f"{key}.model.file.metadata+json": json.dumps(table),
        }
    }


def put_layers(place: Place, *layers: Layer, ref: Reference = REF) -> None:
    put(place, ref, CONFIG, {"descriptor": {}, "modelfs": {"type": "layers", "diffIds": []}}, list(layers))


USES: dict[str, Callable[[Place, Path], object]] = {
    "unpack": lambda place, target: unpack(place, REF, target),
    "status": lambda place, target: status(place, target, REF),
    "verify": lambda place, target: verify(place, target, REF),
    "diff": lambda place, _: diff(place, str(REF), "other:v1"),
    "tensors": lambda place, _: tensors(place, REF),
    "convert to modelkit": lambda place, _: convert(place, REF, "modelkit"),
    "convert to tar": lambda place, _: convert(place, REF, "modelpack", ConvertOptions(layer_format="tar")),
    "convert to image": lambda place, _: convert(place, REF, "image"),
}


@pytest.mark.parametrize("key", ["org.cncf", "org.cnai"])
@pytest.mark.parametrize(
    ("flag", "what"),
    [
        (2, "a symbolic link"), (50, "a symbolic link"), (49, "a hard link"), (51, "a character device"),
        (77, "of type M"), (9, "of type 9"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("use", USES)
def test_a_link_is_refused(use: str, flag: int, what: str, key: str, place: Place, tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    layer = ("application/vnd.cncf.model.weight.v1.raw", b"/etc/passwd", described("m.gguf", flag, 11, key))
    put_layers(place, layer)
    put_layers(place, (f"{CODE}.raw", b"x", described("m.gguf", 0, 1)), ref=Reference.parse("other:v1"))
    with pytest.raises(TrustError, match=f"m.gguf is {what}"):
        USES[use](place, target)
    assert not list(target.iterdir())


@pytest.mark.parametrize("codec", ["", "+gzip"])
@pytest.mark.parametrize("flag", [0, 48, 55, "0", None, True])
def test_a_file_is_one_as_before(flag: Any, codec: str, place: Place, tmp_path: Path) -> None:
    content = gzip.compress(b"run") if codec else b"run"
    put_layers(place, (f"{CODE}.raw{codec}", content, described("run.sh", flag, 3)))
    unpack(place, REF, tmp_path / "out")
    assert (tmp_path / "out/run.sh").read_bytes() == b"run"
    assert (tmp_path / "out/run.sh").stat().st_mode & 0o111


@pytest.mark.parametrize("text", ["{", "[]", "5", '"typeflag"'])
def test_metadata_that_are_none_say_nothing(text: str, place: Place, tmp_path: Path) -> None:
    layer = {"annotations": {"org.cncf.model.filepath": "x", "org.cncf.model.file.metadata+json": text}}
    put_layers(place, (f"{CODE}.raw", b"x", layer))
    unpack(place, REF, tmp_path / "out")
    assert (tmp_path / "out/x").read_bytes() == b"x"


@pytest.mark.parametrize("path", [".", "./", "//"])
def test_a_directory_has_a_name(path: str, place: Place, tmp_path: Path) -> None:
    put_layers(place, (f"{CODE}.raw", b"", described(path, 5)))
    with pytest.raises(TrustError, match="does not say what its file is called"):
        unpack(place, REF, tmp_path / "out")


@pytest.mark.parametrize("content", [b"", b"what is in a directory"])
@pytest.mark.parametrize("flag", [5, 53])
def test_a_directory_is_made(flag: int, content: bytes, place: Place, tmp_path: Path) -> None:
    target = tmp_path / "out"
    put_layers(place, (f"{CODE}.raw", content, described("src/logs", flag)))
    unpack(place, REF, target)
    assert tree_of(target)["src/logs"] is None
    assert (verify(place, target).is_equal, status(place, target).is_equal) == (True, True)
    (target / ".kitops-unpacked.json").unlink()
    assert (verify(place, target, REF).is_equal, status(place, target, REF).is_equal) == (True, True)
    (target / "src/logs").rmdir()
    for compared in (verify(place, target, REF), status(place, target, REF)):
        assert compared.missing == ("src/logs",)
    repair(place, REF, target)
    assert (target / "src/logs").is_dir()
    put_layers(place, (f"{CODE}.raw", b"x", described("x", 0, 1)), ref=Reference.parse("other:v1"))
    found = diff(place, str(REF), "other:v1")
    assert [file.path for layer in found.layers for file in layer.files] == ["x"]


@pytest.mark.parametrize(
    ("to", "form"),
    [("modelkit", None), ("modelpack", None), ("modelpack", "tar"), ("modelpack", "raw"), ("image", None)],
)
@pytest.mark.parametrize("kitfile", [None, {"code": [{"path": "src"}]}])
def test_a_directory_becomes_one(to: Any, form: Any, kitfile: Any, place: Place, tmp_path: Path) -> None:
    layers: list[Layer] = [
        (f"{CODE}.raw", b"", described("src/logs", 5)),
        (f"{CODE}.raw", b"x = 1", described("src/x.py", 0, 5)),
    ]
    told = {"annotations": {"ml.kitops.modelkit.kitfile": json.dumps(kitfile)}} if kitfile else {}
    put(place, REF, CONFIG, {"descriptor": {}}, layers, **told)
    unpack(place, REF, tmp_path / "before")
    done = convert(place, REF, to, ConvertOptions(layer_format=form, destination=Reference.parse("done:v1")))
    unpack(place, done.reference, tmp_path / "after", UnpackOptions(record=False))
    before, after = tree_of(tmp_path / "before"), tree_of(tmp_path / "after")
    assert {path: before[path] for path in before if not path.startswith(".kitops")} == after
    assert after["src/logs"] is None
    if to == "modelpack":
        assert validate(place, done.reference) == ()
