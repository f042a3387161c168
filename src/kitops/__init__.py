"""kitops packages AI/ML projects as versioned, content-addressed OCI artifacts: ModelKits.

>>> import kitops
>>> kitops.pack("digits", tag="team/digits:v1")      # doctest: +SKIP
>>> kitops.unpack("team/digits:v1", "elsewhere")     # doctest: +SKIP

The functions are those of :mod:`kitops.api`, imported when they are first used.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # type checkers know the name; importing typing would cost more than all the rest
if TYPE_CHECKING:
    from typing import Any

    from kitops.api.keeping import login, logout, prune
    from kitops.api.looking import (
        diff,
        diff_tensors,
        du,
        info,
        inspect,
        list,  # noqa: A004 - kitops.list is its name
        referrers,
        status,
        tensors,
        validate,
        verify,
    )
    from kitops.api.making import convert, export_mlflow, import_, init, pack, repair, unpack, unpack_skills
    from kitops.api.moving import copy, load, plan_pull, plan_push, pull, push, remove, save, tag
    from kitops.api.settings import Settings
    from kitops.content.cancel import CancelToken
    from kitops.content.events import Advanced, Event, Finished, Message, Observer, Planned, Started, Waiting
    from kitops.errors import Cancelled, KitError
    from kitops.registry.network import Network, Patience

__version__ = "2.0.0.dev0"

__all__ = [
    "Advanced",
    "CancelToken",
    "Cancelled",
    "Event",
    "Finished",
    "KitError",
    "Message",
    "Network",
    "Observer",
    "Patience",
    "Planned",
    "Settings",
    "Started",
    "Waiting",
    "__version__",
    "convert",
    "copy",
    "diff",
    "diff_tensors",
    "du",
    "export_mlflow",
    "import_",
    "info",
    "init",
    "inspect",
    "list",
    "load",
    "login",
    "logout",
    "pack",
    "plan_pull",
    "plan_push",
    "prune",
    "pull",
    "push",
    "referrers",
    "remove",
    "repair",
    "save",
    "status",
    "tag",
    "tensors",
    "unpack",
    "unpack_skills",
    "validate",
    "verify",
]


_NAMES = {
    "api.looking": "list info inspect referrers diff tensors diff_tensors status verify validate du",
    "api.keeping": "login logout prune",
    "api.making": "init pack import_ export_mlflow unpack unpack_skills repair convert",
    "api.moving": "push pull plan_pull plan_push copy save load tag remove",
    "api.settings": "Settings",
    "content.cancel": "CancelToken",
    "content.events": "Advanced Event Finished Message Observer Planned Started Waiting",
    "errors": "Cancelled KitError",
    "registry.network": "Network Patience",
}
"""Where the public names are, below this package."""


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for (PEP 562): ``import kitops`` costs next to nothing."""
    for module, names in _NAMES.items():
        if name in names.split():
            return getattr(import_module(f"kitops.{module}"), name)
    raise AttributeError(f"module 'kitops' has no attribute {name!r}")


def __dir__() -> Any:
    return sorted(__all__)
