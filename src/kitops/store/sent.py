"""Which repositories of registries were sent which blobs that were not kept here: they may be mounted from there.

One small file a manifest and repository in ``sent/``. What it says may not be true any more; a registry that is asked
for such a blob then says so.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from kitops.errors import InvalidValueError
from kitops.oci.digest import Digest
from kitops.store.atomic import entries, read_small, remove_file, replace_file

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kitops.store.layout import Layout

LIFE: Final = 90 * 24 * 3600.0
"""Seconds after which it is forgotten."""


class StoreSent:
    """What went from elsewhere through this machine to registries.

    Args:
        layout: the store.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def note(self, locator: str, manifest: Digest, blobs: Iterable[Digest]) -> None:
        """The repository ``locator`` has these blobs. What cannot be written is done without."""
        name = hashlib.sha256(f"{locator}@{manifest}".encode()).hexdigest()[:32]
        content = json.dumps({"repository": locator, "blobs": [str(blob) for blob in blobs]})
        with suppress(OSError):
            os.makedirs(self._layout.sent, exist_ok=True)
            replace_file(self._layout.temporary("sent"), f"{self._layout.sent}/{name}", content.encode(), durable=False)

    def find(self, registry: str) -> dict[Digest, set[str]]:
        """The repositories of one registry that were sent a blob, by blob."""
        found: dict[Digest, set[str]] = {}
        for entry in entries(self._layout.sent):
            with suppress(OSError, ValueError, KeyError, TypeError, InvalidValueError):
                table = json.loads(read_small(entry.path) or b"")
                locator = str(table["repository"])
                if locator.partition("/")[0] == registry:
                    for text in table["blobs"]:
                        found.setdefault(Digest.parse(text), set()).add(locator)
        return found

    def drop_stale(self) -> None:
        """Forget what is too old."""
        for entry in entries(self._layout.sent):
            with suppress(OSError):
                if time.time() - entry.stat().st_mtime > LIFE:
                    remove_file(entry.path)
