"""A registry server: pull, push, tags and deletion over a directory, in threads of this process."""

from __future__ import annotations

from kitops.server.access import Access, BasicAccess, BearerAccess
from kitops.server.server import RegistryServer

__all__ = ["Access", "BasicAccess", "BearerAccess", "RegistryServer"]
