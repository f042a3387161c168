"""What is known of a model goes with it: from a config to a Kitfile and back, and never what would not be valid."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from test_ops_foreign import DOCKER, OLLAMA, REF, Layer, put, table_of, titled

from golden_trees import GOLDEN, LayoutSource
from kitops.content.copy import copy as copy_graph
from kitops.content.events import Event, Message
from kitops.errors import HeaderError
from kitops.oci.reference import Reference
from kitops.ops.convert import ConvertOptions, convert
from kitops.ops.inspect import inspect
from kitops.ops.pack import PackOptions, pack
from kitops.ops.place import Place
from kitops.ops.tensors import tensors
from kitops.ops.validate import validate
from weight_bytes import plain_safetensors

CONFIG = "application/vnd.cncf.model.config.v1+json"
LAYERS: list[Layer] = [
    ("application/vnd.cncf.model.weight.v1.raw", b"m", titled("m.bin")),
    ("application/vnd.cncf.model.doc.v1.raw", b"d", titled("README.md")),
]
DESCRIPTOR = {
    "createdAt": "2026-01-02T03:04:05Z",
    "authors": ["Ada"],
    "vendor": "Example",
    "family": "llama",
    "name": "m",
    "version": "1",
    "title": "m",
    "description": "d",
    "docURL": "https://example.com/doc",
    "sourceURL": "https://example.com/source",
    "datasetsURL": ["https://example.com/data"],
    "revision": "abc",
    "licenses": ["Apache-2.0", "MIT"],
}
MODEL = {
    "architecture": "LlamaForCausalLM",
    "format": "bin",
    "paramSize": "6.7B",
    "precision": "bfloat16",
    "quantization": "awq",
    "capabilities": {"inputTypes": ["text"], "reasoning": False, "languages": ["en", "de"]},
}


def config_of(place: Place, ref: Reference) -> Any:
    config = json.loads(place.store.blobs.fetch(inspect(place, ref).kit.manifest.config))
    del config["modelfs"]
    return config


def warnings(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Message) and event.level == "warning"]


def test_what_a_config_says_survives_a_modelkit(place: Place, events: list[Event]) -> None:
    put(place, REF, CONFIG, {"descriptor": DESCRIPTOR, "config": MODEL}, LAYERS)
    assert table_of(place)["model"]["parameters"] == {
        "architecture": "LlamaForCausalLM",
        "family": "llama",
        "parameterSize": "6.7B",
        "precision": "bfloat16",
        "quantization": "awq",
        "capabilities": MODEL["capabilities"],
        "licenses": ["Apache-2.0", "MIT"],
        "datasetsURL": ["https://example.com/data"],
    }
    kit = convert(place, REF, "modelkit").reference
    back = convert(place, kit, "modelpack").reference
    assert config_of(place, back) == {"descriptor": DESCRIPTOR, "config": MODEL}
    assert validate(place, back) == ()
    assert warnings(events) == []
    again = convert(place, back, "modelkit", ConvertOptions(destination=Reference.parse("again:v1")))
    assert again.desc == place.store.refs.resolve(kit)


def test_the_vector_of_modctl_keeps_what_it_says(place: Place) -> None:
    source = LayoutSource(GOLDEN / "other/modctl-raw/layout")
    with place.store.lease("test") as lease:
        sink = place.store.repository(REF, lease)
        copy_graph(source, sink, source.root(), place.run)
        sink.tag(source.root(), "v1")
    before = config_of(place, REF)
    after = config_of(place, convert(place, convert(place, REF, "modelkit").reference, "modelpack").reference)
    assert {**after["descriptor"], **before["descriptor"]} == after["descriptor"]
    assert {**after["config"], **before["config"]} == after["config"]


@pytest.mark.parametrize("form", [None, "tar"])
def test_what_is_not_valid_is_left_out_and_told(form: Any, place: Place, events: list[Event]) -> None:
    descriptor = {
        "name": "m", "createdAt": "yesterday", "family": 7, "docURL": "none", "licenses": ["Apache 2.0", "MIT", 3],
        "datasetsURL": ["https://example.com/data", "x"], "vendor": "", "revision": None, "owner": "Ada",
    }  # fmt: skip
    config = {
        "architecture": "LlamaForCausalLM", "paramSize": "7 billion", "precision": "fp16", "capabilities": {
            "inputTypes": ["text", "smell"], "languages": ["english", "de"], "knowledgeCutoff": "2026",
            "reasoning": "yes", "embedding": True, "toolUsage": True}}  # fmt: skip
    table = {"descriptor": descriptor, "config": config, "modelfs": {"type": "layers", "diffIds": []}}
    put(place, REF, CONFIG.replace("cncf", "cnai"), table, LAYERS)
    done = convert(place, REF, "modelpack", ConvertOptions(layer_format=form))
    assert validate(place, done.reference) == ()
    assert config_of(place, done.reference) == {
        "descriptor": {
            "name": "m",
            "title": "m",
            "datasetsURL": ["https://example.com/data"],
            "licenses": ["LicenseRef-Apache-2.0", "MIT"],
        },
        "config": {
            "architecture": "LlamaForCausalLM",
            "capabilities": {"inputTypes": ["text"], "languages": ["de"], "toolUsage": True},
        },
    }
    told = warnings(events)
    assert all(text.startswith("left out, as it is not valid: config.") for text in told)
    assert [text.split(": ")[1] for text in told] == [
        *(f"config.descriptor.{key}" for key in ("createdAt", "family", "docURL", "licenses[2]", "datasetsURL[1]")),
        "config.descriptor.owner", "config.config.paramSize", "config.config.precision",
        *(f"config.config.capabilities.{key}" for key in ("inputTypes[1]", "languages[0]", "knowledgeCutoff")),
        "config.config.capabilities.reasoning", "config.config.capabilities.embedding",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"descriptor": [], "config": "x"}, {"descriptor": {"licenses": ["MIT"]}, "config": {}}),
        ({"config": {"paramSize": "8.03 B"}}, {"descriptor": {"licenses": ["MIT"]}, "config": {"paramSize": "8.0B"}}),
    ],
)
def test_configs_of_strange_shapes(config: Any, expected: Any, place: Place) -> None:
    kitfile = json.dumps({"model": {"path": "m.bin", "license": "MIT"}, "docs": [{"path": "README.md"}]})
    put(place, REF, CONFIG, config, LAYERS, annotations={"ml.kitops.modelkit.kitfile": kitfile})
    done = convert(place, REF, "modelpack", ConvertOptions(layer_format="tar"))
    assert config_of(place, done.reference) == expected
    assert validate(place, done.reference) == ()


def test_numbers_of_parameters_of_other_tools(place: Place) -> None:
    put(place, REF, f"{DOCKER}model.config.v0.1+json", {"config": {"parameters": "8.03 B", "architecture": "llama"}},
        [(f"{DOCKER}gguf.v3", b"GGUF", {})])  # fmt: skip
    done = convert(place, convert(place, REF, "modelkit").reference, "modelpack")
    assert config_of(place, done.reference)["config"] == {"architecture": "llama", "paramSize": "8.0B"}
    put(place, REF, "application/vnd.docker.container.image.v1+json",
        {"model_format": "gguf", "model_type": "770M", "file_type": "Q4_0", "model_family": "llama"},
        [(f"{OLLAMA}model", b"GGUF", {})])  # fmt: skip
    config = config_of(place, convert(place, REF, "modelpack").reference)
    assert config["config"] == {"format": "gguf", "paramSize": "770M", "quantization": "Q4_0"}
    assert config["descriptor"] == {"family": "llama"}


def test_a_kitfile_is_believed_where_it_is_valid(place: Place, tmp_path: Path) -> None:
    (tmp_path / "m.bin").write_bytes(b"m")
    text = b"""
