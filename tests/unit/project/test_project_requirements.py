"""What pyproject.toml promises about dependencies is what the pinned files and the lowest test say."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PINNED = ("dev.txt", "lowest.txt", "quickstart.txt")
PIN = re.compile(r"^([a-z0-9.-]+)==(\S+)", re.MULTILINE)


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def release(version: str) -> tuple[int, ...]:
    numbers = [int(part) for part in re.findall(r"\d+", version)]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def bounds() -> dict[str, str]:
    """Run-time dependency to its lower bound."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = {}
    for requirement in project["dependencies"]:
        match = re.match(r"([A-Za-z0-9_.-]+)>=([0-9.]+)", requirement)
        assert match, f"{requirement} has no lower bound"
        found[canonical(match[1])] = match[2]
    return found


def pins(name: str) -> dict[str, str]:
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
    return {canonical(package): version for package, version in PIN.findall(text)}


def test_lowest_pins_every_bound_exactly() -> None:
    lowest = pins("lowest.txt")
    assert {name: release(lowest[name]) for name in bounds()} == {
        name: release(bound) for name, bound in bounds().items()
    }


@pytest.mark.parametrize("name", ["quickstart.txt", "dev.txt"])
def test_pinned_files_satisfy_every_bound(name: str) -> None:
    pinned = pins(name)
    too_old = [package for package, bound in bounds().items() if release(pinned[package]) < release(bound)]
    assert too_old == []


@pytest.mark.parametrize("name", PINNED)
def test_pinned_files_have_hashes_and_name_no_index(name: str) -> None:
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
    packages = [block for block in re.split(r"\n(?=[a-z0-9])", text) if PIN.match(block)]
    assert len(packages) > len(bounds())
    assert [block.split("\n", 1)[0] for block in packages if "--hash=sha256:" not in block] == []
    assert re.findall(r"://|--(?:extra-)?index|--find-links|--trusted-host", text) == []
