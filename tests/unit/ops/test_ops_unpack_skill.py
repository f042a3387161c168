"""Skills of a ModelKit in the directories of agents: whole or not at all, and never over another one unasked."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from ops_places import open_network_place

from kitops.errors import FileSystemError, InvalidValueError, NotFoundError
from kitops.formats.select import Filter
from kitops.oci.reference import Reference
from kitops.ops.pack import PackOptions, pack
from kitops.ops.place import Place
from kitops.ops.push import push
from kitops.ops.unpack_skill import unpack_skills
from kitops.testing import ThrowAwayRegistry
from small_disks import small_disk

REF = Reference.parse("team/skills:v1")
REVIEW = b"---\nname: code-review\ndescription: Reviews\n---\n# Review\n"


def pack_prompts(place: Place, root: Path, files: Mapping[str, bytes], paths: list[str]) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    listed = "".join(f"  - path: {path}\n" for path in paths)
    (root / "Kitfile").write_text(f"manifestVersion: 1.0.0\nprompts:\n{listed}")
    pack(place, root, PackOptions(references=(REF,)))


def tree(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_each_skill_gets_a_directory_of_its_name(place: Place, tmp_path: Path) -> None:
    files = {"review/SKILL.md": REVIEW, "review/sub/run.sh": b"#!/bin/sh\n", "plain/SKILL.md": b"# x\n", "a.md": b"a"}
    (tmp_path / "p/review/sub").mkdir(parents=True)
    pack_prompts(place, tmp_path / "p", files, ["review", "plain", "a.md"])
    done = unpack_skills(place, REF, [tmp_path / "one", tmp_path / "two", tmp_path / "one"])
    expected = {
        "code-review/SKILL.md": REVIEW,
        "code-review/sub/run.sh": b"#!/bin/sh\n",
        "plain/SKILL.md": b"# x\n",
    }
    assert tree(tmp_path / "one") == tree(tmp_path / "two") == expected
    assert [(str(one.path.relative_to(tmp_path)), one.outcome) for one in done.skills] == [
        ("one/plain", "written"), ("one/code-review", "written"),
        ("two/plain", "written"), ("two/code-review", "written"),
    ]  # fmt: skip
    again = unpack_skills(place, REF, [tmp_path / "one"])
    assert [one.outcome for one in again.skills] == ["same", "same"]


def test_programs_stay_programs(place: Place, tmp_path: Path) -> None:
    (tmp_path / "p/s").mkdir(parents=True)
    (tmp_path / "p/s/run.sh").write_bytes(b"#!/bin/sh\n")
    (tmp_path / "p/s/run.sh").chmod(0o755)
    pack_prompts(place, tmp_path / "p", {"s/SKILL.md": b"# s\n"}, ["s"])
    unpack_skills(place, REF, [tmp_path / "out"])
    assert os.access(tmp_path / "out/s/run.sh", os.X_OK)


def test_a_skill_within_a_skill_belongs_to_it(place: Place, tmp_path: Path) -> None:
    pack_prompts(place, tmp_path / "p", {"s/SKILL.md": b"# s\n", "s/inner/SKILL.md": b"# i\n"}, ["s"])
    unpack_skills(place, REF, [tmp_path / "out"])
    assert sorted(tree(tmp_path / "out")) == ["s/SKILL.md", "s/inner/SKILL.md"]


def test_a_skill_at_the_root_is_called_as_the_repository(place: Place, tmp_path: Path) -> None:
    pack_prompts(place, tmp_path / "p", {"SKILL.md": b"# s\n"}, ["SKILL.md"])
    unpack_skills(place, REF, [tmp_path / "out"])
    assert sorted(tree(tmp_path / "out")) == ["skills/SKILL.md"]


def test_another_skill_stays_unless_it_is_to_go(place: Place, tmp_path: Path) -> None:
    pack_prompts(place, tmp_path / "p", {"a/SKILL.md": b"# a\n", "z/SKILL.md": b"# z\n"}, ["a", "z"])
    there = tmp_path / "out/z"
    there.mkdir(parents=True)
    (there / "mine.txt").write_bytes(b"mine")
    with pytest.raises(FileSystemError, match="another skill is there") as caught:
        unpack_skills(place, REF, [tmp_path / "out"])
    assert "--overwrite" in (caught.value.hint or "")
    assert tree(tmp_path / "out") == {"z/mine.txt": b"mine"}
    kept = unpack_skills(place, REF, [tmp_path / "out"], existing="keep")
    assert [one.outcome for one in kept.skills] == ["written", "kept"]
    assert tree(tmp_path / "out") == {"a/SKILL.md": b"# a\n", "z/mine.txt": b"mine"}
    unpack_skills(place, REF, [tmp_path / "out"], existing="overwrite")
    assert tree(tmp_path / "out") == {"a/SKILL.md": b"# a\n", "z/SKILL.md": b"# z\n"}


@pytest.mark.parametrize("broken", [1, 2])
def test_a_skill_that_cannot_be_replaced_is_not_lost(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: int
) -> None:
    pack_prompts(place, tmp_path / "p", {"a/SKILL.md": b"# a\n"}, ["a"])
    there = tmp_path / "out/a"
    there.mkdir(parents=True)
    (there / "mine.txt").write_bytes(b"mine")
    rename = os.rename
    left = broken

    def refuse(source: Path, target: Path, **more: int) -> None:
        nonlocal left
        if Path(target) == there and left:
            left -= 1
            raise OSError(errno.EIO, "input/output error", str(source))
        rename(source, target, **more)

    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", refuse)
        with pytest.raises(FileSystemError, match="input/output error"):
            unpack_skills(place, REF, [tmp_path / "out"], existing="overwrite")
    assert list(tree(tmp_path / "out").values()) == [b"mine"]  # in its place, or beside it
    assert there.exists() == (broken == 1)


def test_no_room_is_told_with_both_numbers(place: Place, tmp_path: Path) -> None:
    pack_prompts(place, tmp_path / "p", {"a/SKILL.md": b"# a\n", "a/b/data": bytes(1 << 20)}, ["a"])
    with small_disk(tmp_path / "small", "size=512k") as small:
        with pytest.raises(FileSystemError, match=r"1048580 bytes needed, \d+ bytes free") as caught:
            unpack_skills(place, REF, [small / "out"])
        assert caught.value.exit_code == 14
        assert list(small.iterdir()) == []


def test_the_first_file_that_cannot_be_written_is_the_error(place: Place, tmp_path: Path) -> None:
    pack_prompts(place, tmp_path / "p", {"a/SKILL.md": b"# a\n", **{f"a/b/{n}": b"data" for n in range(20)}}, ["a"])
    with small_disk(tmp_path / "small", "size=1m,nr_inodes=10") as small:
        with pytest.raises(FileSystemError, match=r"a: no space left on device$"):
            unpack_skills(place, REF, [small / "out"])
        assert list((small / "out").iterdir()) == []


def test_several_processes_write_one_skill(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pack_prompts(place, tmp_path / "p", {"a/SKILL.md": b"# a\n"}, ["a"])
    copy, target = shutil.copy2, tmp_path / "out/a"

    def copy_late(source: str, there: Path) -> object:
        if not target.exists():
            target.mkdir(parents=True)
            (target / "SKILL.md").write_bytes(b"# a\n")
        return copy(source, there)

    monkeypatch.setattr(shutil, "copy2", copy_late)
    assert [one.outcome for one in unpack_skills(place, REF, [tmp_path / "out"]).skills] == ["same"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a"]


def test_another_skill_that_comes_meanwhile_is_not_replaced(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack_prompts(place, tmp_path / "p", {"a/SKILL.md": b"# a\n"}, ["a"])
    copy, target = shutil.copy2, tmp_path / "out/a"

    def copy_late(source: str, there: Path) -> object:
        target.mkdir(parents=True)
        (target / "mine.txt").write_bytes(b"mine")
        return copy(source, there)

    monkeypatch.setattr(shutil, "copy2", copy_late)
    with pytest.raises(FileSystemError, match="another skill is there"):
        unpack_skills(place, REF, [tmp_path / "out"])
    assert tree(tmp_path / "out") == {"a/mine.txt": b"mine"}


def test_what_a_killed_process_left_goes(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pack_prompts(place, tmp_path / "p", {"a/SKILL.md": b"# a\n"}, ["a"])
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    code = "from kitops.store.process import this_process; print(this_process())"
    dead = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
    left = [f"tmp/kitops-skills-{dead}-x/kit", f"out/.a.{dead}.new", f"out/.a.{dead}.old", "out/.a.b.new"]
    for name in left:
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / left[2] / "mine.txt").write_bytes(b"mine")
    with pytest.raises(FileSystemError, match="another skill is there"):  # it was moved aside, and is back
        unpack_skills(place, REF, [tmp_path / "out"])
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [".a.b.new", "a"]
    assert tree(tmp_path / "out") == {"a/mine.txt": b"mine"}
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_link_is_replaced_and_not_followed(place: Place, tmp_path: Path) -> None:
    pack_prompts(place, tmp_path / "p", {"a/SKILL.md": b"# a\n"}, ["a"])
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "SKILL.md").write_bytes(b"# a\n")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a").symlink_to(elsewhere)
    with pytest.raises(FileSystemError, match="another skill is there"):
        unpack_skills(place, REF, [tmp_path / "out"])
    unpack_skills(place, REF, [tmp_path / "out"], existing="overwrite")
    assert not (tmp_path / "out/a").is_symlink()
    assert tree(elsewhere) == {"SKILL.md": b"# a\n"}


@pytest.mark.parametrize("name", ["../../evil", "..", ".hidden", "a/b", "x" * 65, "a b", "naïve"])
def test_a_name_that_is_no_directorys_is_refused(place: Place, tmp_path: Path, name: str) -> None:
    pack_prompts(place, tmp_path / "p", {"a/SKILL.md": f"---\nname: {name!r}\n---\n".encode()}, ["a"])
    with pytest.raises(InvalidValueError, match="cannot be the name"):
        unpack_skills(place, REF, [tmp_path / "out"])
    assert not (tmp_path / "out").exists()


def test_two_skills_of_one_name_are_refused(place: Place, tmp_path: Path) -> None:
    pack_prompts(place, tmp_path / "p", {"a/SKILL.md": REVIEW, "b/SKILL.md": REVIEW}, ["a", "b"])
    with pytest.raises(InvalidValueError, match="two skills that are called code-review"):
        unpack_skills(place, REF, [tmp_path / "out"])
    unpack_skills(place, REF, [tmp_path / "out"], filters=[Filter.parse("prompts:a")])
    assert sorted(tree(tmp_path / "out")) == ["code-review/SKILL.md"]


@pytest.mark.parametrize("paths", [["a.md"], []])
def test_no_skill_is_told(place: Place, tmp_path: Path, paths: list[str]) -> None:
    pack_prompts(place, tmp_path / "p", {"a.md": b"a"}, paths)
    with pytest.raises(NotFoundError, match="has no skill"):
        unpack_skills(place, REF, [tmp_path / "out"])


def test_straight_from_a_registry(tmp_path: Path) -> None:
    place = open_network_place(tmp_path / "home")
    pack_prompts(place, tmp_path / "p", {"a/SKILL.md": b"# a\n"}, ["a"])
    with ThrowAwayRegistry() as registry:
        target = Reference.parse(f"{registry.address}/team/skills:v1")
        push(place, REF, [target])
        unpack_skills(open_network_place(tmp_path / "other"), target, [tmp_path / "out"])
    assert tree(tmp_path / "out") == {"a/SKILL.md": b"# a\n"}
