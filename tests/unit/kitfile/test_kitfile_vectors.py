"""Config blobs of the Go tool: what it read from a Kitfile, ours reads too, byte for byte."""

import json
from pathlib import Path

import pytest

from kitops.kitfile.dump import dump, from_json, to_json
from kitops.kitfile.parse import parse
from kitops.oci import gojson

GOLDEN = Path(__file__).parents[2] / "golden"
CASES = sorted((GOLDEN / "pack").glob("202[56]/*/case.json"))
PACKED = [path for path in CASES if "modelpack" not in path.parent.name]


def read_case(path: Path) -> tuple[dict, bytes]:
    case = json.loads(path.read_text())
    blobs = path.parent / "layout" / "blobs" / "sha256"
    manifest = json.loads((blobs / case["manifest"].removeprefix("sha256:")).read_text())
    return case, (blobs / manifest["config"]["digest"].removeprefix("sha256:")).read_bytes()


def without_digests(value):
    if isinstance(value, dict):
        computed = ("digest", "diffId") if "digest" in value and "diffId" in value else ()
        return {key: without_digests(item) for key, item in value.items() if key not in computed}
    return [without_digests(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("path", PACKED, ids=lambda path: f"{path.parent.parent.name}-{path.parent.name}")
def test_json_equals_config_blob(path):
    case, blob = read_case(path)
    kitfile = parse(case["kitfile"])
    expected = gojson.dumps(without_digests(json.loads(blob)))
    assert gojson.dumps(to_json(kitfile)) == expected
    assert gojson.dumps(to_json(from_json(gojson.loads(blob, "config"), "config"))) == expected


@pytest.mark.parametrize("path", CASES, ids=lambda path: f"{path.parent.parent.name}-{path.parent.name}")
def test_round_trip(path):
    case, _ = read_case(path)
    kitfile = parse(case["kitfile"])
    assert parse(dump(kitfile)) == kitfile


def test_digests_come_last_in_each_element():
    """What the layers add goes behind the fields that the author wrote."""
    _, blob = read_case(GOLDEN / "pack" / "2026" / "everything" / "case.json")
    for element in (json.loads(blob)["model"], *json.loads(blob)["code"], *json.loads(blob)["model"]["parts"]):
        assert list(element)[-2:] == ["digest", "diffId"]


@pytest.mark.parametrize("path", sorted((GOLDEN / "init").glob("*.json")), ids=lambda path: path.stem)
def test_dump_lays_out_as_go(path):
    written = json.loads(path.read_text())["kitfile"]
    assert dump(parse(written)) == written


def test_old_configs_read():
    for path in sorted((GOLDEN / "pack" / "2024").glob("*/case.json")):
        case, blob = read_case(path)
        assert from_json(json.loads(blob), "config") == parse(case["kitfile"])
