"""The types, and the JSON Schema that editors use."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from kitops.errors import InvalidValueError
from kitops.kitfile.dump import from_json, to_json
from kitops.kitfile.schema import Kitfile, McpServer, Model, Part, clean_path, json_schema, model_reference, paths
from kitops.oci.reference import Reference

TESTS = Path(__file__).parents[2]
DOCS = TESTS.parent / "docs"
GOOD = [json.loads(path.read_text())["kitfile"] for path in sorted((TESTS / "golden").glob("pack/*/*/case.json"))] + [
    case["kitfile"] for case in yaml.safe_load((TESTS / "cases" / "kitfile-init.yaml").read_text())
]


def validator():
    return jsonschema.Draft202012Validator(json_schema())


def test_committed_schema_is_up_to_date():
    """Mend it with: kit kitfile schema > docs/kitfile.schema.json."""
    assert json.loads((DOCS / "kitfile.schema.json").read_text()) == json_schema()


def test_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(json_schema())


def test_every_field_is_described():
    def walk(schema):
        for field in schema.get("properties", {}).values():
            assert field["description"]
            walk(field)
            walk(field.get("items", {}))

    walk(json_schema())


@pytest.mark.parametrize("text", sorted(set(GOOD)))
def test_schema_takes_what_is_valid(text):
    # As an editor reads it: numbers and dates are not text there; JSON has no dates.
    validator().validate(json.loads(json.dumps(yaml.safe_load(text), default=str)))


@pytest.mark.parametrize(
    ("kitfile", "path"),
    [
        ({}, []),
        ({"manifestVersion": "1.0.0", "modle": {}}, []),
        ({"manifestVersion": "1.0.0", "model": {"path": []}}, ["model", "path"]),
        ({"manifestVersion": "1.0.0", "model": {"parts": [{"type": "-x"}]}}, ["model", "parts", 0, "type"]),
        ({"manifestVersion": "1.0.0", "model": {"parts": [{"type": "x" * 65}]}}, ["model", "parts", 0, "type"]),
        ({"manifestVersion": "1.0.0", "code": {"path": "src"}}, ["code"]),
        ({"manifestVersion": "1.0.0", "mcpServers": [{"name": "x"}]}, ["mcpServers", 0]),
        ({"manifestVersion": "1.0.0", "package": {"authors": "Ada"}}, ["package", "authors"]),
    ],
)
def test_schema_refuses_what_is_not(kitfile, path):
    assert [list(error.absolute_path) for error in validator().iter_errors(kitfile)] == [path]


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("", "."),
        (".", "."),
        ("./notebooks/", "notebooks"),
        ("a//b/./c/..", "a/b"),
        ("../x", "../x"),
        ("a/../..", ".."),
        ("/a/", "/a"),
        ("//a", "/a"),
        ("a\\b", "a\\b"),
    ],
)
def test_clean_path(text, cleaned):
    assert clean_path(text) == cleaned


@pytest.mark.parametrize(
    ("path", "reference"),
    [
        ("minimal:v1", "minimal:v1"),
        ("registry.example.com/a/b:tag", "registry.example.com/a/b:tag"),
        ("localhost:5000/a/b", "localhost:5000/a/b"),
        ("a@sha256:" + "0" * 64, "a@sha256:" + "0" * 64),
        ("model/weights.bin", None),
        ("./weights:v2", None),
        ("Weights:v2", None),
        ("c:/weights", None),
        ("a:b,c", None),
        ("", None),
    ],
)
def test_model_reference(path, reference):
    assert model_reference(Model(path=path)) == (Reference.parse(reference) if reference else None)


def test_paths_in_the_order_of_the_layers():
    kitfile = Kitfile(model=Model(path="w", parts=(Part(path="p"),)), mcp_servers=(McpServer("s", "s.mcpb"),))
    assert list(paths(kitfile)) == [("model.path", "w"), ("model.parts[0].path", "p"), ("mcpServers[0].path", "s.mcpb")]
    assert list(paths(Kitfile(model=Model(path="minimal:v1")))) == []


def test_config_blobs_of_every_age():
    blob = {
        "manifestVersion": "1.0.0",
        "model": {"path": "w", "digest": "sha256:0", "diffId": "sha256:0", "parts": None, "parameters": {"b": 1}},
        "future": {"x": 1},
        "package": {"authors": ["Ada"], "name": None},
    }
    found = from_json(blob, "config")
    assert to_json(found) == {
        "manifestVersion": "1.0.0",
        "package": {"authors": ["Ada"]},
        "model": {"path": "w", "parameters": {"b": 1}},
    }
    assert from_json({}, "config") == Kitfile()


def test_halves_of_characters_become_the_replacement_character():
    found = from_json(
        {"package": {"name": "\ud800"}, "model": {"parameters": {"\udfff": ["é\ud800", "\U0001f600"]}}}, ""
    )
    assert found.package.name == "\ufffd"
    assert found.model == Model(parameters={"\ufffd": ["é\ufffd", "\U0001f600"]})


DEEP = []
for _ in range(200):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("blob", "message"),
    [
        ([], "config: expected a map, got a list"),
        (None, "config: expected a map, got nothing"),
        ({"package": True}, "config: package: expected a map, got true or false"),
        ({"package": {"name": 5}}, "config: package.name: expected text, got a number"),
        ({"package": {"authors": "x"}}, "config: package.authors: expected a list, got text"),
        ({"package": {"authors": [{}]}}, "config: package.authors[0]: expected text, got a map"),
        ({"code": [[]]}, "config: code[0]: expected a map, got a list"),
        ({"model": {"parameters": DEEP}}, "config: model.parameters is nested more than 100 levels deep"),
    ],
)
def test_config_blobs_that_are_none(blob, message):
    with pytest.raises(InvalidValueError) as caught:
        from_json(blob, "config")
    assert caught.value.message == message
