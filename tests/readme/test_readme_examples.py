"""The examples of the README and of the documents do what the pages say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    page.relative_to(ROOT)
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    if "\n```console\n" in page.read_text(encoding="utf-8") or "\n```python\n" in page.read_text(encoding="utf-8")
]


def test_there_are_examples() -> None:
    assert {"README.md", "docs/library.md", "docs/how-to/ci.md"} <= {str(page) for page in PAGES}


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_examples_of(page: Path) -> None:
    command = [sys.executable, str(ROOT / "scripts" / "run_readme.py"), str(page)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip().endswith("examples ran")
