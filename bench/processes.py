"""Programs that run beside what is measured: a line of what they print, their end, and a link that counts."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import measure


@dataclass(frozen=True)
class Counts:
    """What passed a link: bytes of every request (head and body), and bytes of all answers."""

    requests: list[int]
    down: int


class Counted:
    """A link on loopback to ``target``, in a process of its own, that counts what passes it."""

    def __init__(self, target: str) -> None:
        command = [sys.executable, str(Path(__file__).with_name("link.py")), target]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.address = read_line(self._process).strip()

    def take(self) -> Counts:
        """What passed since the last call."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()
        return Counts(**json.loads(read_line(self._process)))

    def close(self) -> None:
        end(self._process)


def read_line(process: subprocess.Popen[bytes]) -> str:
    """The next line that a process prints."""
    assert process.stdout is not None
    line = process.stdout.readline().decode()
    if not line:
        raise measure.CommandFailedError(f"{process.args!r} ended")
    return line


def end(process: subprocess.Popen[bytes]) -> None:
    """Terminate a process and wait for it."""
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
