"""Laws of ModelPack output: whatever a Kitfile, weights and annotations say, the config is valid and tells no lie."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker

from kitops.content.protocols import LayerRecord
from kitops.formats.build import PackedLayer, build_modelpack
from kitops.formats.config import Config
from kitops.formats.grammar import is_time
from kitops.formats.modelkit import understand
from kitops.formats.modelpack_config import read_config
from kitops.formats.modelpack_fields import CONFIG, DESCRIPTOR
from kitops.formats.parts import list_parts
from kitops.formats.plan import PlannedLayer
from kitops.formats.validate import validate_modelpack
from kitops.kitfile.schema import Code, Dataset, Docs, Kitfile, Model, Package
from kitops.kitfile.schema import Part as ModelPart
from kitops.layers.codec import Codec
from kitops.layers.write import Format
from kitops.oci import gojson
from kitops.oci.annotations import CREATED, DOCUMENTATION, KITFILE, REVISION, SOURCE, VENDOR
from kitops.oci.digest import Digest
from kitops.weights.facts import PRECISION_WORDS, Facts

CALM = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # machines are shared
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_PATH = st.text("abcxyz", min_size=1, max_size=4)
_TIMES = st.datetimes().map(lambda when: when.isoformat() + "Z")


def _object(properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False, **more}


_TEXTS = {"type": "array", "items": {"type": "string"}}
SCHEMA = _object(
    {
        "descriptor": _object(
            {
                "createdAt": {"type": "string", "format": "date-time"},
                "authors": _TEXTS,
                "name": {"type": "string", "minLength": 1},
                "licenses": _TEXTS,
                **{
                    key: {"type": "string"}
                    for key in (
                        "family",
                        "version",
                        "title",
                        "description",
                        "docURL",
                        "sourceURL",
                        "revision",
                        "vendor",
                    )
                },
            }
        ),
        "config": _object(
            {key: {"type": "string"} for key in ("architecture", "format", "paramSize", "precision", "quantization")}
        ),
        "modelfs": _object(
            {"type": {"const": "layers"}, "diffIds": {**_TEXTS, "minItems": 1}}, required=["type", "diffIds"]
        ),
    },
    required=["descriptor", "config", "modelfs"],
)
"""What the schemas of model-spec 0.0.7 and of its later drafts have in common, in our own words."""
CHECKER = FormatChecker()
CHECKER.checks("date-time")(lambda value: not isinstance(value, str) or is_time(value))
VALIDATOR = Draft202012Validator(SCHEMA, format_checker=CHECKER)


@st.composite
def kitfiles(draw: st.DrawFn) -> Kitfile:
    paths = draw(st.lists(_PATH, min_size=5, max_size=5, unique=True))
    return Kitfile(
        package=Package(
            name=draw(_TEXT),
            version=draw(_TEXT),
            description=draw(_TEXT),
            license=draw(_TEXT),
            authors=tuple(draw(st.lists(_TEXT, max_size=2))),
        ),
        model=Model(
            path=paths[0], name=draw(_TEXT), license=draw(_TEXT), format=draw(_TEXT), parts=(ModelPart(path=paths[1]),)
        ),
        code=(Code(path=paths[2], license=draw(_TEXT)),),
        datasets=(Dataset(path=paths[3], name=draw(_TEXT), license=draw(_TEXT)),),
        docs=(Docs(path=paths[4]),),
    )


_FACTS = st.builds(
    Facts,
    architecture=_TEXT,
    family=_TEXT,
    format=st.sampled_from(["", "gguf", "safetensors"]),
    precision=st.lists(st.sampled_from(sorted(PRECISION_WORDS)), unique=True, max_size=2).map(",".join),
    quantization=_TEXT,
    parameters=st.integers(0, 10**17),
)
_ANNOTATIONS = st.dictionaries(
    st.sampled_from([CREATED, SOURCE, REVISION, DOCUMENTATION, VENDOR, "x"]), _TEXT | _TIMES | st.just("https://x.y/z")
)


def pack_layers(kitfile: Kitfile, forms: list[Format], files: list[str]) -> list[PackedLayer]:
    """A layer for each part; raw ones spread over ``files`` as from a directory."""
    found = []
    for part, form in zip(list_parts(kitfile), forms, strict=True):
        planned = PlannedLayer(part, form, Codec.NONE, frozenset())
        for file in files if form is Format.RAW and files else [""]:
            content = f"{part.path}/{file}".encode()
            digest = Digest.of(content)
            path = f"{part.path}/{file}" if file else ""
            record = LayerRecord(digest, len(content), digest)
            found.append(PackedLayer(planned, record, mode=0o644, file_size=len(content), file=path))
    return found


@CALM
@given(
    kitfiles(),
    st.lists(st.sampled_from(Format), min_size=5, max_size=5),
    st.lists(_PATH, max_size=3, unique=True),
    _FACTS,
    _ANNOTATIONS,
)
def test_what_is_written_is_valid_and_read_back(
    kitfile: Kitfile, forms: list[Format], files: list[str], facts: Facts, annotations: dict[str, str]
) -> None:
    layers = pack_layers(kitfile, forms, files)
    built = build_modelpack(kitfile, layers, annotations, facts)
    assert validate_modelpack(built.manifest, built.config) == ()
    config = json.loads(built.config)
    assert not list(VALIDATOR.iter_errors(config))
    assert config["modelfs"]["diffIds"] == [str(layer.record.diff_id) for layer in layers]
    assert Config.parse(built.manifest.annotations[KITFILE], "it").kitfile == kitfile
    kit = understand(built.manifest.descriptor, built.manifest, built.config)
    assert [layer.part for layer in kit.layers] == [layer.planned.part for layer in layers]
    assert [layer.path for layer in kit.layers] == [layer.path for layer in layers]
    assert build_modelpack(kitfile, layers, annotations, facts) == built


_WORDS = st.sampled_from(
    ["", "text", "en", "english", "7B", "7 billion", "8.03 B", "bfloat16", "fp16", "MIT", "my own", "https://x.y/z"]
)
_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | _TEXT | _TIMES | _WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORDS, inner, max_size=3),
    max_leaves=6,
)
_PARAMETERS = st.sampled_from(
    ["architecture", "family", "parameterSize", "parameters", "precision", "quantization", "capabilities", "licenses",
     "datasetsURL"]
)  # fmt: skip
_CAPABILITIES = st.dictionaries(st.sampled_from([*CONFIG["capabilities"], "embedding"]), _ANY | _WORDS, max_size=4)  # type: ignore[misc,list-item]


def sections(fields: Any) -> st.SearchStrategy[Any]:
    return st.dictionaries(st.sampled_from([*fields, "unknown"]), _ANY | _CAPABILITIES, max_size=6) | _ANY


@CALM
@given(
    kitfiles(),
    st.dictionaries(_PARAMETERS, _ANY | _CAPABILITIES, max_size=5) | _ANY,
    st.fixed_dictionaries({}, optional={"descriptor": sections(DESCRIPTOR), "config": sections(CONFIG)}),
)
def test_whatever_was_said_before_what_is_written_is_valid(kitfile: Kitfile, parameters: Any, older: Any) -> None:
    assert kitfile.model is not None
    kitfile = replace(kitfile, model=replace(kitfile.model, parameters=parameters))
    layers = pack_layers(kitfile, [Format.TAR] * 5, [])
    raw = gojson.dumps(older)
    told = read_config(raw, "it")
    built = build_modelpack(kitfile, layers, told.annotations, older=told)
    assert validate_modelpack(built.manifest, built.config) == ()
    again = read_config(built.config, "it")
    assert again.left_out == ()
    assert {**again.descriptor, **told.descriptor} == again.descriptor
    assert {**again.config, **told.config} == again.config
    assert read_config(gojson.dumps({"descriptor": told.descriptor, "config": told.config}), "it") == replace(
        told, left_out=()
    )
