"""Tables of the documents that name tests name tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("page", ["registries.md", "sources.md"])
def test_every_test_that_a_table_names_is_there(page: str) -> None:
    text = (ROOT / "docs" / page).read_text()
    named = re.findall(r"`((?:test|check_that)_\w+)`", text)
    assert len(named) > 20
    written = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    missing = [name for name in named if f"def {name}(" not in written and not list(ROOT.glob(f"tests/*/{name}.py"))]
    assert missing == []
