"""What is generated for a directory: as the Go tool's vectors, or as the case says that differs on purpose."""

import json
import os
from pathlib import Path

import pytest
import yaml

from kitops.errors import FileSystemError, PackError
from kitops.kitfile.dump import dump
from kitops.kitfile.generate import Listed, generate
from kitops.kitfile.listing import list_directory
from kitops.kitfile.parse import parse
from kitops.kitfile.schema import Code, Dataset, Docs, Model, Package, paths

TESTS = Path(__file__).parents[2]
CASES = yaml.safe_load((TESTS / "cases" / "kitfile-init.yaml").read_text())
DIFFERENT = {case["vector"]: case["kitfile"] for case in CASES if "vector" in case}
VECTORS = sorted((TESTS / "golden" / "init").glob("*.json"))

NOTHING = Package()


def generate_from(context, package=NOTHING, depth=0):
    def read(path, size):
        with (context / path).open("rb") as file:
            return file.read(size)

    return dump(generate(list_directory(context), read=read, package=package, depth=depth))


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda path: path.stem)
def test_vectors(vector, tmp_path):
    case = json.loads(vector.read_text())
    for entry in case["tree"]:
        if entry["type"] == "dir":
            (tmp_path / entry["path"]).mkdir(parents=True)
        else:
            write(tmp_path / entry["path"], entry["text"].encode() if "text" in entry else bytes(entry["pattern"]))
    given = dict(zip(case["args"][::2], case["args"][1::2], strict=True))
    authors = (given["--author"],) if given else ()
    package = Package(name=given.get("--name", ""), description=given.get("--desc", ""), authors=authors)
    written = generate_from(tmp_path, package)
    assert written == DIFFERENT.get(vector.stem, case["kitfile"])
    assert (written == case["kitfile"]) == (vector.stem not in DIFFERENT)


@pytest.mark.parametrize("case", [pytest.param(case, id=case["name"]) for case in CASES if "vector" not in case])
def test_cases(case, tmp_path):
    for path, content in case["files"].items():
        if path.endswith("/"):
            (tmp_path / path).mkdir()
        else:
            write(tmp_path / path, bytes(content) if isinstance(content, int) else content.encode())
    written = generate_from(tmp_path, depth=case.get("depth", 0))
    assert written == case["kitfile"]
    parse(written)


def test_a_listing_of_somewhere_else_needs_no_files():
    """A remote repository gives names and sizes, in any order."""
    listing = [Listed("b/x.csv", 1), Listed("model.gguf", 7), Listed(".gitattributes", 1), Listed("a.py", 1)]

    def read(path, size):
        raise AssertionError(path)

    found = generate(listing, read=read)
    assert found.model == Model(name="model", path="model.gguf")
    assert found.code == (Code("a.py"),)
    assert found.datasets == (Dataset(path="b"),)


def test_what_is_read_is_bounded():
    asked = []

    def read(path, size):
        asked.append((path, size))
        return b"x"

    assert generate([Listed("LICENSE", 1 << 40)], read=read).docs == (Docs("LICENSE", "License file"),)
    assert asked == [("LICENSE", 256 << 10)]


def test_a_licence_that_cannot_be_read():
    def read(path, size):
        raise PermissionError(13, "Permission denied", path)

    with pytest.raises(FileSystemError, match="reading LICENSE: permission denied"):
        generate([Listed("LICENSE", 1)], read=read)


def test_listing(tmp_path):
    write(tmp_path / "sub" / "file", b"123")
    write(tmp_path / "junk" / "Thumbs.db", b"1")
    write(tmp_path / ".git" / "config", b"1")
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("sub/file")
    (tmp_path / "broken").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to(".")
    os.mkfifo(tmp_path / "pipe")
    assert sorted((listed.path, listed.size) for listed in list_directory(tmp_path)) == [
        (".git/", 0),
        ("broken", 0),
        ("empty/", 0),
        ("junk/", 0),
        ("link", 3),
        ("loop/", 0),
        ("sub/file", 3),
    ]


def test_listing_without_what_is_ignored(tmp_path):
    write(tmp_path / "keep" / "a", b"1")
    write(tmp_path / "keep" / "b", b"1")
    write(tmp_path / "drop" / "a", b"1")
    found = list_directory(tmp_path, ignored=lambda path, is_dir: (path, is_dir) in [("keep/b", False), ("drop", True)])
    assert found == [Listed("keep/a", 1)]


def test_listing_what_cannot_be_listed(tmp_path):
    with pytest.raises(FileSystemError, match="listing"):
        list_directory(tmp_path / "absent")


def test_names_that_are_not_text(tmp_path):
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")).touch()
    with pytest.raises(PackError, match=r"the name caf\\xe9 is not UTF-8"):
        list_directory(tmp_path)


def test_directories_that_are_nested_too_deeply_for_packing():
    deep = "d/" * 255
    assert generate([Listed(f"{deep}f", 1)], read=lambda *_: b"").code == (Code("d"),)
    with pytest.raises(PackError, match="has more than 255 directories inside each other"):
        generate([Listed(f"{deep}d/f", 1)], read=lambda *_: b"")


def test_directories_called_like_drives_are_no_absolute_paths():
    listing = [
        Listed("a:/x.py", 1),
        Listed("b:/w.gguf", 9),
        Listed("b:/c.json", 1),
        Listed("d:x.csv", 1),
    ]
    kitfile = generate(listing, read=lambda _path, _size: b"", depth=-1)
    assert parse(dump(kitfile)) == kitfile
    assert {path for _, path in paths(kitfile)} == {"./a:/x.py", "./b:/w.gguf", "./b:/c.json", "d:x.csv"}


@pytest.mark.parametrize("depth", [0, 1, -1])
def test_a_link_to_a_directory_is_an_entry_however_deep_one_looks(depth, tmp_path):
    write(tmp_path / "real/a.csv", b"x")
    (tmp_path / "alias").symlink_to("real")
    assert "code:\n  - path: alias\n" in generate_from(tmp_path, depth=depth)
