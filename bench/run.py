"""The benchmark: whole processes against floors that are measured beside them.

    python bench/run.py                       every row, five times: about half an hour and 40 GB of disk
    python bench/run.py --rows unpack again   the rows whose names contain one of these
    python bench/run.py --scale medium        bodies of 1 GiB: for working on the code
    python bench/run.py --scale small         a smoke test of a few seconds; its figures mean nothing

The data are made once, below ``bench/data`` (``--data``). Every round runs the rows in another order, and within a
row the floor and the commands in another order. Before each run the disk is written back, memory is touched and the
input is read once (warm page cache); every run has a fresh store and a fresh target. What is printed are medians, and
their ratio to the median of the floor; beside it the ratio of the fastest runs and the processors' time, which a busy
machine disturbs less. On ext4, wait five minutes after something deleted thousands of files: until then the file
system makes new ones up to fifty times slower, whoever asks. Transfers have a table of their own. The Go ``kit`` and
``oras`` are measured too where the PATH has them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import measure
from formats import Formats
from imports import Imports
from measure import MIB, Sample
from report import report
from row import Row, size_text, times
from transfers import Transfers

KIT = str(Path(sys.executable).with_name("kit"))
ZEROS = bytes(MIB)
KITFILES = {
    "one": "manifestVersion: 1.0.0\nmodel:\n  name: one\n  path: weights.bin\n",
    "four": "manifestVersion: 1.0.0\nmodel:\n  name: four\n  path: weights-0.bin\n  parts:\n"
    + "".join(f"    - path: weights-{number}.bin\n" for number in (1, 2, 3)),
    "many": "manifestVersion: 1.0.0\ndatasets:\n  - name: many\n    path: data\n",
    "tiny": "manifestVersion: 1.0.0\ndocs:\n  - path: README.md\n",
}


@dataclass(frozen=True)
class Scale:
    """How big everything is: bytes of the large body, number of small files and of tags, bytes of the RSS row."""

    large: int = 4096 * MIB
    files: int = 20_000
    tags: int = 1000
    memory: tuple[int, int] = (1024 * MIB, 8192 * MIB)
    quick_runs: int = 5
    pieces: int = 200


MEDIUM = Scale(large=1024 * MIB, memory=(256 * MIB, 1024 * MIB))
SMALL = Scale(large=8 * MIB, files=200, tags=20, memory=(2 * MIB, 4 * MIB), quick_runs=1, pieces=8)
SCALES = {"full": Scale(), "medium": MEDIUM, "small": SMALL}


class Bench:
    """The data, the fresh directories, and the rows."""

    def __init__(self, root: Path, scale: Scale) -> None:
        self.root = root
        self.scale = scale
        self.go_kit = find_go_kit()
        self.oras = shutil.which("oras")
        self._number = 0
        self._stores: dict[str, Path] = {}

    # -- places ------------------------------------------------------------------------------------------------------

    def fresh(self, kind: str) -> Path:
        """A path that nothing was ever at. Small trees stay to the end: deleting them slows down what comes next."""
        self._number += 1
        path = self.root / "runs" / f"{self._number:04}-{kind}"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def project(self, kind: str) -> Path:
        """A directory to pack: its Kitfile and its files, made once."""
        directory = self.root / f"{kind}-{self.scale.large // MIB}"
        directory.mkdir(parents=True, exist_ok=True)
        if kind == "one":
            measure.write_file(directory / "weights.bin", self.scale.large)
        elif kind == "four":
            for number in range(4):
                measure.write_file(directory / f"weights-{number}.bin", self.scale.large // 4)
        elif kind == "many":
            for number in range(self.scale.files):
                measure.write_file(directory / "data" / f"{number // 100:03}" / f"{number:05}.txt", 4096)
        else:
            measure.write_file(directory / "README.md", 4096)
        kitfile = directory / "Kitfile"
        if not kitfile.exists():
            kitfile.write_text(KITFILES[kind])
        return directory

    def packed(self, kind: str, program: str) -> Path:
        """A store (of ``program``) that holds the project as ``bench/<kind>:v1``, made once."""
        key = f"{kind} {program}"
        if key not in self._stores:
            home = self.fresh(f"store-{kind}")
            measure.run(
                [program, "pack", str(self.project(kind)), "-t", f"bench/{kind}:v1"], {"KITOPS_HOME": str(home)}
            )
            self._stores[key] = home
        return self._stores[key]

    def blobs(self, kind: str) -> list[Path]:
        """The blobs of the stores that hold a project."""
        homes = [self.packed(kind, program) for program in self.programs().values()]
        return [path for home in homes for path in home.rglob("blobs/sha256/*")]

    def drop(self, path: Path) -> None:
        """Remove what holds a large body; leave the rest."""
        if self.scale.large > SMALL.large and sum(1 for _ in path.rglob("*")) < 1000:
            shutil.rmtree(path)

    # -- runs --------------------------------------------------------------------------------------------------------

    def pack(self, kind: str, program: str, home: Path | None = None) -> Sample:
        """``pack`` a project into a fresh store (or one that has it already)."""
        place = home or self.fresh("store")
        command = [program, "pack", str(self.project(kind)), "-t", f"bench/{kind}:v1", "--progress", "none"]
        sample = measure.run(command, {"KITOPS_HOME": str(place)})
        blobs = next(path for path in place.rglob("blobs/sha256") if path.is_dir())
        stored = sum(path.stat().st_size for path in blobs.iterdir())
        expected = self.scale.files * 4096 if kind == "many" else self.scale.large
        assert stored >= expected, f"the store holds {stored} bytes of {expected}"
        if home is None:
            self.drop(place)
        return sample

    def unpack(self, kind: str, program: str) -> Sample:
        """``unpack`` from a local store into a fresh directory."""
        home, target = self.packed(kind, program), self.fresh("unpacked")
        command = [program, "unpack", f"bench/{kind}:v1", "-d", str(target), "--progress", "none"]
        sample = measure.run(command, {"KITOPS_HOME": str(home)})
        if kind == "many":
            assert sum(1 for _ in target.rglob("*.txt")) == self.scale.files
        else:
            assert (target / "weights.bin").stat().st_size == self.scale.large
        self.drop(target)
        return sample

    def oras_push(self, kind: str) -> Sample:
        """What ``pack`` is for oras: the files into an OCI layout."""
        layout, project = self.fresh("layout"), self.project(kind)
        names = sorted(path.name for path in project.glob("*.bin"))
        sample = measure.run([str(self.oras), "push", "--no-tty", "--oci-layout", f"{layout}:v1", *names], cwd=project)
        self.drop(layout)
        return sample

    def oras_pull(self, kind: str) -> Sample:
        """What ``unpack`` is for oras."""
        if "oras" not in self._stores:
            layout, project = self.fresh("layout"), self.project(kind)
            measure.run(
                [str(self.oras), "push", "--no-tty", "--oci-layout", f"{layout}:v1", "weights.bin"], cwd=project
            )
            self._stores["oras"] = layout
        target = self.fresh("pulled")
        layout = self._stores["oras"]
        sample = measure.run([str(self.oras), "pull", "--no-tty", "--oci-layout", f"{layout}:v1", "-o", str(target)])
        self.drop(target)
        return sample

    def tar_create(self) -> Sample:
        """GNU tar of the small files, copied to a file and hashed by other processes."""
        project, out = self.project("many"), self.fresh("tar")
        return measure.run(["bash", "-c", f'tar -cf - data | tee "{out}" | sha256sum'], cwd=project)

    def tar_extract(self) -> Sample:
        """GNU tar of the layer that ``pack`` made."""
        blobs = next(path for path in self.packed("many", KIT).rglob("blobs/sha256") if path.is_dir())
        layer = max(blobs.iterdir(), key=lambda path: path.stat().st_size)
        target = self.fresh("tar-x")
        target.mkdir()
        return measure.run(["tar", "-xf", str(layer), "-C", str(target)])

    def tagged(self, program: str) -> Path:
        """A store with so many tags, in ten repositories."""
        key = f"tags {program}"
        if key not in self._stores:
            home = self.fresh("store-tags")
            each = max(1, self.scale.tags // 10)
            for repository in range(self.scale.tags // each):
                tags = ",".join(f"v{number}" for number in range(each))
                command = [program, "pack", str(self.project("tiny")), "-t", f"bench/kit-{repository}:{tags}"]
                measure.run(command, {"KITOPS_HOME": str(home)})
            self._stores[key] = home
        return self._stores[key]

    # -- rows --------------------------------------------------------------------------------------------------------

    def programs(self) -> dict[str, str]:
        """The ``kit`` commands that are measured, by the name of their column."""
        return {"kit": KIT} | ({"go kit": self.go_kit} if self.go_kit else {})

    def each(self, work: Callable[[str], Sample]) -> dict[str, Callable[[], Sample]]:
        """``work`` for every kit command."""
        return {name: lambda program=program: work(program) for name, program in self.programs().items()}  # type: ignore[misc]

    def rows(self) -> Iterator[Row]:
        """The rows of the table, in its order."""
        large, runs = self.scale.large, self.scale.quick_runs
        body, files = size_text(large), f"{self.scale.files:,}"
        one = [self.root / f"one-{large // MIB}" / "weights.bin"]
        four = [self.root / f"four-{large // MIB}" / f"weights-{number}.bin" for number in range(4)]
        oras = {"oras": lambda: self.oras_push("one")} if self.oras else {}
        yield Row(
            f"pack one file of {body}",
            "`hashlib.sha256` of it, one thread",
            "<= 1.35x",
            times(1.35),
            lambda: measure.sha256_of_all(one, 1),
            self.each(lambda program: self.pack("one", program)) | oras,
            reads=lambda: one,
            writes=large,
        )
        yield Row(
            f"pack four files of {size_text(large // 4)}",
            "`hashlib.sha256` of all, two threads",
            "<= 1.8x",
            times(1.8),
            lambda: measure.sha256_of_all(four, 2),
            self.each(lambda program: self.pack("four", program))
            | ({"oras": lambda: self.oras_push("four")} if self.oras else {}),
            reads=lambda: four,
            writes=large,
        )
        yield Row(
            f"pack the {body} again, nothing changed",
            "`kit version`",
            "<= 1.5x + 20 ms",
            lambda kit, floor: kit <= 1.5 * floor + 0.020,
            lambda: measure.run([KIT, "version"]),
            self.each(lambda program: self.pack("one", program, self.packed("one", program))),
            reads=lambda: one,
            runs=runs,
        )
        yield Row(
            f"pack {files} files of 4 KiB",
            "GNU `tar -cf - data \\| tee file \\| sha256sum`",
            "<= 1.2x",
            times(1.2),
            self.tar_create,
            self.each(lambda program: self.pack("many", program)),
            writes=self.scale.files * 8192,
        )
        yield Row(
            f"unpack one file of {body}, verified",
            "`hashlib.sha256` of it",
            "<= 1.35x",
            times(1.35),
            lambda: measure.sha256_of_all(one, 1),
            self.each(lambda program: self.unpack("one", program))
            | ({"oras": lambda: self.oras_pull("one")} if self.oras else {}),
            reads=lambda: [*one, *self.blobs("one")],
            writes=large,
        )
        yield Row(
            f"unpack {files} files of 4 KiB",
            "GNU `tar -x` of the layer",
            "<= 1.3x",
            times(1.3),
            self.tar_extract,
            self.each(lambda program: self.unpack("many", program)),
            writes=self.scale.files * 8192,
        )
        yield Row(
            "kit version",
            "`python -c pass` of the same environment",
            "<= 60 ms above it",
            lambda kit, floor: kit <= floor + 0.060,
            lambda: measure.run([sys.executable, "-c", "pass"]),
            self.each(lambda program: measure.run([program, "version"])),
            runs=runs,
        )
        yield Row(
            f"kit list of {self.scale.tags:,} tags",
            "`kit version`",
            "<= 120 ms above it",
            lambda kit, floor: kit <= floor + 0.120,
            lambda: measure.run([KIT, "version"]),
            self.each(lambda program: measure.run([program, "list"], {"KITOPS_HOME": str(self.tagged(program))})),
            runs=runs,
        )

    def disk(self) -> float:
        """Seconds to write the large body as zeros and flush it: what durability costs on this disk, by itself."""
        path = self.fresh("flushed")
        measure.settle(self.scale.large)
        started = time.perf_counter()
        with path.open("wb", buffering=0) as file:
            for _ in range(self.scale.large // MIB):
                file.write(ZEROS)
            os.fdatasync(file.fileno())
        seconds = time.perf_counter() - started
        path.unlink()
        return seconds

    def memory(self) -> list[tuple[str, int, int]]:
        """Peak memory of packing and unpacking one file of each size of the RSS row: (program, size, bytes)."""
        found = []
        for size in self.scale.memory:
            directory = self.fresh("project")
            measure.write_file(directory / "weights.bin", size)
            (directory / "Kitfile").write_text(KITFILES["one"])
            for name, program in self.programs().items():
                home, target = self.fresh("store"), self.fresh("unpacked")
                place = {"KITOPS_HOME": str(home)}
                packed = measure.run([program, "pack", str(directory), "-t", "bench/memory:v1"], place)
                unpacked = measure.run([program, "unpack", "bench/memory:v1", "-d", str(target)], place)
                found.append((name, size, max(packed.peak, unpacked.peak)))
                shutil.rmtree(home)
                shutil.rmtree(target)
            shutil.rmtree(directory)
        return found


def find_go_kit() -> str | None:
    """The Go ``kit`` of the PATH, told from ours by what its ``version`` prints."""
    for directory in os.environ.get("PATH", "").split(os.pathsep):
        program = Path(directory, "kit")
        if os.access(program, os.X_OK) and program.is_file():
            said = subprocess.run([program, "version"], capture_output=True, text=True, check=False, timeout=60).stdout
            if "Go version" in said:
                return str(program)
    return None


def measure_rows(rows: list[Row], rounds: int, seed: int | None) -> None:
    """Run everything ``rounds`` times, in another order each time."""
    order = random.Random(seed)
    for number in range(rounds):
        for row in order.sample(rows, len(rows)):
            work = {"": row.floor} | row.commands
            for name in order.sample(sorted(work), len(work)):
                print(f"round {number + 1}: {row.name}: {name or 'floor'}", file=sys.stderr)
                for _ in range(row.runs):
                    measure.warm(row.reads())
                    measure.settle(row.writes)
                    try:
                        sample = work[name]()
                    except measure.CommandFailedError as error:
                        row.failures[name] = str(error)
                        continue
                    (row.samples.setdefault(name, []) if name else row.floors).append(sample)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure kit against floors of the same machine.")
    parser.add_argument("--rows", nargs="+", default=[""], metavar="TEXT", help="only rows whose name contains a TEXT")
    parser.add_argument("--scale", choices=tuple(SCALES), default="full", help="small is a smoke test")
    parser.add_argument("--format", choices=("markdown", "json"), default="markdown", help="what is printed")
    parser.add_argument("--rounds", type=int, default=0, help="how often (default 5; 1 at the small scale)")
    parser.add_argument("--data", type=Path, default=Path(__file__).parent / "data", help="where the data are made")
    parser.add_argument("--seed", type=int, default=None, help="of the order (default: a new one each time)")
    parser.add_argument("--json", type=Path, default=None, help="also write every figure there")
    options = parser.parse_args()
    small = options.scale == "small"
    scale = SCALES[options.scale]
    bench = Bench(options.data.resolve(), scale)
    formats = Formats(bench, KIT, scale.large, scale.files, scale.quick_runs)
    transfers = Transfers(bench, KIT, scale.large // 2, scale.pieces, scale.quick_runs)
    imports = Imports(bench, KIT, scale.large // 2)
    parts = [
        list(bench.rows()),
        list(formats.rows()),
        list(transfers.rows()) if transfers.are_possible() else [],
        list(imports.rows()) if imports.are_possible() else [],
    ]
    parts = [[row for row in part if _is_wanted(row.name, options.rows)] for part in parts]
    wants_memory = _is_wanted("peak RSS of all of the above", options.rows)
    if not any(parts) and not wants_memory:
        parser.error(f"no row is named like {' or '.join(options.rows)}")
    try:
        prepare(bench, parts[0])
        measure_rows([row for part in parts for row in part], options.rounds or (1 if small else 5), options.seed)
        memory = bench.memory() if wants_memory else []
        disk = [bench.disk() for _ in range(3)] if any(row.writes == bench.scale.large for row in parts[0]) else []
        notes = [[], formats.notes(), transfers.notes(), []]
    finally:
        formats.close()
        transfers.close()
        imports.close()
        shutil.rmtree(bench.root / "runs", ignore_errors=True)
    tables: list[str] = []
    figures: list[dict[str, object]] = []
    for number, part in enumerate(parts):
        if part or (number == 0 and memory):
            table, more = report(part, memory if number == 0 else [])
            tables += [table, *notes[number]]
            figures += more
    table = "\n\n".join(tables)
    if options.format == "json":
        print(json.dumps(figures, indent=1))
    else:
        cores = f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
        print(f"{platform.machine()}, {cores}, Python {platform.python_version()}, scale {options.scale}\n\n{table}")
    if disk and options.format == "markdown":
        print(
            f"\nBeside it: writing and flushing {size_text(bench.scale.large)} of zeros takes {min(disk) * 1000:.0f}"
            f" to {max(disk) * 1000:.0f} ms on this disk; `pack` flushes what it writes, the floors do not."
        )
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


def _is_wanted(name: str, texts: list[str]) -> bool:
    return any(text in name for text in texts)


def prepare(bench: Bench, rows: list[Row]) -> None:
    """Make the data of the rows before the first measurement, and the stores that they begin with."""
    names = " ".join(row.name for row in rows)
    print("making the data", file=sys.stderr)
    for kind, word in (("one", "one file"), ("one", "again"), ("four", "four"), ("many", "files of 4 KiB")):
        if word in names:
            bench.project(kind)
    for program in bench.programs().values():
        if "unpack one" in names or "again" in names:
            bench.packed("one", program)
        if "unpack " in names and "4 KiB" in names:
            bench.packed("many", program)
        if "tags" in names:
            bench.tagged(program)


if __name__ == "__main__":
    main()
