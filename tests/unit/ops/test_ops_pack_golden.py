"""What other tools packed, packed by us: byte-equal where the vector says so."""

from __future__ import annotations

from pathlib import Path

import pytest
from ops_places import open_test_place

from golden_trees import GOLDEN, lay_down, list_cases, read_case
from kitops.errors import PackError
from kitops.oci import gojson
from kitops.oci.annotations import CLI_VERSION, KITFILE
from kitops.oci.manifest import Manifest
from kitops.oci.reference import Reference
from kitops.ops.pack import Packed, PackOptions, pack
from kitops.ops.place import Place


def pack_case(name: str, tmp_path: Path, place: Place) -> tuple[Packed, Manifest]:
    case = read_case(name)
    context = tmp_path / name.replace("/", "-")
    lay_down(case["tree"], context)
    args = case["args"]
    packed = pack(
        place,
        context,
        PackOptions(
            kitfile_text=case["kitfile"].encode(),
            references=(Reference.parse(f"{name.rpartition('/')[2].replace('+', '-')}:v1"),),
            symlinks="skip" if "symlinks" in name else "refuse",
            modelpack="--use-model-pack" in args,
            compression=args[args.index("--compression") + 1] if "--compression" in args else "none",
        ),
    )
    return packed, Manifest.parse(place.store.blobs.fetch(packed.desc))


def read_vector_manifest(name: str) -> Manifest:
    digest = read_case(name)["manifest"].partition(":")[2]
    return Manifest.parse((GOLDEN / "pack" / name / "layout/blobs/sha256" / digest).read_bytes())


def rows(manifest: Manifest) -> list[list[object]]:
    return [[layer.media_type, str(layer.digest), layer.size] for layer in manifest.layers]


@pytest.mark.parametrize("name", list_cases("2026", "2025"))
def test_layers_and_config_are_those_of_the_go_tool(name: str, tmp_path: Path) -> None:
    case = read_case(name)
    place = open_test_place(tmp_path / "home")
    if needed := case.get("needs"):
        pack_case(f"{name.partition('/')[0]}/{needed}", tmp_path, place)
    packed, ours = pack_case(name, tmp_path, place)
    theirs = read_vector_manifest(name)
    equal = case["equal"]
    assert packed.desc.digest == ours.descriptor.digest
    if equal is None:  # only to be read; our bytes differ, the shape does not
        assert [layer.media_type for layer in ours.layers] == [layer.media_type for layer in theirs.layers]
        return
    assert rows(ours) == case["layers"]
    if equal != "layers":
        assert ours.config.digest == theirs.config.digest
    if name.startswith("2026/"):
        assert [layer.annotations for layer in ours.layers] == [layer.annotations for layer in theirs.layers]
    assert ours.annotations.get(KITFILE) == theirs.annotations.get(KITFILE)


@pytest.mark.parametrize("name", [name for name in list_cases("2026") if "+modelpack" in name])
def test_modelpack_configs_have_true_diff_ids_and_no_time(name: str, tmp_path: Path) -> None:
    place = open_test_place(tmp_path / "home")
    _, ours = pack_case(name, tmp_path, place)
    config = gojson.loads(place.store.blobs.fetch(ours.config), "config")
    assert config["modelfs"]["diffIds"] == [str(layer.digest) for layer in ours.layers]
    assert "createdAt" not in config["descriptor"]


def test_the_digest_depends_on_content_alone(tmp_path: Path) -> None:
    """Guards the manifest digest across releases: change it only with a reason that users are told."""
    packed, manifest = pack_case("2026/everything", tmp_path, open_test_place(tmp_path / "home"))
    assert CLI_VERSION not in manifest.annotations
    assert str(packed.desc.digest) == "sha256:cc69cd7775ebd1f69c9864f7c0a078cff8a7579bbe56c9fe03dbb739e8f32832"


def test_symbolic_links_are_refused_unless_told(tmp_path: Path) -> None:
    case = read_case("2026/symlinks")
    lay_down(case["tree"], tmp_path / "context")
    with pytest.raises(PackError) as caught:
        pack(
            open_test_place(tmp_path / "home"),
            tmp_path / "context",
            PackOptions(kitfile_text=case["kitfile"].encode()),
        )
    assert "m/link.bin" in str(caught.value)
    assert "m/dirlink" in str(caught.value)
    assert "--symlinks" in (caught.value.hint or "")


def test_the_code_layer_takes_what_only_looks_like_the_model(tmp_path: Path) -> None:
    place = open_test_place(tmp_path / "home")
    _, ours = pack_case("2026/prefix-trap", tmp_path, place)
    code = next(layer for layer in ours.layers if ".code." in layer.media_type)
    content = place.store.blobs.fetch(code)
    assert b"model2/" in content
    assert b"model.txt" in content
