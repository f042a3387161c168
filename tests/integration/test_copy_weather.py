"""A copy between registries, to a layout or to a file, when what comes is damaged or the connection breaks."""

from __future__ import annotations

import gc
import hashlib
import random
import tarfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import kitops
from blob_server import FINE, BlobServer, Weather, blob_server
from faulty_registry import Faults, faulty_registry
from kitops.api.settings import Settings
from kitops.content.events import Event, Message
from kitops.errors import IntegrityError
from kitops.oci.descriptor import Descriptor
from kitops.oci.manifest import Manifest
from kitops.registry import Network
from kitops.registry.network import Patience
from kitops.testing import ThrowAwayRegistry

MIB = 1024 * 1024
CONFIG = b'{"manifestVersion":"1.0.0","package":{},"model":{"path":"m.bin"}}'
TYPE = "application/vnd.kitops.modelkit"
BLOBS = [random.Random(size).randbytes(size * MIB + 5) for size in (2, 18)]
KIT = Manifest.build(
    config=Descriptor.of(CONFIG, f"{TYPE}.config.v1+json"),
    layers=[Descriptor.of(blob, f"{TYPE}.model.v1.tar") for blob in BLOBS],
)
CONTENT = {str(KIT.config.digest): CONFIG} | {
    str(layer.digest): blob for layer, blob in zip(KIT.layers, BLOBS, strict=True)
}
NETWORK = Network(plain_http=True, patience=Patience(attempts=3, pause=0.005, stall=5.0, read=20.0))


@pytest.fixture
def server() -> Iterator[BlobServer]:
    with blob_server(KIT, CONTENT) as found:
        yield found


class Copier:
    """Copies from ``server``, and keeps what was told."""

    def __init__(self, home: Path) -> None:
        self.events: list[Event] = []
        self.settings = Settings(home=home, network=NETWORK, observer=self.events.append)

    @property
    def warnings(self) -> list[str]:
        return [one.text for one in self.events if isinstance(one, Message) and one.level == "warning"]


@pytest.fixture
def copier(tmp_path: Path) -> Copier:
    return Copier(tmp_path / "home")


def flip_first_of_each(server: BlobServer) -> None:
    """Each blob comes damaged the first time."""
    seen: set[str] = set()

    def is_new(path: str) -> bool:
        is_first = path not in seen
        seen.add(path)
        return is_first

    server.forecast = lambda asked: Weather(flip=True) if is_new(asked.path) else FINE


def check_layout(blobs: dict[str, bytes]) -> None:
    for digest, data in CONTENT.items():
        assert blobs[digest.removeprefix("sha256:")] == data
    assert all(hashlib.sha256(data).hexdigest() == name for name, data in blobs.items())


