"""Paths from the root of the file system."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def from_root(path: Path) -> str:
    """Where ``path`` leads, from the root of the file system.

    ``link/../x`` is beside what the link leads to, as the system itself reads it, and not beside the link.

    Raises:
        OSError: it is relative to a current directory that was deleted.
    """
    above = [*path.parts]
    below: list[str] = []
    while above and above[-1] != "..":
        below.insert(0, above.pop())
    return os.path.abspath(os.path.join(os.path.realpath(os.path.join(*above)) if above else "", *below, ""))
