"""Where in the layers of the store the files are that were imported, by what their sources call their bytes.

One small file a layer in ``members/``, named after its digest. A later import takes from there what did not change,
whichever layer it goes to, instead of fetching it. What an entry says is never believed: whoever uses it hashes the
bytes. A file that is damaged counts as missing: the worst is bytes that are fetched again.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Final

from kitops.errors import InvalidValueError
from kitops.store import names, trash
from kitops.store.atomic import entries, read_small, remove_file, replace_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kitops.oci.digest import Digest
    from kitops.store.layout import Layout


UNKNOWN: Final = -1


@dataclass(frozen=True, slots=True)
class LayerFile:
    """A file in a layer.

    Args:
        path: in the source.
        offset: bytes of the layer before its content; :data:`UNKNOWN` where only its digest is of use.
        size: of its content in bytes.
        sha256: of its content, in hex.
        git_blob: the id of the git object with this content; empty where that is not known.
    """

    path: str
    offset: int
    size: int
    sha256: str
    git_blob: str = ""


class StoreMembers:
    """The files of the layers of one store.

    Args:
        layout: the store.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def put(self, layer: Digest, files: Sequence[LayerFile]) -> None:
        """Remember what is in an uncompressed layer. What cannot be written is done without."""
        content = "".join(f"{json.dumps(astuple(file))}\n" for file in files)
        with suppress(OSError):
            os.makedirs(self._layout.members, exist_ok=True)
            replace_file(self._layout.temporary("members"), self._path(layer), content.encode(), durable=False)

    def read(self, layer: Digest) -> tuple[LayerFile, ...]:
        """The files of a layer; none where they are not known."""
        with suppress(OSError, ValueError, TypeError):
            content = read_small(self._path(layer)) or b""
            return tuple(LayerFile(*json.loads(line)) for line in content.splitlines())
        return ()

    def find_all(self) -> dict[str, tuple[Digest, LayerFile]]:
        """Every file of a layer that is in the store, by ``sha256:…`` and ``gitBlob:…``."""
        found: dict[str, tuple[Digest, LayerFile]] = {}
        for layer in self._layers():
            if trash.find_blob(self._layout, layer) is None:
                continue
            for file in self.read(layer):
                if file.offset == UNKNOWN:
                    continue
                found[f"sha256:{file.sha256}"] = layer, file
                if file.git_blob:
                    found[f"gitBlob:{file.git_blob}"] = layer, file
        return found

    def drop_stale(self) -> None:
        """Forget layers that are not in the store any more."""
        for layer in self._layers():
            if trash.find_blob(self._layout, layer) is None:
                with suppress(OSError):
                    remove_file(self._path(layer))

    def _layers(self) -> Iterator[Digest]:
        for entry in entries(self._layout.members):
            with suppress(InvalidValueError):
                yield names.decode_digest(entry.name)

    def _path(self, layer: Digest) -> str:
        return f"{self._layout.members}/{names.encode_digest(layer)}"