def read_archive(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        return {
            member.name.removeprefix("blobs/sha256/"): archive.extractfile(member).read()  # type: ignore[union-attr]
            for member in archive
            if member.name.startswith("blobs/sha256/") and member.isfile()
        }


def test_damaged_blobs_come_once_more_into_a_registry(server: BlobServer, copier: Copier) -> None:
    flip_first_of_each(server)
    with ThrowAwayRegistry() as target:
        kitops.copy(f"{server.address}/team/x:v1", f"{target.address}/team/y:v1", settings=copier.settings)
        with target.repository("team/y") as sink:
            assert sink.resolve("v1").digest == KIT.descriptor.digest
    assert len([text for text in copier.warnings if "fetching it once more" in text]) == 2


def test_damaged_blobs_come_once_more_into_a_layout(server: BlobServer, copier: Copier, tmp_path: Path) -> None:
    flip_first_of_each(server)
    kitops.copy(f"{server.address}/team/x:v1", f"oci:{tmp_path / 'layout'}:v1", settings=copier.settings)
    check_layout({path.name: path.read_bytes() for path in (tmp_path / "layout" / "blobs" / "sha256").iterdir()})
    assert len([text for text in copier.warnings if "once more" in text]) == 2


@pytest.mark.parametrize("verb", ["copy", "save"])
def test_damaged_blobs_come_once_more_into_a_file(
    server: BlobServer, copier: Copier, tmp_path: Path, verb: str
) -> None:
    flip_first_of_each(server)
    file = tmp_path / "x.tar"
    if verb == "copy":
        kitops.copy(f"{server.address}/team/x:v1", f"oci-archive:{file}:v1", settings=copier.settings)
    else:
        kitops.save(f"{server.address}/team/x:v1", file, remote=True, settings=copier.settings)
    check_layout(read_archive(file))
    assert len([text for text in copier.warnings if "once more" in text]) == 2


@pytest.mark.parametrize("kind", ["registry", "layout", "file"])
def test_blobs_that_are_damaged_twice_are_an_error_that_names_where_they_came_from(
    server: BlobServer, copier: Copier, tmp_path: Path, kind: str
) -> None:
    server.forecast = lambda asked: Weather(flip=True)
    with ThrowAwayRegistry() as target:
        places = {
            "registry": f"{target.address}/team/y:v1",
            "layout": f"oci:{tmp_path / 'layout'}:v1",
            "file": f"oci-archive:{tmp_path / 'x.tar'}:v1",
        }
        with pytest.raises(IntegrityError, match=f"of {server.address}/team/x is damaged"):
            kitops.copy(f"{server.address}/team/x:v1", places[kind], settings=copier.settings)
    assert not (tmp_path / "x.tar").exists()


def test_a_mirror_that_spoils_is_left_for_its_registry(server: BlobServer, copier: Copier, tmp_path: Path) -> None:
    with blob_server(KIT, CONTENT, lambda asked: Weather(flip=True)) as mirror:
        (tmp_path / "home").mkdir()
        (tmp_path / "home" / "settings.toml").write_text(
            f'[[mirror]]\nregistry = "{server.address}"\nurl = "http://{mirror.address}"\n'
        )
        with ThrowAwayRegistry() as target:
            kitops.copy(f"{server.address}/team/x:v1", f"{target.address}/team/y:v1", settings=copier.settings)
        assert mirror.asked
    assert sorted(asked.start for asked in server.asked) == [0, 0]


def test_an_upload_that_breaks_asks_the_source_for_the_rest_only(server: BlobServer, copier: Copier) -> None:
    faults = Faults(cut_bytes=[3 * MIB, 5 * MIB, 2 * MIB, 4 * MIB, 1 * MIB])
    with faulty_registry(faults) as target:
        kitops.copy(f"{server.address}/team/x:v1", f"{target.address}/team/y:v1", settings=copier.settings)
        assert target.came < 32 * MIB
    assert not faults.cut_bytes


def test_a_source_that_fails_in_an_upload_is_no_failure_of_the_target(server: BlobServer, copier: Copier) -> None:
    small = str(KIT.layers[0].digest)
    bad = iter([Weather(cut_after=MIB + 100_000), *[Weather(cut_after=0)] * 2])
    server.forecast = lambda asked: next(bad, FINE) if small in asked.path else FINE
    with faulty_registry(Faults()) as target:
        kitops.copy(f"{server.address}/team/x:v1", f"{target.address}/team/y:v1", settings=copier.settings)
        assert target.blobs["team/y", small] == CONTENT[small]
    assert next(bad, None) is None
    said = [one.text for one in copier.events if isinstance(one, Message)]
    assert not [text for text in said if "damaged" in text or "where the registry is" in text]
    assert len([text for text in copier.warnings if text.endswith("trying again")]) == 1


def test_no_connection_outlives_a_copy_that_met_errors(server: BlobServer, copier: Copier) -> None:
    with faulty_registry(Faults(cut_bytes=[3 * MIB, 5 * MIB])) as target:
        before = threading.active_count()  # the servers have a thread for each connection
        gc.collect()
        gc.disable()
        try:
            kitops.copy(f"{server.address}/team/x:v1", f"{target.address}/team/y:v1", settings=copier.settings)
            deadline = time.monotonic() + 30
            while threading.active_count() > before and time.monotonic() < deadline:
                time.sleep(0.01)
            assert threading.active_count() <= before
        finally:
            gc.enable()


def test_a_mirror_that_stalls_is_not_asked_again_for_the_same(server: BlobServer, copier: Copier) -> None:
    with blob_server(KIT, CONTENT, lambda asked: Weather(stall_after=MIB)) as mirror:
        home = copier.settings.home
        home.mkdir()
        (home / "settings.toml").write_text(
            f'[[mirror]]\nregistry = "{server.address}"\nurl = "http://{mirror.address}"\n'
        )
        patience = Patience(attempts=3, pause=0.005, stall=0.3, read=2.0)
        settings = replace(copier.settings, network=Network(plain_http=True, patience=patience))
        kitops.pull(f"{server.address}/team/x:v1", settings=settings)
        large = str(KIT.layers[1].digest)
        assert len([asked for asked in mirror.asked if large in asked.path]) == 1
