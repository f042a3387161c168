from __future__ import annotations

import pytest

from golden_trees import read_case
from kitops.kitfile.parse import parse
from kitops.kitfile.schema import Kitfile


@pytest.fixture
def everything() -> Kitfile:
    """The Kitfile that has every section."""
    return parse(read_case("2026/everything")["kitfile"])
