"""``kill -9`` in the middle of a push, again and again: what the registry has is not sent twice.

``KITOPS_CHAOS=long`` kills fifty times over 1 GiB; otherwise twice over 48 MiB.
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from faulty_registry import Faults, FaultyRegistry, faulty_registry

MIB = 1024 * 1024
IS_LONG = os.environ.get("KITOPS_CHAOS") == "long"
SIZE, KILLS, RATE = (1024 * MIB, 50, 160 * MIB) if IS_LONG else (48 * MIB, 2, 60 * MIB)
KIT = [sys.executable, "-c", "import sys; from kitops.cli._main import main; sys.exit(main())"]

pytestmark = pytest.mark.chaos


def start_kit(home: Path, *args: str) -> subprocess.Popen[bytes]:
    environment = os.environ | {"KITOPS_HOME": str(home), "COVERAGE_PROCESS_START": ""}
    return subprocess.Popen(
        [*KIT, *args, "--progress", "none"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def run_kit(home: Path, *args: str) -> None:
    process = start_kit(home, *args)
    _, said = process.communicate(timeout=600)
    assert process.returncode == 0, said.decode()


def pack_model(tmp_path: Path, ref: str) -> str:
    """A ModelKit of one large file in the store; the digest of its layer."""
    project = tmp_path / "project"
    project.mkdir()
    (project / "model.bin").write_bytes(os.urandom(SIZE))
    (project / "Kitfile").write_text("manifestVersion: 1.0.0\nmodel: {path: model.bin}\n")
    run_kit(tmp_path, "pack", str(project), "-t", ref, "--layer-format", "raw")
    return f"sha256:{hashlib.sha256((project / 'model.bin').read_bytes()).hexdigest()}"


def push_and_kill(home: Path, ref: str, registry: FaultyRegistry, random_: random.Random) -> bool:
    """Push, and kill that somewhere in the middle; whether it was killed."""
    before = sum(len(upload.content) for upload in registry.uploads.values())
    wanted = before + random_.randrange(1, SIZE // KILLS // 2)  # more comes while it dies
    process = start_kit(home, "push", ref, "--plain-http")
    while process.poll() is None:
        if sum(len(upload.content) for upload in list(registry.uploads.values())) >= wanted:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.002)
    process.communicate()
    return process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("keeps_cut", [True, False])
def test_a_push_that_is_killed_again_and_again(keeps_cut: bool, tmp_path: Path) -> None:
    """A registry that keeps the bytes of a request that was cut, and one that keeps whole requests only."""
    faults = Faults(rate=RATE, keeps_cut=keeps_cut, cap=None if keeps_cut else 4 * MIB)
    random_ = random.Random(os.environ.get("KITOPS_SEED", "5"))
    with faulty_registry(faults) as registry:
        ref = f"{registry.address}/team/model:v1"
        digest = pack_model(tmp_path, ref)
        kills = sum(push_and_kill(tmp_path, ref, registry, random_) for _ in range(KILLS))
        assert kills
        kept = list((tmp_path / "store" / "uploads").iterdir())
        assert len(kept) == 1
        assert stat.S_IMODE(kept[0].stat().st_mode) == 0o600
        run_kit(tmp_path, "push", ref, "--plain-http")
        assert hashlib.sha256(registry.blobs["team/model", digest]).hexdigest() == digest.removeprefix("sha256:")
        assert ("team/model", "v1") in registry.manifests
        posts = [call for call in registry.calls if call.method == "POST" and not call.size]
        assert len(posts) == 1
        # each process finds out anew, by 16 MiB, that 4 MiB are the limit
        assert registry.came <= 1.05 * SIZE + (kills + 1) * (MIB if keeps_cut else 21 * MIB)
    assert list((tmp_path / "store" / "uploads").iterdir()) == []


def test_a_push_to_debians_registry_that_is_killed(docker_registry: Any, tmp_path: Path) -> None:
    """It makes an upload unusable when a request breaks: then the blob is begun anew, and is right."""
    ref = f"{docker_registry.address}/chaos/model:v1"
    digest = pack_model(tmp_path, ref)
    random_ = random.Random(os.environ.get("KITOPS_SEED", "5"))
    for _ in range(KILLS):
        process = start_kit(tmp_path, "push", ref, "--plain-http")
        try:
            process.communicate(timeout=random_.uniform(0.25, 0.7))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
    run_kit(tmp_path, "push", ref, "--plain-http")
    blob = docker_registry.root / "docker/registry/v2/blobs/sha256" / digest[7:9] / digest[7:] / "data"
    assert hashlib.sha256(blob.read_bytes()).hexdigest() == digest.removeprefix("sha256:")
    assert list((tmp_path / "store" / "uploads").iterdir()) == []
