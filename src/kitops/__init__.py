"""kitops packages AI/ML projects as versioned, content-addressed OCI artifacts: ModelKits.

>>> import kitops
>>> kitops.pack("digits", tag="team/digits:v1")      # doctest: +SKIP
>>> kitops.unpack("team/digits:v1", "elsewhere")     # doctest: +SKIP

The functions are those of :mod:`kitops.api`, imported when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kitops.api import (
        Settings,
        diff,
        diff_tensors,
        info,
        init,
        inspect,
        list,  # noqa: A004 - kitops.list is its name
        pack,
        pull,
        push,
        remove,
        tag,
        tensors,
        unpack,
    )
    from kitops.errors import KitError

__version__ = "2.0.0.dev0"

__all__ = [
    "KitError",
    "Settings",
    "__version__",
    "diff",
    "diff_tensors",
    "info",
    "init",
    "inspect",
    "list",
    "pack",
    "pull",
    "push",
    "remove",
    "tag",
    "tensors",
    "unpack",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for (PEP 562): ``import kitops`` costs next to nothing."""
    if name == "KitError":
        return import_module("kitops.errors").KitError
    if name in __all__:
        return getattr(import_module("kitops.api"), name)
    raise AttributeError(f"module 'kitops' has no attribute {name!r}")


def __dir__() -> Any:
    return sorted(__all__)
