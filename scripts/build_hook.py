"""Hatch's build hook: the wheel says which commit it was built from, and when (``kit version`` shows it).

A source distribution carries the note too, for the wheel that is built from it. ``SOURCE_DATE_EPOCH`` sets the time:
with it, two builds of one commit are equal byte for byte.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NAME = "build.json"


class NoteBuild(BuildHookInterface):
    """Adds the note to what is built."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the note where hatch takes it from; a checkout that is installed as it is needs none."""
        self.temporary = None
        if version == "editable":
            return
        self.temporary = tempfile.mkdtemp()
        note = Path(self.temporary) / NAME
        note.write_text(json.dumps(read_note(Path(self.root))) + "\n", encoding="utf-8")
        build_data["force_include"][str(note)] = f"kitops/{NAME}" if self.target_name == "wheel" else NAME

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002 - hatch's
        """Leave nothing behind."""
        if self.temporary is not None:
            shutil.rmtree(self.temporary)


def read_note(root: Path) -> dict[str, str | None]:
    """Commit and time, of the checkout ``root`` or of the source distribution that was unpacked there."""
    unpacked = root / NAME
    note = json.loads(unpacked.read_text(encoding="utf-8")) if unpacked.is_file() else {"commit": read_commit(root)}
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    now = datetime.fromtimestamp(int(epoch), UTC) if epoch else datetime.now(UTC)
    return {"commit": note.get("commit"), "built": now.strftime("%Y-%m-%dT%H:%M:%SZ")}


def read_commit(root: Path) -> str | None:
    """The commit that is checked out, with ``-dirty`` when tracked files differ from it; None without git."""
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
