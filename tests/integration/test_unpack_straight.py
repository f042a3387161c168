"""Unpacking straight from a registry: several layers at a time, over several connections, damaged layers once more."""

from __future__ import annotations

import io
import json
import os
import random
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from blob_server import FINE, Asked, BlobServer, Weather, blob_server
from kitops.cli._tally import Tally
from kitops.content.events import Event, Message
from kitops.content.protocols import Run
from kitops.errors import FileSystemError, IntegrityError
from kitops.oci.descriptor import Descriptor
from kitops.oci.manifest import Manifest
from kitops.oci.reference import Reference
from kitops.ops.pack import PackOptions, pack
from kitops.ops.place import Connection, Place
from kitops.ops.unpack import unpack
from kitops.registry import pace
from kitops.registry.credentials import CredentialStore
from kitops.registry.network import Network, Patience
from kitops.store import filesystem, open_store
from unit.ops.ops_places import open_test_place

MIB = 1024 * 1024
SIZES = {"a.bin": 24 * MIB + 77, "b.bin": 2 * MIB, "c.bin": 3 * MIB + 1, "d.bin": 2 * MIB + 5}
PATIENCE = Patience(attempts=3, pause=0.005, stall=5.0, read=20.0)


@dataclass
class Served:
    """A ModelKit of four files in a registry, and where it is unpacked to."""

    server: BlobServer
    ref: Reference
    files: dict[str, bytes]
    layers: dict[str, str]
    home: Path
    out: Path
    events: list[Event] = field(default_factory=list)

    def unpack(self) -> None:
        run = Run(self.events.append)
        network = Network(plain_http=True, patience=PATIENCE)
        connection = Connection(network, CredentialStore(self.home / "credentials.json"))
        place = Place(self.home, open_store(self.home / "store", run=run), lambda: connection, run)
        unpack(place, self.ref, self.out)

    def check(self) -> None:
        assert {path.name: path.read_bytes() for path in self.out.glob("*.bin")} == self.files
        assert [name for name in os.listdir(self.out) if name.startswith(".kitops-unpack-")] == []

    def asked(self, name: str) -> int:
        """Bytes that were asked for of a layer."""
        return sum(one.end - one.start for one in self.server.asked if one.path.endswith(self.layers[name]))

    def worst(self, name: str, weather: Weather, times: int = 1) -> None:
        """The first requests for a layer get this weather."""
        left = [times]

        def forecast(asked: Asked) -> Weather:
            if asked.path.endswith(self.layers[name]) and left[0]:
                left[0] -= 1
                return weather
            return FINE

        self.server.forecast = forecast

    @property
    def warnings(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, Message) and event.level == "warning"]


@pytest.fixture(scope="module", params=["tar", "raw"])
def packed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Manifest, dict[str, bytes]]:
    root = tmp_path_factory.mktemp("packed")
    for number, (name, size) in enumerate(SIZES.items()):
        (root / name).write_bytes(random.Random(number).randbytes(size))
    parts = "".join(f"    - path: {name}\n" for name in list(SIZES)[1:])
    (root / "Kitfile").write_text(f"manifestVersion: 1.0.0\nmodel:\n  path: a.bin\n  parts:\n{parts}")
    place = open_test_place(root / "home")
    desc = pack(place, root, PackOptions(layer_format=request.param)).desc
    manifest = Manifest.parse(place.store.blobs.fetch(desc))
    return manifest, {str(one.digest): place.store.blobs.path(one.digest).read_bytes() for one in manifest.children}


def pack_otherwise(packed: tuple[Manifest, dict[str, bytes]]) -> tuple[Manifest, dict[str, bytes]]:
    """The same in archives of another tool, which cannot be made again of their files."""
    blobs = []
    for number, (name, size) in enumerate(SIZES.items()):
        member, buffer = tarfile.TarInfo(name), io.BytesIO()
        member.size, member.mtime = size, 1
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            archive.addfile(member, io.BytesIO(random.Random(number).randbytes(size)))
        blobs.append(buffer.getvalue())
    parts = [{"path": name} for name in list(SIZES)[1:]]
    table = {"manifestVersion": "1.0.0", "package": {}, "model": {"path": "a.bin", "parts": parts}}
    blobs.append(json.dumps(table).encode())
    found = [Descriptor.of(blob, old.media_type) for blob, old in zip(blobs, packed[0].layers, strict=False)]
    config = Descriptor.of(blobs[-1], packed[0].config.media_type)
    manifest = Manifest.build(config=config, layers=found)
    return manifest, {str(one.digest): blob for one, blob in zip([*found, config], blobs, strict=True)}


