"""Laws of the record that an unpack leaves: whatever stands in it, it is a record in every field, or none."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kitops.content.protocols import Run
from kitops.errors import KitError
from kitops.oci.reference import Reference
from kitops.ops.pack import PackOptions, pack
from kitops.ops.place import Connection, Place
from kitops.ops.status import status
from kitops.ops.unpack import unpack
from kitops.ops.unpack_record import NAME, read_record, write_record
from kitops.ops.verify import verify
from kitops.store import open_store

CALM = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
REF = Reference.parse("team/model:v1")
ODD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(
        ["../out", "/etc", "a/../b", "", ".", "a\0b", "\ud800", "raw", "tar", "gzip", "sha256:00", 1 << 70]
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def no_network() -> Connection:
    raise AssertionError("this test has no network")


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Place, Path, dict[str, Any]]:
    """A place, a directory that was unpacked there, and its record."""
    root = tmp_path_factory.mktemp("record")
    run = Run()
    place = Place(root / "home", open_store(root / "home/store", run=run), no_network, run)
    (root / "project/data").mkdir(parents=True)
    for path in ("m.bin", "data/a", "data/b"):
        (root / "project" / path).write_bytes(path.encode())
    kitfile = b"model: {path: m.bin}\ndatasets: [{path: data}]\n"
    pack(place, root / "project", PackOptions(references=(REF,), kitfile_text=kitfile))
    unpack(place, REF, root / "out")
    return place, root / "out", json.loads((root / "out" / NAME).read_text())


def look(place: Place, out: Path, text: str | bytes) -> None:
    """There is no record, or one that can be worked with and written again."""
    (out / NAME).write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    record = read_record(out)
    for work in (status, verify):
        try:
            work(place, out)
        except KitError as error:
            assert "\n" not in error.message
    if record is not None:
        write_record(out, record)
        assert read_record(out) == record


@CALM
@given(st.binary(max_size=60))
def test_any_bytes(unpacked: tuple[Place, Path, dict[str, Any]], content: bytes) -> None:
    place, out, _ = unpacked
    look(place, out, content)
    look(place, out, b'{"version":2,' + content)


def list_places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The ways to every value in a document."""
    found = [path]
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        found += list_places(inner, (*path, key))
    return found


@CALM
@given(st.data())
def test_anything_in_the_place_of_anything(unpacked: tuple[Place, Path, dict[str, Any]], data: st.DataObject) -> None:
    place, out, table = unpacked
    changed = {"": copy.deepcopy(table)}
    for _ in range(data.draw(st.integers(1, 2))):
        where = ("", *data.draw(st.sampled_from(list_places(changed[""]))))
        parent: Any = changed
        for key in where[:-1]:
            parent = parent[key]
        kind = data.draw(st.sampled_from(["other", "gone", "twice"]))
        if kind == "other" or len(where) == 1:
            parent[where[-1]] = data.draw(ODD)
        elif kind == "gone":
            del parent[where[-1]]
        elif isinstance(parent, list):
            parent.append(parent[where[-1]])
    look(place, out, json.dumps(changed[""]))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"size":', '"size":Infinity,"was":'),
        ('"members":[[', '"members":[[],['),
        ('"path":"m.bin"', '"path":5'),
        ('"partial":false', '"partial":0'),
        ('"kitfile":', '"kitfile":[],"was":'),
        ('"layers":', '"layers":{},"was":'),
        ('"layers":', '"layers":' + "[" * 100_000 + ',"was":'),
        ('["m.bin",', '["../m.bin",'),
        ('["m.bin",420', '["m.bin",-1'),
        ('["m.bin",420', '["m.bin",true'),
    ],
)
def test_what_is_no_record(unpacked: tuple[Place, Path, dict[str, Any]], old: str, new: str) -> None:
    place, out, table = unpacked
    text = json.dumps(table, separators=(",", ":"))
    (out / NAME).write_text(text)
    assert read_record(out) is not None
    assert old in text
    look(place, out, text.replace(old, new))
    (out / NAME).write_text(text.replace(old, new))
    assert read_record(out) is None


def test_what_is_no_file_is_no_record(tmp_path: Path) -> None:
    assert read_record(tmp_path) is None
    (tmp_path / NAME).mkdir()
    assert read_record(tmp_path) is None
    (tmp_path / NAME).rmdir()
    os.mkfifo(tmp_path / NAME)
    assert read_record(tmp_path) is None
