"""A pull onto a disk that is too small, or fills on the way: it is said with numbers, and goes on later."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

import kitops
from blob_server import FINE, Asked, BlobServer, Weather, blob_server
from kitops.errors import FileSystemError
from kitops.oci.descriptor import Descriptor
from kitops.oci.manifest import Manifest
from kitops.registry.network import Network, Patience
from kitops.store import landing
from small_disks import small_disk

pytestmark = pytest.mark.chaos
MIB = 1024 * 1024
SIZE = 40 * MIB
KITFILE = b'{"manifestVersion":"1.0.0","model":{"path":"m"}}'


@pytest.fixture
def server() -> Iterator[BlobServer]:
    data = random.Random(5).randbytes(SIZE)
    config = Descriptor.of(KITFILE, "application/vnd.kitops.modelkit.config.v1+json")
    layer = Descriptor.of(data, "application/vnd.kitops.modelkit.model.v1.tar")
    manifest = Manifest.build(config=config, layers=[layer])
    with blob_server(manifest, {str(config.digest): KITFILE, str(layer.digest): data}) as found:
        yield found


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 60 MiB."""
    with small_disk(tmp_path / "small", "size=60m") as path:
        yield path


def pull(server: BlobServer, home: Path) -> None:
    network = Network(plain_http=True, patience=Patience(pause=0.01, attempts=2))
    kitops.pull(f"{server.address}/team/big:v1", settings=kitops.Settings(home=home, network=network))


def test_what_does_not_fit_is_refused_before_the_first_byte(server: BlobServer, disk: Path) -> None:
    (disk / "ballast").write_bytes(bytes(30 * MIB))
    with pytest.raises(FileSystemError, match=r"no space left on device \(\d+ bytes needed, \d+ bytes free\)"):
        pull(server, disk / "home")
    assert server.asked == []
    assert not (disk / "home" / "store").exists()


def test_a_disk_that_fills_on_the_way_and_is_freed(
    server: BlobServer, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landing, "claim", lambda descriptor, size: None)

    def fill(asked: Asked) -> Weather:
        (disk / "ballast").write_bytes(bytes(28 * MIB))
        return FINE

    server.forecast = fill
    with pytest.raises(FileSystemError, match=r"bytes needed, \d+ bytes free"):
        pull(server, disk / "home")
    (disk / "ballast").unlink()
    server.forecast = lambda asked: FINE
    pull(server, disk / "home")
    assert server.asked[-1].start >= 16 * MIB
    assert os.listdir(disk / "home" / "store" / "partial") == []
