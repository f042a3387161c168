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

    from kitops.api import (
        Settings,
        convert,
        copy,
        diff,
        diff_tensors,
        du,
        export_mlflow,
        import_,
        info,
        init,
        inspect,
        list,  # noqa: A004 - kitops.list is its name
        load,
        pack,
        plan_pull,
        plan_push,
        pull,
        push,
        referrers,
        remove,
        repair,
        save,
        status,
        tag,
        tensors,
        unpack,
        unpack_skills,
        validate,
        verify,
    )
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
    "pack",
    "plan_pull",
    "plan_push",
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


_HOMES = {
    "Advanced": "content.events",
    "CancelToken": "content.cancel",
    "Cancelled": "errors",
    "Event": "content.events",
    "Finished": "content.events",
    "KitError": "errors",
    "Message": "content.events",
    "Network": "registry.network",
    "Observer": "content.events",
    "Patience": "registry.network",
    "Planned": "content.events",
    "Started": "content.events",
    "Waiting": "content.events",
}
"""Where a public name is, below this package; the functions are in ``api``."""


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for (PEP 562): ``import kitops`` costs next to nothing."""
    if name in __all__:
        return getattr(import_module(f"kitops.{_HOMES.get(name, 'api')}"), name)
    raise AttributeError(f"module 'kitops' has no attribute {name!r}")


def __dir__() -> Any:
    return sorted(__all__)
