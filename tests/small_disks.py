"""File systems of our own for tests: small ones, and read-only ones. Only root mounts; CI must be root."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest


@contextmanager
def small_disk(path: Path, options: str) -> Iterator[Path]:
    """A tmpfs at ``path`` with these options (``size=1m``), in the block."""
    path.mkdir()
    with mounted(path, ["-t", "tmpfs", "-o", options, "tmpfs", str(path)]):
        yield path


@contextmanager
def read_only(path: Path) -> Iterator[None]:
    """Nothing below ``path`` can be written in the block: a read-only mount for root, whom modes do not stop."""
    if os.geteuid() == 0:
        with mounted(path, ["--bind", str(path), str(path)], ["-o", "remount,ro,bind", str(path)]):
            yield
        return
    directories = [path, *(found for found in path.rglob("*") if found.is_dir())]
    for directory in directories:
        directory.chmod(0o555)
    try:
        yield
    finally:
        for directory in directories:
            directory.chmod(0o755)


@contextmanager
def mounted(path: Path, *steps: list[str], required: bool = True) -> Iterator[None]:
    """``mount`` with each of these arguments in turn; the last one mounted at ``path`` is gone after the block.

    Where that is not allowed the test is skipped; in CI that is a failure, unless it is not ``required``.
    """
    if shutil.which("mount") is None:
        _give_up("there is no mount command", required=required)
    try:
        for step in steps:
            done = subprocess.run(["mount", *step], check=False, capture_output=True, text=True)
            if done.returncode:
                _give_up(f"cannot mount: {done.stderr.strip()}", required=required)
        yield
    finally:
        if os.path.ismount(path) or _is_bound(path):
            subprocess.run(["umount", "-l", str(path)], check=True)


def _is_bound(path: Path) -> bool:
    """A bind mount has the device of what it shows: only the kernel's table tells."""
    mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    return any(line.split()[4] == str(path) for line in mounts)


def _give_up(reason: str, *, required: bool) -> NoReturn:
    if required and os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(f"{reason}, and CI must be able to")
    pytest.skip(reason)
