"""Where content is on this machine: blobs, refs, leases, garbage collection."""

from kitops.store.records import Listing, RefDetails
from kitops.store.store import Store, open_store

__all__ = ["Listing", "RefDetails", "Store", "open_store"]