model:
  path: m.bin
  parameters: {architecture: tiny, precision: mixed, capabilities: {reward: true, x: 1}, licenses: My own, epochs: 3}
"""
    for modelpack in (True, False):
        pack(place, tmp_path, PackOptions(references=(REF,), kitfile_text=text, modelpack=modelpack))
        ref = REF if modelpack else convert(place, REF, "modelpack").reference
        assert config_of(place, ref) == {
            "descriptor": {},
            "config": {"architecture": "tiny", "capabilities": {"reward": True}},
        }


def test_the_order_of_keys_is_no_content(place: Place, tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(b"m")
    keys = ["reasoning: true", "inputTypes: [text]", "languages: [en]"]
    digests = []
    for number, order in enumerate((keys, keys[::-1])):
        text = f"model: {{path: m, parameters: {{capabilities: {{{', '.join(order)}}}}}}}".encode()
        ref = Reference.parse(f"m:{number}")
        digests.append(pack(place, tmp_path, PackOptions(kitfile_text=text, references=(ref,), modelpack=True)).desc)
        convert(place, ref, "modelkit")
        digests.append(convert(place, ref.with_tag(f"{number}-modelkit"), "modelpack").desc)
    assert len(set(digests)) == 1


@pytest.mark.parametrize("index", [b"not JSON", b"{}", b'{"weight_map": 5}'])
def test_an_index_that_is_none_is_no_obstacle(index: bytes, place: Place, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_bytes(index)
    (tmp_path / "model.safetensors").write_bytes(plain_safetensors(wte=(2, 2)))
    text = b"model: {path: model.safetensors, parts: [{path: model.safetensors.index.json}]}"
    packed = Reference.parse("m:packed")
    want = pack(place, tmp_path, PackOptions(kitfile_text=text, references=(packed,), modelpack=True))
    pack(place, tmp_path, PackOptions(kitfile_text=text, references=(REF,)))
    assert convert(place, REF, "modelpack").desc == want.desc
    with pytest.raises(HeaderError, match=r"index\.json in layer .*, byte 0: the"):
        tensors(place, REF)
