"""How runs of ``kit`` end, and what they run on."""

from __future__ import annotations

import json
import os
import pty
import select
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

START = "import sys; from kitops.cli._main import main; sys.exit(main())"
KITFILE = """\
manifestVersion: 1.0.0
package:
  name: digits
  version: 1.0.0
  authors: [Ada]
model:
  name: digits
  path: model.bin
  parameters:
    depth: 3
    tags: [a, b]
code:
  - path: src
datasets:
  - name: train
    path: train.csv
"""


@dataclass(frozen=True)
class Ended:
    """How a run of ``kit`` ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        """The JSON object on the last line of stderr."""
        return json.loads(self.err.splitlines()[-1])


Kit = Callable[..., Ended]


def talk_to(
    words: Sequence[str], environment: Mapping[str, str], answers: Sequence[tuple[bytes, bytes]]
) -> tuple[int, str]:
    """Run a program on a terminal of its own; each answer is typed once its question is on the screen.

    A question is looked for behind the one before it. A Ctrl-C that came right before the program began to read is
    lost in C code: it is typed again. Returns exit code and screen.
    """
    child, terminal = pty.fork()
    if child == 0:
        os.execve(words[0], list(words), {**environment, "TERM": "xterm"})
    screen, seen = b"", 0
    pending = list(answers)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        ready, _, _ = select.select([terminal], [], [], 1)
        if not ready and answers[-1][1] == b"\x03" and not pending:
            os.write(terminal, b"\x03")
        try:
            chunk = os.read(terminal, 4096) if ready else b""
        except OSError:  # what Linux says when the other end is closed
            break
        if ready and not chunk:
            break
        screen += chunk
        if pending and (found := screen.find(pending[0][0], seen)) >= 0:
            question, answer = pending.pop(0)
            seen = found + len(question)
            os.write(terminal, answer)
    os.close(terminal)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), screen.decode(errors="replace")