@pytest.fixture
def served(packed: tuple[Manifest, dict[str, bytes]], tmp_path: Path) -> Iterator[Served]:
    with serve(packed, tmp_path) as found:
        yield found


@contextmanager
def serve(packed: tuple[Manifest, dict[str, bytes]], tmp_path: Path) -> Iterator[Served]:
    manifest, blobs = packed
    files = {name: random.Random(number).randbytes(size) for number, (name, size) in enumerate(SIZES.items())}
    layers = {name: str(layer.digest) for name, layer in zip(SIZES, manifest.layers, strict=True)}
    with blob_server(manifest, blobs) as server:
        ref = Reference.parse(f"{server.address}/team/kit:v1")
        yield Served(server, ref, files, layers, tmp_path / "home", tmp_path / "out")


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """More connections are tried at once."""
    monkeypatch.setattr(pace, "WINDOW", 0.02)
    monkeypatch.setattr(pace, "WORTH", 0.1)
    monkeypatch.setattr(pace, "GAIN", 0.0)


def test_layers_come_at_the_same_time(served: Served) -> None:
    served.server.forecast = lambda asked: Weather(rate=20 * MIB)
    served.unpack()
    served.check()
    assert served.server.most_open >= 4
    assert served.warnings == []
    assert served.server.sent < 1.01 * sum(SIZES.values())


@pytest.mark.usefixtures("eager")
def test_one_large_layer_comes_over_several_connections(served: Served) -> None:
    served.server.forecast = lambda asked: Weather(rate=8 * MIB)
    served.unpack()
    served.check()
    large = [one for one in served.server.asked if one.path.endswith(served.layers["a.bin"])]
    assert len(large) > 2
    assert served.server.sent < 1.3 * sum(SIZES.values())


def test_a_registry_without_ranges(served: Served) -> None:
    served.server.forecast = lambda asked: Weather(has_ranges=False, rate=40 * MIB)
    served.unpack()
    served.check()


@pytest.mark.parametrize("name", ["a.bin", "c.bin"])
@pytest.mark.parametrize("weather", [Weather(flip=True), Weather(length=100)], ids=["wrong byte", "wrong size"])
def test_a_layer_that_came_damaged_comes_once_more_and_the_others_do_not(
    served: Served, name: str, weather: Weather
) -> None:
    served.worst(name, replace(weather, has_ranges=False) if weather.length else weather)
    served.unpack()
    served.check()
    assert any("it comes once more" in text for text in served.warnings) or weather.length
    tally = Tally()
    for event in served.events:
        tally(event)
    sums = tally.sums()
    assert (sums.done, sums.items_done, sums.items) == (sums.size, 4, 4)
    assert served.server.sent < sum(SIZES.values()) + 1.2 * SIZES[name] + 9 * MIB


def test_each_layer_may_come_once_more(served: Served) -> None:
    served.server.forecast = lambda asked: Weather(
        flip=not any(asked.path.rpartition("/")[2] in text for text in served.warnings)
    )
    served.unpack()
    served.check()
    assert sum("it comes once more" in text for text in served.warnings) == len(served.layers)


@pytest.mark.parametrize("packed", ["tar"], indirect=True)
def test_so_may_each_layer_of_another_tool(packed: tuple[Manifest, dict[str, bytes]], tmp_path: Path) -> None:
    with serve(pack_otherwise(packed), tmp_path) as found:
        test_each_layer_may_come_once_more(found)


def test_a_layer_that_is_damaged_twice_is_an_error_and_nothing_is_left(served: Served) -> None:
    served.worst("b.bin", Weather(flip=True), times=100)
    with pytest.raises(IntegrityError, match=str(served.ref.registry)):
        served.unpack()
    assert not served.out.exists()


def test_what_will_not_fit_is_refused_before_the_first_byte(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    free = sum(SIZES.values()) - 1000
    monkeypatch.setattr(filesystem, "free_space", lambda path: free)
    with pytest.raises(FileSystemError, match=rf"\d+ bytes needed, {free} bytes free"):
        served.unpack()
    assert served.server.asked == []
    assert not served.out.exists()


def test_a_cut_connection_costs_what_was_cut(served: Served) -> None:
    served.worst("a.bin", Weather(cut_after=5 * MIB), times=2)
    served.unpack()
    served.check()
    assert served.server.sent < 1.02 * sum(SIZES.values()) + MIB
