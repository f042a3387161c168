"""Where things are in a store: an OCI image layout, and beside it what the store itself needs.

::

    oci-layout, index.json, blobs/<algorithm>/<hex>     image-spec, image-layout.md
    refs/       the truth: which manifests are kept, and their tags
    leases/     which blobs a running pack, pull or unpack relies on
    ingest/     files being written, named after the lease of their writer
    partial/    unfinished downloads
    uploads/    where our unfinished uploads to registries go on
    incoming/   what others upload to us, while we serve the store
    trash/      blobs between being found unheld and being deleted
    packed/     which files gave which layer (the digest cache)
    members/    where in layers the files are that were imported
    sent/       what went through this machine to registries
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kitops.store.atomic import replace_file, told, unique_name
from kitops.store.process import this_process

if TYPE_CHECKING:
    from kitops.oci.digest import Digest

_LAYOUT: Final = b'{"imageLayoutVersion":"1.0.0"}'
SPARE: Final = "spare"
"""An empty directory in ``trash/``, for a sweep on a disk that is too full to make another."""
_DIRECTORIES: Final = ("blobs/sha256", "refs", "leases", "ingest", "partial", f"trash/{SPARE}", "packed")


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of one store. ``root`` is absolute or relative to the current directory; nothing need exist yet."""

    root: str

    @property
    def layout_file(self) -> str:
        return f"{self.root}/oci-layout"

    @property
    def index_file(self) -> str:
        return f"{self.root}/index.json"

    @property
    def refs(self) -> str:
        return f"{self.root}/refs"

    @property
    def leases(self) -> str:
        return f"{self.root}/leases"

    @property
    def ingest(self) -> str:
        return f"{self.root}/ingest"

    @property
    def partial(self) -> str:
        return f"{self.root}/partial"

    @property
    def uploads(self) -> str:
        return f"{self.root}/uploads"

    @property
    def incoming(self) -> str:
        return f"{self.root}/incoming"

    @property
    def trash(self) -> str:
        return f"{self.root}/trash"

    @property
    def packed(self) -> str:
        return f"{self.root}/packed"

    @property
    def members(self) -> str:
        return f"{self.root}/members"

    @property
    def sent(self) -> str:
        return f"{self.root}/sent"

    @property
    def blobs(self) -> str:
        return f"{self.root}/blobs"

    @property
    def adopting_file(self) -> str:
        """There while an adoption is unfinished: whoever opens the store next continues it."""
        return f"{self.root}/adopting"

    def blob(self, digest: Digest) -> str:
        return f"{self.root}/blobs/{digest.algorithm}/{digest.encoded}"

    def temporary(self, owner: str) -> str:
        """A fresh name in ``ingest/`` for a file that ``owner`` (a lease, mostly) writes in this process."""
        return f"{self.root}/ingest/{owner}.{this_process()}.{unique_name()}"

    @property
    def is_there(self) -> bool:
        """Whether there is a store already."""
        return os.path.exists(self.layout_file)

    def prepare(self) -> None:
        """Make the store if there is none; cheap when there is.

        Raises:
            FileSystemError: it cannot be made.
        """
        if self.is_there:
            return
        with told("creating the store", self.root):
            for name in _DIRECTORIES:
                os.makedirs(f"{self.root}/{name}", exist_ok=True)
            replace_file(self.temporary("layout"), self.layout_file, _LAYOUT, durable=True)
