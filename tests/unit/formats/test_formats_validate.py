"""The validator of ModelPack: what the specification wants, and every way to miss it."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from golden_trees import GOLDEN, LayoutSource
from kitops.content.copy import BytesReader
from kitops.content.protocols import Run
from kitops.formats.grammar import is_licence, is_param_size, is_precision, is_time, is_url, to_licence, to_param_size
from kitops.formats.validate import validate_layers, validate_modelpack
from kitops.oci.descriptor import Descriptor
from kitops.oci.digest import Digest
from kitops.oci.manifest import Manifest

ARTIFACT = "application/vnd.cncf.model.manifest.v1+json"
CONFIG = "application/vnd.cncf.model.config.v1+json"
PATH, METADATA = "org.cncf.model.filepath", "org.cncf.model.file.metadata+json"
TITLE = "org.opencontainers.image.title"
FILE = b"weights"


def make_tar(name: str = "m/w.bin") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(FILE)
        archive.addfile(member, io.BytesIO(FILE))
    return buffer.getvalue()


def file_metadata(**changes: object) -> str:
    table = {
        "name": "w.bin",
        "mode": 420,
        "uid": 1000,
        "gid": 0,
        "size": 7,
        "mtime": "1970-01-01T00:00:00Z",
        "typeflag": 0,
    }
    return json.dumps({key: value for key, value in {**table, **changes}.items() if value is not None})


def layer(content: bytes, kind: str = "weight.v1.raw", **annotations: str) -> Descriptor:
    known = {key.replace("__", "."): value for key, value in annotations.items()}
    return Descriptor(f"application/vnd.cncf.model.{kind}", Digest.of(content), len(content), known)


RAW = layer(FILE, org__cncf__model__filepath="m/w.bin")
GOOD: dict[str, Any] = {
    "descriptor": {
        "createdAt": "2026-01-02T03:04:05.5Z",
        "authors": ["Ada"],
        "vendor": "v",
        "family": "llama",
        "name": "n",
        "version": "1",
        "title": "t",
        "description": "",
        "docURL": "https://example.com/doc",
        "sourceURL": "https://example.com",
        "datasetsURL": ["https://example.com/d"],
        "revision": "abc",
        "licenses": ["MIT OR Apache-2.0"],
    },
    "config": {
        "architecture": "a",
        "format": "gguf",
        "paramSize": "6.7b",
        "precision": "float16,int8",
        "quantization": "awq",
        "capabilities": {
            "inputTypes": ["text", "image"],
            "outputTypes": ["embedding"],
            "knowledgeCutoff": "2025-01-01T00:00:00+02:00",
            "reasoning": True,
            "toolUsage": False,
            "reward": False,
            "languages": ["en", "de"],
        },
    },
    "modelfs": {"type": "layers", "diffIds": [str(RAW.digest)]},
}


def build(config: Any = None, layers: Any = (RAW,), **changes: Any) -> tuple[Manifest, bytes]:
    raw = json.dumps(GOOD if config is None else config).encode()
    manifest = Manifest.build(
        config=Descriptor.of(raw, changes.pop("config_type", CONFIG)),
        layers=list(layers),
        artifact_type=changes.pop("artifact_type", ARTIFACT),
        **changes,
    )
    return manifest, raw


def problems(config: Any = None, layers: Any = (RAW,), **changes: Any) -> list[str]:
    return [str(found) for found in validate_modelpack(*build(config, layers, **changes))]


def test_what_is_valid() -> None:
    assert problems() == []
    assert problems({**GOOD, "descriptor": {}, "config": {}}) == []


def change(*keys: str, to: Any) -> dict[str, Any]:
    table = json.loads(json.dumps(GOOD))
    place = table
    for key in keys[:-1]:
        place = place[key]
    if to is None:
        del place[keys[-1]]
    else:
        place[keys[-1]] = to
    return table


@pytest.mark.parametrize(
    ("keys", "to", "expected"),
    [
        (["descriptor"], None, ": is missing"),
        (["config"], None, ": is missing"),
        (["modelfs"], None, ": is missing"),
        (["config"], [], ": is not an object"),
        (["extra"], 1, ": is not known"),
        (["descriptor", "extra"], 1, ": is not known"),
        (["config", "capabilities", "embedding"], True, ": is not known"),
        (["descriptor", "name"], "", ": '' is not a name of one letter at least"),
        (["descriptor", "version"], 1, ": is not text"),
        (["descriptor", "createdAt"], "2026-01-02", ": '2026-01-02' is not a time of RFC 3339"),
        (["descriptor", "authors"], "Ada", ": is not a list"),
        (["descriptor", "authors"], [1], "[0]: is not text"),
        (["descriptor", "licenses"], ["Apache 2"], "[0]: 'Apache 2' is not an SPDX expression"),
        (["descriptor", "sourceURL"], "x", ": 'x' is not an absolute address"),
        (["config", "paramSize"], "6.75B", ": '6.75B' is not a number of parameters like 6.7B"),
        (["config", "capabilities", "languages"], ["fra"], "[0]: 'fra' is not a language of two letters"),
        (["config", "capabilities", "reasoning"], "yes", ": is neither true nor false"),
        (["modelfs", "type"], "layer", ": 'layer' is not 'layers'"),
        (["modelfs", "type"], None, ": is missing"),
        (["modelfs", "diffIds"], None, ": is missing"),
        (["modelfs", "diffIds"], "x", ": is not a list"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_config(keys: list[str], to: Any, expected: str) -> None:
    assert problems(change(*keys, to=to)) == [f"config.{'.'.join(keys)}{expected}"]


def test_precisions_and_modalities() -> None:
    (found,) = problems(change("config", "precision", to="fp16"))
    assert "'fp16' is not a precision" in found
    (found,) = problems(change("config", "capabilities", "inputTypes", to=["smell"]))
    assert "'smell' is not one of audio, embedding, image, other, text, video" in found


def test_diff_ids() -> None:
    other = str(Digest.of(b"other"))
    wrong = problems(change("modelfs", "diffIds", to=[other]))
    assert wrong == [f"config.modelfs.diffIds[0]: is '{other}', the layer is uncompressed and has {RAW.digest}"]
    assert "config.modelfs.diffIds: there are 2, and 1 layers" in problems(
        change("modelfs", "diffIds", to=[str(RAW.digest), other])
    )
    none = problems(change("modelfs", "diffIds", to=[]))
    assert none[0] == "config.modelfs.diffIds: must have 1 entry at least"
    assert "config.modelfs.diffIds[0]: 'x' is not a digest" in problems(change("modelfs", "diffIds", to=["x"]))


def test_what_is_no_config_at_all() -> None:
    manifest, _ = build()
    for raw, message in ((b"{", "not valid JSON"), (b"[]", "not an object"), (b"{}", "the blob is not")):
        assert any(message in str(found) for found in validate_modelpack(manifest, raw))
    assert validate_layers(manifest, b"{", lambda _: pytest.fail("not asked for"), Run()) == ()


def test_what_is_wrong_with_a_manifest() -> None:
    assert problems(artifact_type=None)[0].startswith("artifactType: must be application/vnd.cncf.model.manifest")
    assert problems(config_type=CONFIG.replace("cncf", "cnai"))[0].startswith("config.mediaType: must be ")
    assert problems(annotations={"ml.kitops.modelkit.kitfile": "{"})[0].startswith("annotations: ")
    assert problems(layers=())[0] == "layers: there must be one at least"
    manifest, raw = build()
    bare = Manifest.parse(manifest.raw.replace(b'"mediaType":"application/vnd.oci.image.manifest.v1+json",', b"", 1))
    assert str(validate_modelpack(bare, raw)[0]).startswith("mediaType: must be ")


@pytest.mark.parametrize(
    ("desc", "expected"),
    [
        (layer(FILE, "weight.v1.raw+gzip", org__cncf__model__filepath="w"), "none of the specification"),
        (layer(FILE, "prompt.v1.tar"), "none of the specification"),
        (layer(FILE), "a raw layer has no other name"),
        (layer(FILE, org__cncf__model__filepath="./w"), "not a clean path"),
        (layer(FILE, org__cncf__model__filepath="/w"), "not a clean path"),
        (layer(FILE, org__cncf__model__filepath="../w"), "not a clean path"),
        (layer(FILE, org__cncf__model__filepath=".."), "not a clean path"),
        (layer(FILE, org__cncf__model__filepath=""), "not a clean path"),
        (layer(FILE, org__cncf__model__filepath="a\0b"), "not a clean path"),
        (layer(FILE, **{PATH: "w", TITLE: "v"}), "title is 'v'"),
        (layer(FILE, **{PATH: "w", "org.cncf.model.file.mediatype.untested": "yes"}), "neither 'true' nor 'false'"),
    ],
)
def test_what_is_wrong_with_a_layer(desc: Descriptor, expected: str) -> None:
    found = problems(change("modelfs", "diffIds", to=[str(desc.digest)]), (desc,))
    assert len(found) == 1
    assert expected in found[0]
    assert found[0].startswith("layers[0].")


@pytest.mark.parametrize("path", ["new\nline", "tab\t", "日本\u3000語", "👩\u200d👩", "a\u00a0b"])
def test_names_that_file_systems_have_are_valid(path: str) -> None:
    desc = layer(FILE, **{PATH: path, TITLE: path})
    assert problems(change("modelfs", "diffIds", to=[str(desc.digest)]), (desc,)) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (file_metadata(), None),
        (file_metadata(typeflag=48), None),
        (file_metadata(name="m/w.bin"), None),
        ("{", "not valid JSON"),
        ("[]", "not an object"),
        (file_metadata(uid=None), "'uid' is missing"),
        (file_metadata(uname="ada"), "'uname' is not known"),
        (file_metadata(mode=-1), "mode is not a whole number"),
        (file_metadata(gid="0"), "gid is not a whole number"),
        (file_metadata(size=8), "size is 8, the layer has 7"),
        (file_metadata(typeflag=6), "typeflag 6 is neither"),
        (file_metadata(mtime="yesterday"), "is not a time"),
        (file_metadata(mtime=0), "is not a time"),
        (file_metadata(name="v.bin"), "is not that of"),
    ],
)
def test_metadata_of_files(text: str, expected: str | None) -> None:
    found = problems(layers=(layer(FILE, **{PATH: "m/w.bin", METADATA: text}),))
    assert len(found) == (0 if expected is None else 1)
    assert expected is None or expected in found[0]


def test_two_layers_must_not_be_two_files_of_one_name() -> None:
    other = layer(b"else", org__cncf__model__filepath="m/w.bin")
    config = change("modelfs", "diffIds", to=[str(RAW.digest), str(other.digest)])
    assert problems(config, (RAW, other)) == [
        "layers[1].annotations: org.cncf.model.filepath: layers[0] is another 'm/w.bin'"
    ]


def opener(*contents: bytes) -> Callable[[Descriptor], Any]:
    by_digest = {Digest.of(content): content for content in contents}

    @contextmanager
    def open_blob(desc: Descriptor) -> Iterator[BytesReader]:
        yield BytesReader(by_digest[desc.digest])

    return open_blob


def test_contents_are_what_the_diff_ids_say() -> None:
    tar = make_tar()
    packed = gzip.compress(tar)
    layers = (layer(packed, "weight.v1.tar+gzip"), layer(tar, "code.v1.tar"), RAW)
    digests = [str(Digest.of(tar)), str(Digest.of(tar)), str(RAW.digest)]
    manifest, config = build(change("modelfs", "diffIds", to=digests), layers)
    assert validate_modelpack(manifest, config) == ()
    assert validate_layers(manifest, config, opener(packed, tar, FILE), Run()) == ()


def test_contents_that_are_not() -> None:
    packed, unsafe, lies = gzip.compress(make_tar()), make_tar("../out"), file_metadata(size=9)
    layers = (
        layer(packed, "weight.v1.tar+gzip"),
        layer(unsafe, "code.v1.tar"),
        layer(b"no archive at all", "doc.v1.tar"),
        layer(FILE, **{PATH: "w.bin", METADATA: lies}),
    )
    digests = [str(desc.digest) for desc in layers]
    manifest, config = build(change("modelfs", "diffIds", to=digests), layers)
    found = validate_layers(manifest, config, opener(packed, unsafe, b"no archive at all", FILE), Run())
    assert [one.where for one in found] == [
        "config.modelfs.diffIds[0]",
        "layers[1]",
        "layers[2]",
        "layers[3].annotations",
    ]
    assert "leads out" in found[1].problem
    assert "size is 9, the file has 7" in found[3].problem


@pytest.mark.parametrize("name", ["modctl-raw", "modctl-tar"])
def test_what_modctl_writes_is_valid(name: str) -> None:
    source = LayoutSource(GOLDEN / "other" / name / "layout")
    manifest = Manifest.parse(source.fetch(source.root()))
    config = source.fetch(manifest.config)
    assert validate_modelpack(manifest, config) == ()
    assert validate_layers(manifest, config, source.open, Run()) == ()


def test_what_the_go_tool_gets_wrong_is_found() -> None:
    source = LayoutSource(GOLDEN / "pack/2026/minimal+modelpack/layout")
    manifest = Manifest.parse(source.fetch(source.root()))
    found = validate_modelpack(manifest, source.fetch(manifest.config))
    assert [one.where for one in found] == ["mediaType", "config.modelfs.diffIds[0]"]


# --- the small languages


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("MIT", True), ("GPL-2.0+", True), ("MIT OR Apache-2.0", True), ("((MIT))", True), ("AND-1.0", True),
        ("(MIT AND BSD-3-Clause) OR GPL-2.0+ WITH Classpath-exception-2.0", True), ("DocumentRef-x:LicenseRef-y", True),
        ("", False), ("Apache 2.0", False), ("MIT OR", False), ("OR MIT", False), ("(MIT", False), ("MIT)", False),
        ("()", False), ("A WITH B WITH C", False), ("WITH", False), ("openrail++", False), ("a (b)", False),
        ("a(b)", False), ("a\nb", False), ("é", False),
    ],
)  # fmt: skip
def test_licences(text: str, expected: bool) -> None:
    assert is_licence(text) is expected
    written = to_licence(text)
    assert not written or is_licence(written)
    assert (written == text) is (expected or not text)


def test_licences_of_other_words_become_references() -> None:
    assert to_licence("Apache 2.0") == "LicenseRef-Apache-2.0"
    assert to_licence("openrail++") == "LicenseRef-openrail"
    assert to_licence("()") == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-02T03:04:05Z", True), ("2016-12-31T23:59:60Z", True), ("2026-01-02T03:04:05.123456789+02:00", True),
        ("2026-13-02T03:04:05Z", False), ("2026-01-02", False), ("2026-01-02T03:04:05", False), ("", False),
        ("2026-01-02T03:04:05Z\n", False), ("2026-02-30T00:00:00Z", False), ("2026-01-02T03:04:05+99:00", False),
    ],
)  # fmt: skip
def test_times(text: str, expected: bool) -> None:
    assert is_time(text) is expected


def test_addresses_sizes_and_precisions() -> None:
    assert all(map(is_url, ["https://x.y/z", "s3://b/k", "mailto:a@b", "git+ssh://h/x"]))
    assert not any(map(is_url, ["", "x", "/a", "http://", "http://[", "a b://c", "https://x y", "https://x\n"]))
    assert all(map(is_param_size, ["6.7B", "8b", "1.0t", "100m", "3K", "1Q"]))
    assert not any(map(is_param_size, ["", "B", "6.75B", "6.", "7", "7 B", "-1B", ".5B", "7B\n"]))
    assert [to_param_size(text) for text in ("6.7B", "8.03 B", "361.85 m", "0.95K", "7 T", "9.96B", "10.25B")] == [
        "6.7B", "8.0B", "361.9m", "1.0K", "7T", "10.0B", "10.3B"
    ]  # fmt: skip
    assert not any(map(to_param_size, ["", "7 billion", "B", "7", "6.B", "-1B", "7  B", "7B\n", "\u0667B"]))
    assert all(map(is_precision, ["float16", "bfloat16,float32", "complex128", "float8_e4m3"]))
    assert not any(map(is_precision, ["", "fp16", "float16,", "float16, int8", "float16,float16"]))
