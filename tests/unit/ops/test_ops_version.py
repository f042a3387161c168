"""``kit version``: what the build noted, else what is checked out, else nothing."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from kitops.ops.version import Version, version

Need = Callable[[str], str]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def checkout(tmp_path: Path, need: Need) -> Path:
    """A repository with one commit on a branch."""
    need("git")
    root = tmp_path / "checkout"
    (root / "src" / "kitops").mkdir(parents=True)
    (root / "pyproject.toml").write_text('[project]\nname = "kitops"\n')
    git(root, "init", "--quiet", "--initial-branch=feature/x")
    git(root, "add", "pyproject.toml")
    git(root, "commit", "--quiet", "--message", "first")
    return root


def git(root: Path, *words: str) -> str:
    who = ["-c", "user.name=A", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", str(root), *who, *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def commit_of(root: Path) -> str | None:
    return version("2.0", root / "src" / "kitops").commit


def test_what_the_build_noted(tmp_path: Path) -> None:
    (tmp_path / "build.json").write_text(json.dumps({"commit": COMMIT, "built": "2026-01-02T03:04:05Z"}))
    assert version("2.0", tmp_path) == Version("2.0", COMMIT, "2026-01-02T03:04:05Z", platform.python_version())


@pytest.mark.parametrize("note", [None, "{", "[]", "{}"])
def test_nothing_is_known(note: str | None, tmp_path: Path) -> None:
    package = tmp_path / "lib" / "site-packages" / "kitops"
    package.mkdir(parents=True)
    if note is not None:
        (package / "build.json").write_text(note)
    assert version("2.0", package) == Version("2.0", None, None, platform.python_version())


def test_a_branch_is_checked_out(checkout: Path) -> None:
    assert commit_of(checkout) == git(checkout, "rev-parse", "HEAD")
    git(checkout, "pack-refs", "--all")
    assert commit_of(checkout) == git(checkout, "rev-parse", "HEAD")


def test_a_commit_is_checked_out(checkout: Path) -> None:
    git(checkout, "checkout", "--quiet", "--detach")
    assert commit_of(checkout) == git(checkout, "rev-parse", "HEAD")


def test_a_worktree_is_checked_out(checkout: Path, tmp_path: Path) -> None:
    git(checkout, "worktree", "add", "--quiet", "-b", "other", str(tmp_path / "tree"))
    git(tmp_path / "tree", "commit", "--quiet", "--allow-empty", "--message", "second")
    assert commit_of(tmp_path / "tree") == git(tmp_path / "tree", "rev-parse", "HEAD") != commit_of(checkout)


def test_a_checkout_of_something_else_says_nothing(checkout: Path) -> None:
    (checkout / "pyproject.toml").write_text('[project]\nname = "another"\n')
    assert commit_of(checkout) is None


def test_a_branch_without_commits(checkout: Path) -> None:
    git(checkout, "checkout", "--quiet", "--orphan", "empty")
    assert commit_of(checkout) is None
