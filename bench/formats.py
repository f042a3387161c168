"""The rows of conversions, of looking at what was unpacked, and of tensors in a registry."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import measure
from measure import MIB, Sample
from processes import Counted, end, read_line
from row import Row, size_text, times

TENSORS_LIMIT = 2 * MIB


class Bench(Protocol):
    """What is needed of the benchmark."""

    def fresh(self, kind: str) -> Path: ...

    def project(self, kind: str) -> Path: ...

    def packed(self, kind: str, program: str) -> Path: ...


class Formats:
    """What is converted and compared, and the rows.

    Args:
        bench: gives places, projects and stores.
        kit: the command.
        large: bytes of the large body.
        files: number of small files.
        runs: how often each round measures what is quick.
    """

    def __init__(self, bench: Bench, kit: str, large: int, files: int, runs: int) -> None:
        self._bench = bench
        self._kit = kit
        self._large = large
        self._files = files
        self._runs = runs
        self._number = 0
        self._ends: list[Callable[[], object]] = []
        self._raw_home: Path | None = None
        self._unpacked: dict[str, Path] = {}
        self._tensors: tuple[str, Counted] | None = None
        self.read: list[int] = []

    def close(self) -> None:
        """End what was started."""
        for stop in reversed(self._ends):
            stop()
        self._ends.clear()

    def rows(self) -> Iterator[Row]:
        """The rows of the table, in its order."""
        large = size_text(self._large)
        yield Row(
            f"convert {large} of raw layers to ModelPack",
            "`kit version`",
            "<= 1 s",
            lambda kit, floor: kit <= 1.0,  # noqa: ARG005 - the goal is a time
            self._version,
            {"kit": self._convert_raw},
            runs=self._runs,
        )
        yield Row(
            f"convert a tar layer of {large} to raw",
            "`cp` of the file",
            "<= 1.5x",
            times(1.5),
            self._copy,
            {"kit": self._convert_tar},
            reads=lambda: [self._bench.project("one") / "weights.bin", *self._blobs("one")],
            writes=self._large,
        )
        yield Row(
            f"status of {self._files:,} unchanged files",
            "`kit version`",
            "<= 0.5 s",
            lambda kit, floor: kit <= 0.5,  # noqa: ARG005 - the goal is a time
            self._version,
            {"kit": lambda: self._look("status", "many")},
            runs=self._runs,
        )
        yield Row(
            f"verify four files of {size_text(self._large // 4)}",
            "`hashlib.sha256` of all, two threads",
            "<= 1.1x",
            times(1.1),
            lambda: measure.sha256_of_all(self._four(), 2),
            {"kit": lambda: self._look("verify", "four")},
            reads=lambda: [*self._four(), *self._directory("four").glob("*.bin")],
        )
        yield Row(
            f"tensors of {large} in a registry",
            "`kit version`",
            "< 2 MiB read",
            lambda kit, floor: max(self.read) < TENSORS_LIMIT,  # noqa: ARG005 - the goal is not a time
            self._version,
            {"kit": self._inspect},
            runs=self._runs,
        )

    def notes(self) -> list[str]:
        """What is worth saying below the table."""
        if not self.read:
            return []
        return [f"Listing the tensors of a file in a registry reads {max(self.read):,} bytes (goal: under 2 MiB)."]

    # -- what there is -----------------------------------------------------------------------------------------------

    def _four(self) -> list[Path]:
        return sorted(self._bench.project("four").glob("*.bin"))

    def _blobs(self, kind: str) -> list[Path]:
        return list(self._bench.packed(kind, self._kit).rglob("blobs/sha256/*"))

    def _raw(self) -> Path:
        """A store with the large body as a raw layer, made once."""
        if self._raw_home is None:
            self._raw_home = self._bench.fresh("store-raw")
            command = [self._kit, "pack", str(self._bench.project("one")), "-t", "bench/raw:v1"]
            measure.run([*command, "--layer-format", "raw"], {"KITOPS_HOME": str(self._raw_home)})
        return self._raw_home

    def _directory(self, kind: str) -> Path:
        """Where a project was unpacked, once."""
        if kind not in self._unpacked:
            target = self._unpacked[kind] = self._bench.fresh(f"unpacked-{kind}")
            command = [self._kit, "unpack", f"bench/{kind}:v1", "-d", str(target)]
            measure.run(command, {"KITOPS_HOME": str(self._bench.packed(kind, self._kit))})
        return self._unpacked[kind]

    def _served(self) -> tuple[str, Counted]:
        """A reference to a safetensors file in ``kit registry serve``, and what counts what is read of it."""
        if self._tensors is None:
            project, root = self._bench.fresh("tensors"), self._bench.fresh("registry-tensors")
            project.mkdir()
            _write_safetensors(project / "model.safetensors", self._large)
            (project / "Kitfile").write_text("manifestVersion: 1.0.0\nmodel:\n  path: model.safetensors\n")
            command = [self._kit, "registry", "serve", str(root), "--port", "0", "--format", "json"]
            server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            self._ends.append(lambda: end(server))
            counted = Counted(str(json.loads(read_line(server))["address"]))
            self._ends.append(counted.close)
            ref = f"{counted.address}/bench/tensors:v1"
            home = self._bench.fresh("store-tensors")
            command = [self._kit, "pack", str(project), "--push-to", ref, "--layer-format", "raw", "--plain-http"]
            measure.run(command, {"KITOPS_HOME": str(home)})
            shutil.rmtree(project)
            self._tensors = ref, counted
        return self._tensors

    # -- runs --------------------------------------------------------------------------------------------------------

    def _version(self) -> Sample:
        return measure.run([self._kit, "version"])

    def _convert(self, home: Path, ref: str, *options: str) -> Sample:
        self._number += 1
        command = [self._kit, "convert", ref, f"bench/converted:v{self._number}", *options, "--progress", "none"]
        return measure.run(command, {"KITOPS_HOME": str(home)})

    def _convert_raw(self) -> Sample:
        home = self._raw()
        before = _large_blobs(home, self._large)
        sample = self._convert(home, "bench/raw:v1", "--to", "modelpack")
        assert _large_blobs(home, self._large) == before, "a layer was written again"
        return sample

    def _convert_tar(self) -> Sample:
        home = self._bench.packed("one", self._kit)
        before = _large_blobs(home, self._large)
        sample = self._convert(home, "bench/one:v1", "--to", "modelkit", "--layer-format", "raw")
        made = _large_blobs(home, self._large) - before
        assert len(made) == 1, f"{len(made)} layers were made"
        remove = [self._kit, "remove", f"bench/converted:v{self._number}", "--force"]
        measure.run(remove, {"KITOPS_HOME": str(home)})
        return sample

    def _copy(self) -> Sample:
        target = self._bench.fresh("copied")
        sample = measure.run(["cp", str(self._bench.project("one") / "weights.bin"), str(target)])
        target.unlink()
        return sample

    def _look(self, verb: str, kind: str) -> Sample:
        directory = self._directory(kind)
        home = self._bench.packed(kind, self._kit)
        return measure.run([self._kit, verb, str(directory), f"bench/{kind}:v1"], {"KITOPS_HOME": str(home)})

    def _inspect(self) -> Sample:
        ref, counted = self._served()
        counted.take()
        command = [self._kit, "inspect", "--remote", "--tensors", ref, "--plain-http"]
        sample = measure.run(command, {"KITOPS_HOME": str(self._bench.fresh("home"))})
        self.read.append(counted.take().down)
        return sample


def _large_blobs(home: Path, size: int) -> set[Path]:
    return {path for path in home.rglob("blobs/sha256/*") if path.stat().st_size >= size}


def _write_safetensors(path: Path, size: int) -> None:
    """A file of one tensor a MiB, whose bytes are holes: only its header is looked at."""
    count = size // MIB
    tensors = {
        f"model.layers.{number}.weight": {
            "dtype": "F16",
            "shape": [512, 1024],
            "data_offsets": [number * MIB, (number + 1) * MIB],
        }
        for number in range(count)
    }
    header = json.dumps(tensors).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + count * MIB)
