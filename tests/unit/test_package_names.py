"""``import kitops``: what it costs, and what it offers."""

from __future__ import annotations

import subprocess
import sys

import pytest

import kitops
from kitops.errors import Cancelled


def test_importing_loads_nothing_else() -> None:
    program = (
        "import importlib, sys\n"
        "before = set(sys.modules)\n"
        "import kitops\n"
        "print(*sorted(set(sys.modules) - before - {'__future__'}))\n"  # an editable install may have loaded that
        "kitops.Network, kitops.CancelToken, kitops.Finished, kitops.Settings\n"
        "print('urllib3' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["kitops", "False"]


@pytest.mark.parametrize("name", kitops.__all__)
def test_every_name_is_there(name: str) -> None:
    assert getattr(kitops, name) is not None
    assert name in dir(kitops)


def test_other_names_are_not() -> None:
    with pytest.raises(AttributeError, match="module 'kitops' has no attribute 'Manager'"):
        _ = kitops.Manager  # type: ignore[attr-defined]


def test_a_token_ends_the_work() -> None:
    cancel = kitops.CancelToken()
    cancel.cancel()
    assert kitops.Cancelled is Cancelled
    with pytest.raises(kitops.Cancelled):
        cancel.check()
