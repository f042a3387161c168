"""What a text names, which files are picked, what a card says: pure parts of imports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kitops.errors import InvalidValueError, SourceError
from kitops.importers.card import Card, parse_card, to_spdx
from kitops.importers.enrich import Known, enrich
from kitops.importers.git import _name_of
from kitops.importers.location import Location, parse_location
from kitops.importers.pick import pick
from kitops.importers.provenance import Import, ImportedFile, build_predicate, build_statement
from kitops.importers.tree import Origin, RemoteFile, check_paths
from kitops.kitfile.schema import Dataset, Kitfile, Model, Package, Part
from kitops.oci.digest import Digest

ORIGIN = Origin("huggingface", "https://huggingface.co/org/tiny", "c" * 40, "main", "org/tiny", {"gitCommit": "c" * 40})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("org/model", Location("huggingface", "org/model")),
        ("gpt2", Location("huggingface", "gpt2")),
        ("org/model@v1.0", Location("huggingface", "org/model", revision="v1.0")),
        ("datasets/org/data", Location("huggingface", "org/data", is_dataset=True)),
        ("hf://datasets/org/data@abc", Location("huggingface", "org/data", is_dataset=True, revision="abc")),
        ("https://huggingface.co/org/model", Location("huggingface", "org/model")),
        ("https://hf.co/org/model/", Location("huggingface", "org/model")),
        (
            "https://huggingface.co/datasets/org/data/tree/v2/train/en",
            Location("huggingface", "org/data", is_dataset=True, revision="v2", folder="train/en"),
        ),
        ("https://github.com/team/model.git", Location("git", "https://github.com/team/model.git")),
        ("git@github.com:team/model.git", Location("git", "git@github.com:team/model.git")),
        ("host:team/model.git", Location("git", "host:team/model.git")),
        ("gh-work:model.git", Location("git", "gh-work:model.git")),
        ("git@[::1]:model", Location("git", "git@[::1]:model")),
        ("[2001:db8::7]:team/model", Location("git", "[2001:db8::7]:team/model")),
        (
            "https://huggingface.co/org/model/tree/refs%2Fpr%2F1",
            Location("huggingface", "org/model", revision="refs/pr/1"),
        ),
        (
            "https://huggingface.co/datasets/org/data/tree/refs/convert/parquet/my%20set",
            Location("huggingface", "org/data", is_dataset=True, revision="refs/convert/parquet", folder="my set"),
        ),
        (
            "https://huggingface.co/org/model/blob/feature%2Fx/a/b.txt",
            Location("huggingface", "org/model", revision="feature/x", folder="a/b.txt"),
        ),
        ("ssh://git@host/team/model", Location("git", "ssh://git@host/team/model")),
        ("git+https://host/x", Location("git", "https://host/x")),
        ("file:///srv/x.git", Location("git", "file:///srv/x.git")),
        ("models:/iris/3", Location("mlflow", "models:/iris/3")),
        ("models:/iris@champion", Location("mlflow", "models:/iris@champion")),
        ("runs:/abc/model", Location("mlflow", "runs:/abc/model")),
        ("./model", Location("directory", "./model")),
        ("/srv/model", Location("directory", "/srv/model")),
        ("~/model", Location("directory", "~/model")),
    ],
)
def test_a_text_names_a_source(text: str, expected: Location) -> None:
    assert parse_location(text) == expected


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://git.example.com/group/team/model.git", "team/model"),
        ("git@[::1]:model.git", "model"),
        ("host:srv/git/team/model/", "team/model"),
        ("ssh://git@host:2222/team/model", "team/model"),
        ("file:///srv/git/model.git", "model"),
        ("/srv/git/model.git", "model"),
    ],
)
def test_a_repository_of_git_is_called_by_its_url(url: str, name: str) -> None:
    assert _name_of(url) == name


def test_a_url_of_the_hub_is_cloned_when_git_is_asked_for() -> None:
    assert parse_location("https://huggingface.co/org/m", tool="git") == Location("git", "https://huggingface.co/org/m")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("org/m", Location("git", "https://hub.example/org/m")),
        ("hf://org/m@v1", Location("git", "https://hub.example/org/m", revision="v1")),
        (
            "datasets/org/d/tree/v2/train",
            Location("git", "https://hub.example/datasets/org/d", is_dataset=True, revision="v2", folder="train"),
        ),
        ("https://example.com/x.git", Location("git", "https://example.com/x.git")),
    ],
)
def test_git_is_used_where_it_is_asked_for(text: str, expected: Location) -> None:
    assert parse_location(text, hub="https://hub.example/", tool="git") == expected


@pytest.mark.parametrize("text", ["./model", "models:/m/1"])
def test_git_is_refused_where_it_does_not_apply(text: str) -> None:
    with pytest.raises(InvalidValueError, match="not of git"):
        parse_location(text, tool="git")


@pytest.mark.parametrize("text", ["git@host:org/m", "./model", "runs:/1/a", "git+https://host/m"])
def test_the_hub_is_refused_where_it_does_not_apply(text: str) -> None:
    with pytest.raises(InvalidValueError, match="not on Hugging Face"):
        parse_location(text, tool="hf")


@pytest.mark.parametrize(
    ("text", "asked", "words"),
    [
        ("./model", {"revision": "v1"}, "--ref"),
        ("./model", {"token": "x"}, "--token"),
        ("./model", {"submodules": True}, "--submodules"),
        ("models:/m/1", {"revision": "2"}, "--ref"),
        ("models:/m/1", {"token": "x"}, "--token"),
        ("models:/m/1", {"submodules": True}, "--submodules"),
        ("org/model", {"submodules": True}, "--submodules"),
        ("org/model@v1", {"revision": "v2"}, "v2"),
    ],
)
def test_what_a_source_does_not_have_is_not_forgotten(text: str, asked: dict[str, Any], words: str) -> None:
    location = parse_location(text)
    location.check_asked()
    with pytest.raises(InvalidValueError, match=words):
        location.check_asked(**asked)


def test_another_hub_is_one_by_its_host() -> None:
    found = parse_location("http://hub.example:8080/org/m", hub="http://hub.example:8080")
    assert found == Location("huggingface", "org/m")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a/b/c",
        "org/..",
        "spaces/org/demo",
        "-x/y",
        "org/mo del",
        "https://token@host/x.git",
        "https://u:p@host/x.git",
        "org/m@",
        "https://[::1/x",
        "model:v1",
        "s3://bucket/key",
        "C:/models/m",
        "ext::sh -c /bin/true",
        "-oProxyCommand=x:a/b",
    ],
)
def test_what_names_nothing_is_refused(text: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        parse_location(text)
    assert "token@" not in caught.value.message
    assert "u:p" not in caught.value.message


def test_a_directory_without_its_dot_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a/b/c").mkdir(parents=True)
    for text in ("a/b/c", "a/"):
        with pytest.raises(InvalidValueError) as caught:
            parse_location(text)
        assert caught.value.hint == f"the directory of that name is ./{text}"


def test_a_url_elsewhere_is_not_the_hubs() -> None:
    with pytest.raises(InvalidValueError, match="not on Hugging Face"):
        parse_location("https://example.com/org/m", tool="hf")


def files(*paths: str) -> list[RemoteFile]:
    return [RemoteFile(path, 1) for path in paths]


def names(found: list[RemoteFile]) -> list[str]:
    return [file.path for file in found]


def test_globs_cross_directories_as_on_the_hub() -> None:
    listed = files("a.bin", "sub/b.bin", "sub/c.txt", "x.onnx")
    assert names(pick(listed, include=["*.bin"])) == ["a.bin", "sub/b.bin"]
    assert names(pick(listed, exclude=["sub/"])) == ["a.bin", "x.onnx"]
    assert names(pick(listed, include=["*.bin", "*.txt"], exclude=["a*"])) == ["sub/b.bin", "sub/c.txt"]
    with pytest.raises(InvalidValueError, match="none of the 4 files"):
        pick(listed, include=["nothing"])


def test_one_format_of_the_weights_is_kept_where_there_is_one() -> None:
    listed = files(
        "model.safetensors", "pytorch_model.bin", "pytorch_model.bin.index.json", "model.safetensors.index.json",
        "tf_model.h5", "flax_model.msgpack", "tokenizer.bin", "config.json", "onnx/model.onnx", "vae/only.ckpt",
    )  # fmt: skip
    assert names(pick(listed, prefer="safetensors")) == [
        "model.safetensors", "model.safetensors.index.json", "tokenizer.bin", "config.json", "vae/only.ckpt",
    ]  # fmt: skip
    with pytest.raises(InvalidValueError, match="not known"):
        pick(listed, prefer="tensorflow2")


@pytest.mark.parametrize(
    ("prefer", "kept", "left_out"),
    [
        (  # sentence-transformers: directories of other formats, and all that is in them
            "safetensors",
            "model.safetensors config.json 1_Pooling/config.json",
            """
            pytorch_model.bin rust_model.ot tf_model.h5 onnx/model.onnx onnx/model_qint8_arm64.onnx
            onnx/config.json openvino/openvino_model.xml openvino/openvino_model.bin
            openvino/openvino_config.json coreml/fp32.mlpackage/Manifest.json
            coreml/fp32.mlpackage/Data/weights/weight.bin
            """,
        ),
        (
            "onnx",
            "onnx/model.onnx onnx/model.onnx_data onnx/model_fp16.onnx tokenizer.json",
            "model.safetensors pytorch_model.bin openvino/openvino_model.xml openvino/openvino_model.bin",
        ),
        (  # shards, their index, the authors' own weights
            "safetensors",
            """
            model-00001-of-00002.safetensors model-00002-of-00002.safetensors model.safetensors.index.json
            original/params.json original/tokenizer.model
            """,
            """
            pytorch_model-00001-of-00002.bin pytorch_model-00002-of-00002.bin pytorch_model.bin.index.json
            original/consolidated.00.pth original/consolidated.01.pth gemma-7b-Q4_K_M.gguf
            """,
        ),
        (  # a pipeline of diffusers, and the same in one file
            "safetensors",
            """
            model_index.json unet/diffusion_pytorch_model.safetensors
            unet/diffusion_pytorch_model.fp16.safetensors text_encoder/model.safetensors
            pytorch_lora_weights.bin
            """,
            """
            sd-v1-4.ckpt unet/diffusion_pytorch_model.bin unet/diffusion_pytorch_model.fp16.bin
            text_encoder/pytorch_model.bin text_encoder/flax_model.msgpack
            """,
        ),
        (  # what is called otherwise is something else
            "safetensors",
            """
            model.safetensors voices.pt encoder_model.onnx optimizer.pt vocab.xml training_args.bin
            mmproj-f16.gguf
            """,
            "",
        ),
        (
            "safetensors",
            "encoder.safetensors decoder.onnx",
            "encoder.onnx",
        ),
        (
            "safetensors",
            "model.safetensors",
            "model.onnx model.onnx.data model_fp16.onnx model_fp16.onnx_data_1",
        ),
        (
            "safetensors",
            "model.fp16.safetensors pytorch_model.bin",
            "pytorch_model.fp16.bin",
        ),
        (
            "gguf",
            "Tiny-Q4_K_M.gguf Tiny-Q8_0.gguf config.json",
            "model.safetensors pytorch_model.bin",
        ),
        (
            "safetensors",
            "a/model.safetensors b/pytorch_model.bin",
            "a/pytorch_model.bin",
        ),
        (
            "openvino",
            "openvino_model.xml openvino_model.bin",
            "model.safetensors pytorch_model.bin",
        ),
        (
            "safetensors",
            "adapter_model.safetensors onnx/model.onnx",
            "adapter_model.bin",
        ),
    ],
)
def test_the_same_weights_in_other_formats_are_left_out(prefer: str, kept: str, left_out: str) -> None:
    told: list[str] = []
    listed = files(*left_out.split(), *kept.split())
    assert names(pick(listed, prefer=prefer, tell=told.append)) == kept.split()
    assert bool(told) == bool(left_out)
    assert all(path in told[0] or " more" in told[0] for path in left_out.split())


def test_a_format_that_is_not_there_is_told() -> None:
    told: list[str] = []
    listed = files("model.safetensors", "config.json")
    assert pick(listed, prefer="gguf", tell=told.append) == listed
    assert told == ["--prefer gguf: there are no weights in this format, so nothing is left out"]


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../b", "a//b", "./a", "a\0b", ""])
def test_names_that_lead_out_are_refused(path: str) -> None:
    with pytest.raises(SourceError, match="unsafe"):
        check_paths([RemoteFile("fine", 1), RemoteFile(path, 1)], ORIGIN)


def test_a_name_listed_twice_is_refused() -> None:
    with pytest.raises(SourceError, match="unsafe"):
        check_paths(files("a", "a"), ORIGIN)


def test_a_file_that_is_a_directory_too_is_refused() -> None:
    check_paths(files("a/b", "a/c/d", "a.b", "a-b/c"), ORIGIN)
    with pytest.raises(SourceError, match=r"lists a/b as a file and as a directory"):
        check_paths(files("a/b", "a/c", "a/b/c/d"), ORIGIN)


def test_the_same_bytes_of_several_sizes_are_refused() -> None:
    digest = Digest.of(b"x")
    check_paths([RemoteFile("a", 1, digest), RemoteFile("b", 1, digest), RemoteFile("c", 2)], ORIGIN)
    with pytest.raises(SourceError, match=f"lists {digest} with 1 and 2 bytes"):
        check_paths([RemoteFile("a", 1, digest), RemoteFile("b", 2, digest)], ORIGIN)
    with pytest.raises(SourceError, match="lists gitBlob:"):
        check_paths([RemoteFile("a", 1, git_blob="d" * 40), RemoteFile("b", 2, git_blob="d" * 40)], ORIGIN)


CARD = b"""---
license: apache-2.0
library_name: transformers
pipeline_tag: text-generation
language: [en, de]
base_model:
- org/base
datasets: org/data
base_model_relation: finetune
tags: [a, 1]
---
# Text
"""


def test_a_card_says_what_its_front_matter_says() -> None:
    assert parse_card(CARD) == Card(
        license="Apache-2.0",
        library="transformers",
        task="text-generation",
        base_models=("org/base",),
        relation="finetune",
        datasets=("org/data",),
        languages=("en", "de"),
        tags=("a", "1"),
    )


@pytest.mark.parametrize(
    ("text", "licence"),
    [
        (b"---\nlicense: other\nlicense_name: llama3\n---\n", "llama3"),
        (b"---\nlicense: [mit, apache-2.0]\n---\n", ""),
        (b"---\nlicense: unknown\n---\n", ""),
        (b"---\nlicense: gemma\n---\n", "gemma"),
        (b"---\nlicense: null\n---\n", ""),
        (b"---\nlicense: {a: b}\n---\n", ""),
    ],
)
def test_licences_of_cards(text: bytes, licence: str) -> None:
    assert parse_card(text).license == licence


@pytest.mark.parametrize(
    "text",
    [b"", b"# no front matter", b"---\nnever: ends", b"---\n[: broken\n---\n", b"---\n- list\n---\n", b"\xff\xfe"],
)
def test_a_broken_card_is_empty(text: bytes) -> None:
    assert parse_card(text) == Card()


def test_spdx_of_what_spdx_knows() -> None:
    assert to_spdx("MIT") == "MIT"
    assert to_spdx("cc-by-nc-4.0") == "CC-BY-NC-4.0"
    assert to_spdx("llama3.1") == "llama3.1"


def test_a_kitfile_is_enriched_and_nothing_authored_is_lost() -> None:
    model = Model(name="model", path="model.safetensors", parts=(Part(path="tokenizer.json"), Part(path="x", type="y")))
    known = Known(card=parse_card(CARD), facts={"architecture": "LlamaForCausalLM"})
    found = enrich(Kitfile(package=Package(description="mine"), model=model), ORIGIN, known)
    assert found.package == Package(name="tiny", description="mine", authors=("org",))
    assert found.model == Model(
        name="tiny",
        path="model.safetensors",
        license="Apache-2.0",
        framework="transformers",
        format="safetensors",
        parts=(Part(path="tokenizer.json", type="tokenizer"), Part(path="x", type="y")),
        parameters={
            "architecture": "LlamaForCausalLM",
            "task": "text-generation",
            "baseModels": ["org/base"],
            "baseModelRelation": "finetune",
            "datasets": ["org/data"],
            "languages": ["en", "de"],
        },
    )


def test_only_a_lora_is_called_one() -> None:
    kitfile = Kitfile(model=Model(path="m.gguf", parts=(Part(path="adapter_model.safetensors"),)))
    types = [
        enrich(kitfile, ORIGIN, Known(card=Card(), is_lora=is_lora)).model.parts[0].type  # type: ignore[union-attr]
        for is_lora in (True, False)
    ]
    assert types == ["lora-adapter", ""]


def test_a_dataset_gets_licence_and_languages() -> None:
    origin = Origin("huggingface", "u", "c", "main", "org/data", is_dataset=True)
    found = enrich(Kitfile(datasets=(Dataset(path="data"),)), origin, Known(card=parse_card(CARD)))
    assert found.datasets == (
        Dataset(path="data", license="Apache-2.0", parameters={"task": "text-generation", "languages": ["en", "de"]}),
    )
    assert found.package.license == "Apache-2.0"


def test_provenance_names_revision_files_and_version() -> None:
    digest = Digest.of(b"x")
    done = Import(
        origin=ORIGIN,
        files=[ImportedFile("b", 2, {"gitBlob": "d" * 40}), ImportedFile("a", 1, {"sha256": digest.encoded})],
        version="2.0",
        started="2026-01-01T00:00:00Z",
        finished="2026-01-01T00:00:01Z",
        parameters={"include": ["*"]},
    )
    statement = build_statement(build_predicate(done), "org/tiny", digest)
    assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
    assert statement["subject"] == [{"name": "org/tiny", "digest": {"sha256": digest.encoded}}]
    definition = statement["predicate"]["buildDefinition"]  # type: ignore[index,call-overload]
    assert definition["externalParameters"] == {"source": ORIGIN.uri, "revision": "main", "include": ["*"]}  # type: ignore[index,call-overload]
    assert definition["resolvedDependencies"] == [  # type: ignore[index,call-overload]
        {"uri": f"git+{ORIGIN.uri}@{'c' * 40}", "digest": {"gitCommit": "c" * 40}},
        {"name": "a", "digest": {"sha256": digest.encoded}, "annotations": {"size": 1}},
        {"name": "b", "digest": {"gitBlob": "d" * 40}, "annotations": {"size": 2}},
    ]
