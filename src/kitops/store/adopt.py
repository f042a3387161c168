"""Adopting the Go tool's storage."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from kitops.content.protocols import Run
    from kitops.store.store import Store


def is_adoption_due(store: Store, go_storage: Path) -> bool:
    """Whether there is no store yet, but a storage to adopt."""
    return not store.layout.is_there and (go_storage / "index.json").exists() and False


def adopt(store: Store, go_storage: Path, run: Run) -> None:
    """Adopt it."""
