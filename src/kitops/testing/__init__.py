"""Public test helpers: throw-away registries."""

from __future__ import annotations

from kitops.testing.registry import ThrowAwayRegistry, TokenServer

__all__ = ["ThrowAwayRegistry", "TokenServer"]
