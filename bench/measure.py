"""How one run is measured: a whole process, its seconds, processor time and peak memory, on a settled machine."""

from __future__ import annotations

import hashlib
import mmap
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

BUFFER = 256 * 1024
MIB = 1024 * 1024


class CommandFailedError(Exception):
    """A command that is measured did not end with 0."""


@dataclass(frozen=True)
class Sample:
    """One run: seconds of wall time and of processors, and peak resident bytes (0 where it was not a process)."""

    seconds: float
    peak: int = 0
    cpu: float = 0.0


def run(command: list[str], environment: dict[str, str] | None = None, cwd: Path | None = None) -> Sample:
    """Run a whole process. Its memory is what wait4 reports, which is never below that of this small process.

    Raises:
        CommandFailedError: it ended with another code than 0.
    """
    errors = subprocess.PIPE
    own = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}  # as installed
    started = time.perf_counter()
    child = subprocess.Popen(command, env=own | (environment or {}), cwd=cwd, stdout=subprocess.DEVNULL, stderr=errors)
    assert child.stderr is not None
    said = child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - started
    child.stderr.close()
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise CommandFailedError(f"{' '.join(command)}: exit code {child.returncode}: {said.decode(errors='replace')}")
    return Sample(seconds, usage.ru_maxrss * 1024, usage.ru_utime + usage.ru_stime)


def settle(size: int) -> None:
    """Before a run: write back what is dirty, and have ``size`` bytes of memory that the machine really has.

    A virtual machine gives freed memory back to its host; taking it again costs seconds that are nobody's fault.
    """
    os.sync()
    if size:
        # In a process of its own: peak memory is inherited by the processes that one starts.
        subprocess.run([sys.executable, __file__, "touch", str(size)], check=True)


def touch(size: int) -> None:
    """Take ``size`` bytes of memory (at most half of what is free) page by page and give it back."""
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_POPULATE", 0)
    mmap.mmap(-1, max(mmap.PAGESIZE, min(size, free // 2)), flags=flags).close()


def sha256(path: Path) -> str:
    """The floor of all that reads and verifies: SHA-256 of a file, one thread."""
    hasher = hashlib.sha256()
    buffer = memoryview(bytearray(BUFFER))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            hasher.update(buffer[:count])
    return hasher.hexdigest()


def sha256_of_all(paths: list[Path], threads: int) -> Sample:
    """Hash files with so many threads."""
    started, used = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(sha256, paths))
    return Sample(time.perf_counter() - started, cpu=time.process_time() - used)


def warm(paths: list[Path]) -> None:
    """Read files once, so that they are in the page cache."""
    buffer = memoryview(bytearray(BUFFER))
    for path in paths:
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass


def write_file(path: Path, size: int) -> None:
    """Write ``size`` bytes that do not repeat, nowhere sparse, and quickly: random megabytes with a counter."""
    if path.exists() and path.stat().st_size == size:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    block = bytearray(os.urandom(min(size, MIB)))
    with path.open("wb", buffering=0) as file:
        for number in range(-(-size // MIB)):
            block[:8] = number.to_bytes(8, "little")[: len(block)]
            file.write(memoryview(block)[: size - number * MIB])


if __name__ == "__main__":
    assert sys.argv[1] == "touch"
    touch(int(sys.argv[2]))
