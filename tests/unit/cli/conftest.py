"""What the tests of the command line share: ``kit`` in this process and in its own, over a store of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from cli_runs import KITFILE, START, Ended, Kit

from kitops.cli._main import main
from kitops.server import RegistryServer


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, str]:
    """Nothing of the machine's settings, and a store of its own."""
    for name in os.environ:
        if name.upper().endswith("_PROXY") or name.startswith(("KITOPS_", "DOCKER_", "REGISTRY_", "XDG_", "_KIT")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.setenv("KITOPS_HOME", str(tmp_path / "home"))
    return os.environ


@pytest.fixture
def kit(environment: Mapping[str, str], capsys: pytest.CaptureFixture[str]) -> Kit:
    """``kit("list", "--format", "json")`` in this process."""

    def run(*words: str) -> Ended:
        capsys.readouterr()
        code = main(words)
        captured = capsys.readouterr()
        return Ended(code, captured.out, captured.err)

    return run


@pytest.fixture
def kit_process(environment: Mapping[str, str]) -> Kit:
    """The same in a process of its own; ``input=``, ``env=`` and other arguments as of subprocess.run."""

    def run(*words: str, env: Mapping[str, str] | None = None, **more: Any) -> Ended:
        arguments: dict[str, Any] = {} if "input" in more else {"stdin": subprocess.DEVNULL}
        done = subprocess.run(
            [sys.executable, "-c", START, *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env={**environment, **(env or {})},
            **arguments,
            **more,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A small project with a Kitfile."""
    root = tmp_path / "project"
    (root / "src").mkdir(parents=True)
    (root / "Kitfile").write_text(KITFILE)
    (root / "model.bin").write_bytes(bytes(range(256)) * 40)
    (root / "train.csv").write_text("x,y\n1,2\n")
    (root / "src" / "train.py").write_text("print('train')\n")
    return root


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """The address of an open registry over plain HTTP."""
    with RegistryServer(tmp_path / "registry") as server:
        yield server.address
