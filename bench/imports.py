"""The row of imports: a file of a hub against ``curl`` of the same file from the same server."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import measure
from measure import Sample
from processes import end, read_line
from row import Row, size_text, times


class Bench(Protocol):
    """What is needed of the benchmark."""

    def fresh(self, kind: str) -> Path: ...


class Imports:
    """The hub, what is in it, and the row.

    Args:
        bench: gives places.
        kit: the command.
        size: bytes of the file.
    """

    def __init__(self, bench: Bench, kit: str, size: int) -> None:
        self._bench = bench
        self._kit = kit
        self._size = size
        self._server: subprocess.Popen[bytes] | None = None
        self._said: dict[str, str] = {}

    @staticmethod
    def are_possible() -> bool:
        """Whether what the row needs is there."""
        return importlib.util.find_spec("huggingface_hub") is not None and shutil.which("curl") is not None

    def close(self) -> None:
        """End what was started."""
        if self._server is not None:
            end(self._server)

    def rows(self) -> Iterator[Row]:
        """The rows of the table, in its order."""
        yield Row(
            f"import one file of {size_text(self._size)} from a hub",
            "`curl -o` and `sha256sum`",
            "<= 1.3x",
            times(1.3),
            self._curl,
            {"kit": self._import},
            writes=self._size,
        )

    def _hub(self) -> dict[str, str]:
        if self._server is None:
            path = self._bench.fresh("hub") / "weights.bin"
            measure.write_file(path, self._size)
            command = [sys.executable, str(Path(__file__).with_name("hub.py")), str(path)]
            self._server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            self._said = json.loads(read_line(self._server))
        return self._said

    def _import(self) -> Sample:
        home = self._bench.fresh("imported")
        environment = {"HF_ENDPOINT": self._hub()["endpoint"], "HF_HOME": str(home / "hf"), "KITOPS_HOME": str(home)}
        command = [self._kit, "import", "bench/one", "--progress", "none"]
        measure.settle(0)
        sample = measure.run(command, environment)
        assert (home / "store/blobs/sha256" / self._said["digest"]).stat().st_size == self._size
        shutil.rmtree(home)
        return sample

    def _curl(self) -> Sample:
        place = self._bench.fresh("curl")
        place.mkdir()
        hub = self._hub()
        (place / "sums").write_text(f"{hub['digest']}  weights.bin\n")
        measure.settle(0)
        script = f"curl -sSfL {hub['url']} -o weights.bin && sha256sum --quiet -c sums"
        sample = measure.run(["bash", "-c", script], cwd=place)
        shutil.rmtree(place)
        return sample
