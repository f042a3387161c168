"""How runs of ``kit`` end, and what they run on."""

from __future__ import annotations

import json
from collections.abc import Callable
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
