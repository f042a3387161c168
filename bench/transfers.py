"""The rows of transfers: whole processes against ``curl`` moving the same bytes to and from the same registry.

Debian's ``docker-registry`` runs twice on loopback: one is wiped after each push, the other holds what is pulled.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import measure
from measure import MIB, Sample
from processes import Counted, end, read_line
from row import Row, size_text, times

DELAY, RATE = 0.020, 30_000_000
"""The slow link: seconds of a round trip, and bytes a second of one connection."""
FOUR_AT_A_TIME = "--parallel --parallel-max 4"
KINDS = ("one", "four", "pieces")


class Bench(Protocol):
    """What is needed of the benchmark."""

    root: Path

    def fresh(self, kind: str) -> Path:
        """A path that nothing was ever at."""
        ...


class Transfers:
    """The registries, what is in them, and the rows.

    Args:
        bench: gives places.
        kit: the command.
        large: bytes of the large body.
        pieces: number of blobs of 1 MiB.
        runs: how often each round measures what is quick.
    """

    def __init__(self, bench: Bench, kit: str, large: int, pieces: int, runs: int) -> None:
        self._bench = bench
        self._kit = kit
        self._large = large
        self._pieces = pieces
        self._runs = runs
        self._ends: list[Callable[[], object]] = []
        self._stores: dict[str, Path] = {}
        self._seeded: set[tuple[str, str]] = set()
        self._addresses: dict[str, str] = {}
        self._roots: dict[str, Path] = {}
        self._counted: Counted | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self.asked: dict[str, list[int]] = {}

    @staticmethod
    def are_possible() -> bool:
        """Whether the programs are there that the rows are measured against."""
        return all(shutil.which(program) for program in ("docker-registry", "curl"))

    def close(self) -> None:
        """End what was started."""
        for stop in reversed(self._ends):
            stop()
        self._ends.clear()

    def rows(self) -> Iterator[Row]:
        """The rows of the table, in its order."""
        large, quarter = size_text(self._large), size_text(self._large // 4)
        pieces, all_pieces = f"{self._pieces} blobs of 1 MiB", self._pieces * MIB
        for kind, name, factor in (
            ("one", f"push one blob of {large}", 1.1),
            ("four", f"push four blobs of {quarter}", 1.1),
            ("pieces", f"push {pieces}", 1.5),
        ):
            yield Row(
                name,
                "`curl -T` into upload sessions" + ("" if kind == "one" else ", four at a time"),
                f"<= {factor}x",
                times(factor),
                lambda kind=kind: self._curl_push(kind),  # type: ignore[misc]
                {"kit": lambda kind=kind: self._push(kind)},  # type: ignore[misc]
                writes=all_pieces if kind == "pieces" else self._large,
            )
        for kind, name, factor in (
            ("one", f"pull one blob of {large}", 0.75),
            ("four", f"pull four blobs of {quarter}", 0.75),
            ("pieces", f"pull {pieces}", 1.2),
        ):
            yield Row(
                name,
                "`curl -o`" + ("" if kind == "one" else ", four at a time,") + " then `sha256sum`",
                f"<= {factor}x",
                times(factor),
                lambda kind=kind: self._curl_pull(kind, "source", "--parallel"),  # type: ignore[misc]
                {"kit": lambda kind=kind: self._pull(kind, "source")},  # type: ignore[misc]
                writes=all_pieces if kind == "pieces" else self._large,
            )
        yield Row(
            f"unpack four layers of {quarter} from the registry",
            "`kit pull` and `kit unpack`",
            "<= 0.75x",
            times(0.75),
            self._pull_and_unpack,
            {"kit": self._unpack},
            writes=2 * self._large,
        )
        yield Row(
            f"pull {large} over a link of 20 ms and 30 MB/s a connection",
            "one connection of `curl`",
            "<= 0.4x",
            times(0.4),
            lambda: self._curl_pull("one", "slow", ""),
            {"kit": lambda: self._pull("one", "slow")},
            writes=self._large,
        )
        for kind in KINDS:
            yield Row(
                f"push what is there already, {kind if kind != 'pieces' else self._pieces} of it",
                "`kit version`",
                "<= 300 ms",
                lambda kit, floor: kit <= 0.300,  # noqa: ARG005 - the goal is a time
                lambda: measure.run([self._kit, "version"]),
                {"kit": lambda kind=kind: self._push_again(kind)},  # type: ignore[misc]
                runs=self._runs,
            )
        yield Row(
            f"pull {large} from `kit registry serve`",
            "the same from `docker-registry`",
            "<= 1.3x",
            times(1.3),
            lambda: self._pull("one", "source"),
            {"kit": lambda: self._pull("one", "serve")},
            writes=self._large,
        )

    def notes(self) -> list[str]:
        """What is worth saying below the table."""
        notes = []
        for kind, sizes in self.asked.items():
            notes.append(
                f"Pushing what is there already, {kind}: {len(sizes)} requests, the largest of {max(sizes)} bytes"
                " (goal: one a blob, none above 1 KiB)."
            )
        if self._server is not None:
            notes.append(f"Peak RSS of `kit registry serve`: {self.server_peak() // MIB} MiB (goal: <= 150 MiB).")
        return notes

    def server_peak(self) -> int:
        """Bytes of memory that ``kit registry serve`` had at most."""
        assert self._server is not None
        lines = Path(f"/proc/{self._server.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

    # -- what there is -----------------------------------------------------------------------------------------------

    def _store(self, kind: str) -> Path:
        """A store that holds ``bench/<kind>:v1``, made once; its files are not kept beside it."""
        if kind not in self._stores:
            project = self._bench.fresh(f"wire-{kind}")
            sizes = {"one": [self._large], "four": [self._large // 4] * 4, "pieces": [MIB] * self._pieces}[kind]
            names = [f"part-{number:03}.bin" for number in range(len(sizes))]
            for name, size in zip(names, sizes, strict=True):
                measure.write_file(project / name, size)
            (project / "Kitfile").write_text(
                "manifestVersion: 1.0.0\ndatasets:\n" + "".join(f"  - name: {n[:8]}\n    path: {n}\n" for n in names)
            )
            home = self._bench.fresh(f"store-{kind}")
            measure.run([self._kit, "pack", str(project), "-t", f"bench/{kind}:v1"], {"KITOPS_HOME": str(home)})
            shutil.rmtree(project)
            self._stores[kind] = home
        return self._stores[kind]

    def _blobs(self, kind: str) -> list[Path]:
        """The files of the layers of a kind, as the store has them."""
        expected = {"one": 1, "four": 4, "pieces": self._pieces}[kind]
        found = next(path for path in self._store(kind).rglob("blobs/sha256") if path.is_dir())
        blobs = sorted(found.iterdir(), key=lambda path: path.stat().st_size)[-expected:]
        measure.warm(blobs)
        return blobs

    def _registry(self, name: str) -> str:
        """The address of ``target``, ``source``, ``serve`` (ours), or of a link to one."""
        if name not in self._addresses:
            if name == "serve":
                self._addresses[name] = self._serve()
            elif name == "counted":
                self._counted = Counted(self._registry("source"))
                self._ends.append(self._counted.close)
                self._addresses[name] = self._counted.address
            elif name == "slow":
                command = [sys.executable, str(Path(__file__).with_name("link.py")), self._registry("source")]
                command += [str(DELAY), str(RATE)]
                link = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
                self._ends.append(lambda: end(link))
                self._addresses[name] = read_line(link).strip()
            else:
                self._addresses[name] = self._docker_registry(name)
        return self._addresses[name]

    def _docker_registry(self, name: str) -> str:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        root = self._roots[name] = self._bench.fresh(f"registry-{name}")
        root.mkdir()
        config = {
            "version": 0.1,
            "log": {"level": "warn", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(root / "data")}, "delete": {"enabled": True}},
            "http": {"addr": f"127.0.0.1:{port}"},
        }
        (root / "config.yml").write_text(json.dumps(config))
        with (root / "log").open("wb") as log:
            running = subprocess.Popen(
                ["docker-registry", "serve", str(root / "config.yml")], stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        self._ends.append(lambda: end(running))
        for _ in range(500):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return f"127.0.0.1:{port}"
            time.sleep(0.02)
        raise AssertionError(f"docker-registry does not listen: {(root / 'log').read_text()}")

    def _serve(self) -> str:
        root = self._bench.fresh("registry-serve")
        command = [self._kit, "registry", "serve", str(root), "--port", "0", "--format", "json"]
        self._server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self._ends.append(lambda server=self._server: end(server))  # type: ignore[misc]
        return str(json.loads(read_line(self._server))["address"])

    def _seed(self, kind: str, registry: str) -> str:
        """The reference of a kind in a registry, which has it."""
        behind = "source" if registry in ("slow", "counted") else registry
        ref = f"{self._registry(registry)}/bench/{kind}:v1"
        if (kind, behind) not in self._seeded:
            self._run_push(kind, f"{self._registry(behind)}/bench/{kind}:v1")
            self._seeded.add((kind, behind))
        return ref

    def _wipe(self) -> None:
        """Empty the registry that is pushed to."""
        measure.settle(0)
        shutil.rmtree(self._roots["target"] / "data" / "docker")

    # -- runs --------------------------------------------------------------------------------------------------------

    def _run_push(self, kind: str, ref: str) -> Sample:
        command = [self._kit, "push", f"bench/{kind}:v1", ref, "--plain-http", "--progress", "none"]
        return measure.run(command, {"KITOPS_HOME": str(self._store(kind))})

    def _push(self, kind: str) -> Sample:
        ref = f"{self._registry('target')}/bench/{kind}:v1"
        self._blobs(kind)
        measure.settle(0)
        sample = self._run_push(kind, ref)
        self._check_target(kind)
        return sample

    def _check_target(self, kind: str) -> None:
        data = (self._roots["target"] / "data").rglob("blobs/*/*/*/data")
        stored = sum(path.stat().st_size for path in data)
        assert stored >= sum(path.stat().st_size for path in self._blobs(kind)), f"the registry has {stored} bytes"
        self._wipe()

    def _curl_push(self, kind: str) -> Sample:
        blobs, base = self._blobs(kind), f"http://{self._registry('target')}/v2/bench/{kind}/blobs/uploads/"
        place = self._bench.fresh("curl")
        place.mkdir()
        post = f'url = "{base}"\nrequest = "POST"\noutput = "/dev/null"\n'
        (place / "posts").write_text("".join(post for _ in blobs))
        (place / "blobs").write_text("".join(f"{path} {path.name}\n" for path in blobs))
        many = FOUR_AT_A_TIME if len(blobs) > 1 else ""
        script = f"""set -e
            curl -sSfg {many} -K posts -w '%header{{location}}\\n' > locations
            paste -d ' ' locations blobs | while read -r url path name; do
                printf 'url = "%s&digest=sha256:%s"\\n' "$url" "$name"
                printf 'upload-file = "%s"\\noutput = "/dev/null"\\n' "$path"
            done > puts
            curl -sSfg {many} -K puts"""
        measure.settle(0)
        sample = measure.run(["bash", "-c", script], cwd=place)
        self._check_target(kind)
        return sample

    def _pull(self, kind: str, registry: str) -> Sample:
        ref, home = self._seed(kind, registry), self._bench.fresh("pulled")
        self._warm_registry(kind, registry)
        command = [self._kit, "pull", ref, "--plain-http", "--progress", "none"]
        sample = measure.run(command, {"KITOPS_HOME": str(home)})
        shutil.rmtree(home)
        return sample

    def _warm_registry(self, kind: str, registry: str) -> None:
        """Read what will be sent once; the registry has it where we do not look."""
        for path in self._blobs(kind):
            url = f"http://{self._registry('source' if registry == 'slow' else registry)}/v2/bench/{kind}/blobs/sha256:"
            with urllib.request.urlopen(url + path.name) as answer:
                while answer.read(MIB):
                    pass
        measure.settle(0)

    def _curl_pull(self, kind: str, registry: str, many: str) -> Sample:
        ref, place = self._seed(kind, registry), self._bench.fresh("curl")
        place.mkdir()
        base = f"http://{ref.partition('/')[0]}/v2/bench/{kind}/blobs/sha256:"
        blobs = self._blobs(kind)
        (place / "gets").write_text("".join(f'url = "{base}{b.name}"\noutput = "{b.name}"\n' for b in blobs))
        (place / "sums").write_text("".join(f"{b.name}  {b.name}\n" for b in blobs))
        self._warm_registry(kind, registry)
        many = FOUR_AT_A_TIME if many and len(blobs) > 1 else ""
        check = "" if registry == "slow" else " && sha256sum --quiet -c sums"
        sample = measure.run(["bash", "-c", f"curl -sSf {many} -K gets{check}"], cwd=place)
        shutil.rmtree(place)
        return sample

    def _unpack(self) -> Sample:
        ref, home, target = self._seed("four", "source"), self._bench.fresh("home"), self._bench.fresh("unpacked")
        self._warm_registry("four", "source")
        command = [self._kit, "unpack", ref, "-d", str(target), "--plain-http", "--progress", "none"]
        sample = measure.run(command, {"KITOPS_HOME": str(home)})
        assert sum(path.stat().st_size for path in target.glob("*.bin")) == self._large // 4 * 4
        shutil.rmtree(target)
        shutil.rmtree(home, ignore_errors=True)
        return sample

    def _pull_and_unpack(self) -> Sample:
        ref, home, target = self._seed("four", "source"), self._bench.fresh("home"), self._bench.fresh("unpacked")
        self._warm_registry("four", "source")
        quiet = "--plain-http --progress none"
        script = f'set -e; "{self._kit}" pull {ref} {quiet}; "{self._kit}" unpack {ref} -d "{target}" {quiet}'
        sample = measure.run(["bash", "-c", script], {"KITOPS_HOME": str(home)})
        shutil.rmtree(target)
        shutil.rmtree(home)
        return sample

    def _push_again(self, kind: str) -> Sample:
        ref = self._seed(kind, "counted")
        assert self._counted is not None
        self._counted.take()
        sample = self._run_push(kind, ref)
        self.asked[kind] = self._counted.take().requests
        return sample
