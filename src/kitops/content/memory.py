"""How much memory there is for files that somebody is about to read."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

_MEMORY: Final = "/proc/meminfo"
_LIMITS: Final = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Of a container, as it sees them: cgroup v2 and v1."""
_SHARE: Final = 10


def has_room_in_cache(size: int, memory: str = _MEMORY, limits: tuple[str, ...] = _LIMITS) -> bool:
    """Whether files of ``size`` bytes should be written through the page cache, to be there when they are read.

    Up to a tenth of the available memory they should. From there on Linux writes back at once, and soon has the writer
    wait for the disk (``vm.dirty_background_ratio``); and what others have in memory would have to go.

    Args:
        size: of all files.
        memory: proc(5), ``/proc/meminfo``.
        limits: files with the limit of a container, in bytes.

    Returns:
        True too where the system does not tell.
    """
    available = [found for found in (_available(memory), *map(_limit, limits)) if found is not None]
    return not available or size <= min(available) // _SHARE


def _available(path: str) -> int | None:
    with suppress(OSError, ValueError, IndexError), open(path, encoding="ascii") as lines:
        for line in lines:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None


def _limit(path: str) -> int | None:
    with suppress(OSError, ValueError), open(path, encoding="ascii") as file:  # "max" is no number
        return int(file.read())
    return None
