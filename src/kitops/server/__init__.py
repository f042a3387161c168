"""A registry server: everything of the distribution specification 1.1, over a directory or the local store."""

from __future__ import annotations

from kitops.server.access import Access, BasicAccess, BearerAccess, OpenAccess
from kitops.server.directory import DirectoryShelf
from kitops.server.options import ServerOptions
from kitops.server.server import RegistryServer

__all__ = ["Access", "BasicAccess", "BearerAccess", "DirectoryShelf", "OpenAccess", "RegistryServer", "ServerOptions"]
