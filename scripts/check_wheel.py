"""Build the wheel and check what is in it: the whole package, its type marker, the command, the licence, no tests.

And the note of its build, which ``kit version`` shows.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def build(directory: Path) -> Path:
    """Build a wheel into ``directory`` without fetching anything."""
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(directory), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        sys.exit(f"{done.stdout}{done.stderr}\nkitops: building the wheel failed")
    (wheel,) = directory.glob("*.whl")
    return wheel


def problems(wheel: Path) -> list[str]:
    """What is wrong with ``wheel``."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        entry_points = "".join(
            archive.read(name).decode() for name in names if name.endswith(".dist-info/entry_points.txt")
        )
        note = json.loads(archive.read("kitops/build.json")) if "kitops/build.json" in names else {}
    source = ROOT / "src"
    modules = {str(path.relative_to(source)) for path in (source / "kitops").rglob("*.py")}
    wrong = [f"{name} is missing" for name in sorted((modules | {"kitops/py.typed"}) - names)]
    wrong += [f"{name} does not belong in it" for name in sorted(names) if not name.startswith("kitops")]
    wrong += [f"{name} does not belong in it" for name in sorted(names) if "tests/" in name or "__pycache__" in name]
    if "kit = kitops.cli._main:main" not in entry_points:
        wrong.append("the command kit is missing")
    if not any(name.endswith("/LICENSE") for name in names):
        wrong.append("LICENSE is missing")
    if not note.get("built"):
        wrong.append("kitops/build.json does not say when it was built")
    if (commit := checked_out()) and not str(note.get("commit")).startswith(commit):
        wrong.append(f"kitops/build.json says commit {note.get('commit')}, checked out is {commit}")
    return wrong


def checked_out() -> str:
    """The commit of this checkout; empty where it is none, or is somebody else's (git then says nothing)."""
    if not (ROOT / ".git").exists():
        return ""
    command = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60).stdout.strip()


def main() -> None:
    """Build, check, say."""
    with tempfile.TemporaryDirectory() as directory:
        wheel = build(Path(directory))
        wrong = problems(wheel)
        print("\n".join(wrong) if wrong else f"{wheel.name}: {wheel.stat().st_size} bytes")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
