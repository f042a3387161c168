from __future__ import annotations

from pathlib import Path

import pytest
from ops_places import open_test_place

from golden_trees import read_case
from kitops.content.events import Event
from kitops.content.protocols import Run
from kitops.kitfile.parse import parse
from kitops.kitfile.schema import Kitfile
from kitops.ops.place import Place


@pytest.fixture
def events() -> list[Event]:
    """What ``place`` tells."""
    return []


@pytest.fixture
def place(tmp_path: Path, events: list[Event]) -> Place:
    """An empty store."""
    return open_test_place(tmp_path / "home", Run(observer=events.append))


@pytest.fixture
def everything() -> Kitfile:
    """The Kitfile that has every section."""
    return parse(read_case("2026/everything")["kitfile"])
