"""ModelKits and ModelPack artifacts of every age are understood, and filtered."""

from __future__ import annotations

import json

import pytest

from golden_trees import GOLDEN, LayoutSource, list_cases
from kitops.errors import InvalidValueError
from kitops.formats.layertypes import KITOPS_CONFIG, LayerType
from kitops.formats.modelkit import ModelKit, read_modelkit, understand
from kitops.formats.parts import Kind
from kitops.formats.select import Filter, is_kitfile_selected, select_layers
from kitops.kitfile.dump import to_json
from kitops.layers.codec import Codec
from kitops.layers.write import Format
from kitops.oci import mediatype
from kitops.oci.descriptor import Descriptor
from kitops.oci.digest import Digest
from kitops.oci.index import Index
from kitops.oci.manifest import Manifest


def read_vector(name: str) -> ModelKit:
    source = LayoutSource(GOLDEN / name / "layout")
    return read_modelkit(source, source.root())


class BytesSource(LayoutSource):
    """Blobs in memory."""

    def __init__(self, *blobs: bytes) -> None:
        self.blobs = {Digest.of(blob): blob for blob in blobs}

    def fetch(self, desc: Descriptor) -> bytes:
        return self.blobs[desc.digest]


def paths(kit: ModelKit, *filters: str) -> list[str]:
    return [layer.path for layer in select_layers(kit, [Filter.parse(text) for text in filters])]


@pytest.mark.parametrize("name", list_cases("2024", "2025", "2026"))
def test_every_layer_belongs_to_a_part(name: str) -> None:
    kit = read_vector(f"pack/{name}")
    assert all(layer.part is not None for layer in kit.layers)
    assert all(layer.path == layer.part.path for layer in kit.layers if layer.part)
    assert len({layer.part for layer in kit.layers}) == len(kit.layers)
    assert kit.is_modelpack == ("+modelpack" in name)
    assert kit.size == sum(layer.desc.size for layer in kit.layers)


@pytest.mark.parametrize("age", ["2024", "2025", "2026"])
def test_parts_are_those_of_the_kitfile(age: str) -> None:
    kit = read_vector(f"pack/{age}/everything")
    fields = [layer.part.field for layer in kit.layers if layer.part]
    assert fields[:4] == ["model", "model.parts[0]", "model.parts[1]", "model.parts[2]"]
    assert {"code[0]", "code[1]", "datasets[0]", "docs[2]"} <= set(fields)
    assert kit.author == "Ada Lovelace"


def test_modelpack_without_a_kitfile_gets_one_from_what_is_known() -> None:
    kit = read_vector("other/modctl-raw")
    table = to_json(kit.kitfile)
    assert table["package"] == {"name": "mc"}
    assert table["model"] == {
        "path": "model.safetensors",
        "parts": [{"path": "onnx/a.onnx"}, {"path": "config.json"}, {"path": "tokenizer.json"}],
        "parameters": {"family": "llama", "precision": "float16"},
    }
    assert table["code"] == [{"path": "train.py"}]
    assert {layer.form for layer in kit.layers} == {Format.RAW}
    assert all(layer.path for layer in kit.layers)


def test_what_is_no_model_is_refused_by_name() -> None:
    config = b"{}"
    layer = Descriptor("application/x", Digest.of(b""), 0)
    manifest = Manifest.build(
        config=Descriptor.of(config, mediatype.EMPTY), layers=[layer], artifact_type="application/vnd.example"
    )
    source = BytesSource(manifest.raw, config)
    with pytest.raises(InvalidValueError, match="is not a ModelKit: it is 'application/vnd\\.example'"):
        read_modelkit(source, manifest.descriptor)


def test_an_index_is_refused() -> None:
    index = Index.build([])
    with pytest.raises(InvalidValueError, match="index of several"):
        read_modelkit(BytesSource(index.raw), Descriptor.of(index.raw, mediatype.INDEX))


def test_a_layer_of_another_kind_is_refused() -> None:
    config = b'{"manifestVersion":"1.0.0","package":{}}'
    layer = Descriptor("application/x", Digest.of(b""), 0)
    manifest = Manifest.build(config=Descriptor.of(config, KITOPS_CONFIG), layers=[layer])
    with pytest.raises(InvalidValueError, match="no ModelKit layer"):
        understand(manifest.descriptor, manifest, config)


def test_very_old_kits_pair_layers_with_parts_in_order() -> None:
    config = json.dumps({"package": {}, "model": {"path": "m"}, "code": [{"path": "c"}]}).encode()
    layers = [Descriptor("application/vnd.jozu.model.content.v1.tar+gzip", Digest.of(bytes([n])), 1) for n in range(3)]
    manifest = Manifest.build(config=Descriptor.of(config, "application/vnd.jozu.model.config.v1+json"), layers=layers)
    kit = understand(manifest.descriptor, manifest, config)
    assert [layer.path for layer in kit.layers] == ["m", "c", ""]
    assert kit.layers[2].label == kit.layers[2].desc.digest.short
    assert paths(kit, "code") == ["c"]


@pytest.mark.parametrize(
    ("media_type", "expected"),
    [
        ("application/vnd.kitops.modelkit.model.v1.tar", LayerType(Kind.MODEL, Format.TAR, Codec.NONE)),
        ("application/vnd.kitops.modelkit.mcpb.v1.raw", LayerType(Kind.MCP_SERVER, Format.RAW, Codec.NONE)),
        ("application/vnd.cnai.model.weight.config.v1.tar+zstd", LayerType(Kind.MODEL_PART, Format.TAR, Codec.ZSTD)),
        ("application/vnd.cncf.model.doc.v1.raw+gzip", LayerType(Kind.DOCS, Format.RAW, Codec.GZIP)),
        ("application/vnd.kitops.modelkit.strange.v1.tar", None),
        ("application/vnd.kitops.modelkit.model.v1.tar+lz4", None),
    ],
)
def test_media_types_say_kind_format_and_codec(media_type: str, expected: LayerType | None) -> None:
    assert LayerType.parse(media_type) == expected


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ([], 13),
        (["model"], 4),
        (["model:tiny"], 1),
        (["model:adapters/*"], 1),
        (["model:tokenizer", "docs"], 4),
        (["model,datasets"], 6),
        (["datasets:training,validation"], 2),
        (["datasets:data/**"], 2),
        (["datasets:data/?al"], 1),
        (["docs:[LR]*"], 2),
        (["docs:[!L]*"], 2),
        (["prompts"], 2),
        (["code"], 2),
        (["kitfile"], 0),
        (["code:./src/"], 1),
        (["model:nothing"], 0),
    ],
)
def test_filters_select_layers(filters: list[str], expected: int) -> None:
    assert len(paths(read_vector("pack/2026/everything"), *filters)) == expected


def test_the_kitfile_is_selected_by_its_word_or_without_filters() -> None:
    assert is_kitfile_selected([])
    assert is_kitfile_selected([Filter.parse("Kitfile,model")])
    assert not is_kitfile_selected([Filter.parse("model")])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("modle", "did you mean 'model'"),
        ("", "types are"),
        ("model:", "empty"),
        ("model:a,,b", "empty"),
        ("model:[z-a]", "not valid"),
    ],
)
def test_filters_that_do_not_parse(text: str, message: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        Filter.parse(text)
    assert message in f"{caught.value} {caught.value.hint}"
