"""Imports by the public functions, of what needs no network."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ops_places import open_test_place
from safetensors.numpy import save

import kitops
from kitops.errors import FileSystemError, InvalidValueError, PackError, SourceError
from kitops.importers.tree import Origin, RemoteFile
from kitops.oci.digest import Digest
from kitops.ops.import_ import default_reference, import_, import_directory


def make_directory(root: Path) -> Path:
    root.mkdir()
    (root / "model.gguf").write_bytes(b"GGUF")
    (root / "README.md").write_bytes(b"# hello")
    return root


def test_a_directory_is_initialised_and_packed_in_one(tmp_path: Path) -> None:
    directory = make_directory(tmp_path / "My Model")
    settings = kitops.Settings(home=tmp_path / "home")
    imported = kitops.import_(str(directory), settings=settings)
    assert [str(ref) for ref in imported.references] == ["my-model:latest"]
    assert not (directory / "Kitfile").exists()
    unpacked = kitops.unpack("my-model", tmp_path / "out", settings=settings)
    assert unpacked.written == 3
    assert imported.predicate["buildDefinition"]


def test_a_directory_above_a_link_has_the_name_of_where_it_leads(tmp_path: Path) -> None:
    (make_directory(tmp_path / "real") / "inner").mkdir()
    (tmp_path / "link").symlink_to("real/inner")
    imported = import_directory(open_test_place(tmp_path / "home"), tmp_path / "link" / "..")
    assert [str(ref) for ref in imported.references] == ["real:latest"]


def test_a_directory_with_a_kitfile_keeps_it(tmp_path: Path) -> None:
    directory = make_directory(tmp_path / "model")
    (directory / "Kitfile").write_text("manifestVersion: 1.0.0\npackage:\n  name: mine\ndocs:\n  - path: README.md\n")
    imported = import_directory(open_test_place(tmp_path / "home"), directory)
    assert imported.kitfile.package.name == "mine"
    assert imported.kitfile.model is None


def test_a_directory_tells_of_itself_what_a_repository_would(tmp_path: Path) -> None:
    """Card, configuration and headers; not its own name: the same files give the same digest anywhere."""
    digests = set()
    for name in ("one", "two"):
        directory = tmp_path / name
        directory.mkdir()
        (directory / "README.md").write_bytes(b"---\nlicense: mit\nlibrary_name: transformers\n---\n")
        (directory / "config.json").write_bytes(b'{"model_type": "tiny"}')
        (directory / "model.safetensors").write_bytes(save({"w": np.zeros((4, 50), dtype=np.float16)}))
        (directory / "tokenizer").mkdir()
        (directory / "tokenizer/pieces").write_bytes(b"x")
        imported = kitops.import_(str(directory), settings=kitops.Settings(home=tmp_path / "home"))
        digests.add(imported.desc.digest)
    assert len(digests) == 1
    model = imported.kitfile.model
    assert model is not None
    assert (model.license, model.framework, model.format) == ("MIT", "transformers", "safetensors")
    assert [part.path for part in model.parts] == ["config.json", "tokenizer"]
    assert model.parameters == {
        "family": "tiny",
        "parameterCount": 200,
        "parameterSize": "0.2K",
        "precision": "float16",
    }


def test_a_directory_keeps_what_is_empty(tmp_path: Path) -> None:
    directory = make_directory(tmp_path / "model")
    (directory / "cache").mkdir()
    imported = kitops.import_(str(directory), settings=kitops.Settings(home=tmp_path / "home"))
    assert [code.path for code in imported.kitfile.code] == ["cache"]


def test_the_home_of_nobody_is_no_directory(tmp_path: Path) -> None:
    with pytest.raises(PackError, match="~nobody-here/model is not a directory"):
        kitops.import_("~nobody-here/model", settings=kitops.Settings(home=tmp_path / "home"))


@pytest.mark.parametrize("options", [{"tag": "x:v1", "to": "r.example.com/x:v1"}, {"revision": "v1"}, {"tool": "git"}])
def test_what_does_not_apply_to_a_directory_is_refused(tmp_path: Path, options: dict[str, str]) -> None:
    directory = make_directory(tmp_path / "model")
    with pytest.raises(InvalidValueError):
        kitops.import_(str(directory), settings=kitops.Settings(home=tmp_path / "home"), **options)  # type: ignore[arg-type]


def test_a_directory_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(PackError, match="is not a directory"):
        kitops.import_(str(tmp_path / "none"), settings=kitops.Settings(home=tmp_path / "home"))


def test_filters_are_not_for_directories(tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match=r"\.kitignore|filters"):
        kitops.import_(
            str(make_directory(tmp_path / "model")),
            include=["*.gguf"],
            settings=kitops.Settings(home=tmp_path / "home"),
        )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Org/Model-7B", "org/model-7b:latest"),
        ("a__b/c..d", "a-b/c-d:latest"),
        ("_x_", "x:latest"),
        ("模型", "import:latest"),
    ],
)
def test_names_become_references(name: str, expected: str) -> None:
    assert str(default_reference(Origin("git", "u", "", "", name))) == expected


class Enormous:
    """A tree with a file that fits on no disk."""

    origin = Origin("huggingface", "https://hub.example/org/x", "c" * 40, "main", "org/x")
    files = (RemoteFile("model.bin", 1 << 60, Digest.of(b"x")),)

    def read_at(self, path: str, offset: int, size: int) -> bytes:
        return b""

    def open(self, file: RemoteFile, offset: int = 0) -> object:
        raise AssertionError("nothing is fetched")


def test_what_does_not_fit_is_refused_before_the_first_byte(tmp_path: Path) -> None:
    place = open_test_place(tmp_path / "home")
    with pytest.raises(FileSystemError) as caught:
        import_(place, Enormous())  # type: ignore[arg-type]
    assert caught.value.exit_code == 14
    assert "free" in str(caught.value)
    assert list((tmp_path / "home/store/ingest").iterdir()) == []


@pytest.mark.parametrize(
    ("module", "source", "extra"),
    [("huggingface_hub", "org/model", "kitops[hf]"), ("mlflow", "models:/m/1", "kitops[mlflow]")],
)
def test_a_client_that_is_not_installed_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, source: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SourceError) as caught:
        kitops.import_(source, settings=kitops.Settings(home=tmp_path / "home"))
    assert extra in (caught.value.hint or "")
    assert not list((tmp_path / "home").glob("imports/*"))


def test_two_revisions_are_one_too_many(tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match=r"v1.*v2"):
        kitops.import_("org/model@v1", revision="v2", settings=kitops.Settings(home=tmp_path / "home"))


def test_the_editor_of_the_person_has_the_last_word(tmp_path: Path) -> None:
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\nsed -i 's/^manifestVersion.*/&\\npackage: {name: edited}/' \"$1\"\n")
    editor.chmod(0o755)
    directory = make_directory(tmp_path / "model")
    environment = {**os.environ, "EDITOR": str(editor), "VISUAL": str(editor), "KITOPS_HOME": str(tmp_path / "home")}
    command = [str(Path(sys.executable).with_name("kit")), "import", str(directory), "--edit"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert kitops.info("model:latest", settings=kitops.Settings(home=tmp_path / "home")).package.name == "edited"


def test_names_are_completed_or_refused_before_anything_comes(tmp_path: Path) -> None:
    source = make_directory(tmp_path / "source")
    for words in (["init", "-q"], ["add", "."], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x"]):
        subprocess.run(["git", *words], cwd=source, check=True)
    told: list[kitops.Event] = []
    settings = kitops.Settings(home=tmp_path / "home", observer=told.append)
    for url in (f"file://{source}", str(source)):
        imported = kitops.import_(url, tag="a:1,2", settings=settings)
        assert [str(ref) for ref in imported.references] == ["a:1", "a:2"]
        imported = kitops.import_(url, tag="b", settings=settings)
        assert [str(ref) for ref in imported.references] == ["b:latest"]
        told.clear()
        with pytest.raises(InvalidValueError, match="no name to give"):
            kitops.import_(url, tag=f"c:1@sha256:{'0' * 64}", settings=settings)
        assert not any(isinstance(event, kitops.Planned) for event in told)


def test_names_are_refused_before_the_source_is_opened(tmp_path: Path) -> None:
    settings = kitops.Settings(home=tmp_path / "home")
    name = f"example.com/c:1@sha256:{'0' * 64}"
    for given in ({"tag": name}, {"to": name}):
        with pytest.raises(InvalidValueError, match="no name to give"):
            kitops.import_("git+file:///nowhere", **given, settings=settings)  # type: ignore[arg-type]
    with pytest.raises(InvalidValueError, match="names no registry"):
        kitops.import_("git+file:///nowhere", to="local:1", settings=settings)


def test_links_in_a_directory_are_followed_or_left_out_as_asked(tmp_path: Path) -> None:
    cache = tmp_path / "blobs"
    cache.mkdir()
    (cache / "4f1a").write_bytes(b"GGUF")
    directory = tmp_path / "snapshot"
    directory.mkdir()
    (directory / "README.md").write_text("# hello\n")
    (directory / "model.gguf").symlink_to("../blobs/4f1a")
    settings = kitops.Settings(home=tmp_path / "home")
    with pytest.raises(PackError) as caught:
        kitops.import_(str(directory), settings=settings)
    assert "--symlinks follow" in (caught.value.hint or "")
    kitops.import_(str(directory), tag="x:follow", symlinks="follow", settings=settings)
    kitops.unpack("x:follow", tmp_path / "out", settings=settings)
    assert (tmp_path / "out/model.gguf").read_bytes() == b"GGUF"
    skipped = kitops.import_(str(directory), tag="x:skip", symlinks="skip", settings=settings)
    assert (skipped.kitfile.model, [doc.path for doc in skipped.kitfile.docs]) == (None, ["README.md"])


def test_links_are_for_directories_to_choose(tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match="--symlinks does not apply to a repository of Hugging Face"):
        kitops.import_("org/model", symlinks="follow", settings=kitops.Settings(home=tmp_path / "home"))
