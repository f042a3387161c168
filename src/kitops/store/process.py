"""Which processes of this machine live: a faster answer than a time stamp, where the system tells.

A process is named by the boot of its machine, its pid namespace, its pid and the moment when it started, so that
neither a pid that was given again, nor a process of another container or machine is taken for it. Where there is no
``/proc``, nothing is known, and time stamps decide alone.
"""

from __future__ import annotations

import functools
import hashlib
import os


def this_process() -> str:
    """``<machine, 8 hex>-<pid>-<start>``; empty where the system does not tell."""
    return _name_of(os.getpid())


def is_alive(process: str) -> bool | None:
    """Whether a process that :func:`this_process` named lives; None when it is not of this machine and namespace."""
    machine, _, rest = process.partition("-")
    pid, _, start = rest.partition("-")
    if not start or not pid.isdecimal() or machine != _machine():
        return None
    return _start_time(int(pid)) == start


@functools.lru_cache(maxsize=1)
def _name_of(pid: int) -> str:
    machine, start = _machine(), _start_time(pid)
    return f"{machine}-{pid}-{start}" if machine and start else ""


def _machine() -> str:
    """What is the same for all processes that see each other's pids; empty where the system does not tell."""
    boot = _read_text("/proc/sys/kernel/random/boot_id")
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""
    return hashlib.sha256(f"{boot} {namespace}".encode()).hexdigest()[:8] if boot else ""


def _start_time(pid: int) -> str:
    """When a process started (proc(5), ``/proc/pid/stat``, field 22); empty when it is gone or a zombie."""
    fields = _read_text(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 and fields[0] not in ("Z", "X") else ""


def _read_text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""
