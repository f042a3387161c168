"""The library takes words and lists of texts from programs: wrong ones are told, a text alone is one text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import kitops
from kitops.errors import FileSystemError, InvalidValueError


@pytest.fixture
def settings(tmp_path: Path) -> kitops.Settings:
    context = tmp_path / "project"
    (context / "model").mkdir(parents=True)
    (context / "model/w.bin").write_bytes(b"weights")
    (context / "train.py").write_text("pass")
    (context / "Kitfile").write_text("manifestVersion: 1.0.0\nmodel: {path: model}\ncode: [{path: train.py}]\n")
    found = kitops.Settings(home=tmp_path / "home")
    kitops.pack(context, tag="x:v1", settings=found)
    return found


@pytest.mark.parametrize(
    ("verb", "words", "message", "hint"),
    [
        ("pack", {"compression": "lzma"}, "compression 'lzma' is not known", "none, gzip, gzip-fastest, zstd"),
        ("pack", {"layer_format": "zip"}, "layer_format 'zip' is not known", "it is one of tar, raw"),
        ("pack", {"symlinks": "keep"}, "symlinks 'keep' is not known", "it is one of refuse, follow, skip"),
        ("pack", {"remote_data": "no"}, "remote_data 'no' is not known", "it is one of check, skip, pin, pin-content"),
        ("unpack", {"existing": "no"}, "existing 'no' is not known", "it is one of refuse, overwrite, keep"),
        ("convert", {"to": "zip"}, "to 'zip' is not known", "it is one of modelkit, modelpack, image"),
        ("convert", {"to": "image", "compression": "xz"}, "compression 'xz'", "none, gzip, gzip-fastest, zstd"),
        ("convert", {"to": "image", "layer_format": "zip"}, "layer_format 'zip'", "it is one of tar, raw"),
    ],
)
def test_a_word_that_is_not_known(
    verb: str, words: dict[str, Any], message: str, hint: str, settings: kitops.Settings, tmp_path: Path
) -> None:
    subject = str(tmp_path / "project") if verb == "pack" else "x:v1"
    with pytest.raises(InvalidValueError, match=message) as failure:
        getattr(kitops, verb)(subject, **words, settings=settings)
    assert hint in (failure.value.hint or "")


def test_a_text_alone_is_one_filter(settings: kitops.Settings, tmp_path: Path) -> None:
    assert kitops.unpack("x:v1", tmp_path / "out", filters="model", settings=settings).written == 1
    assert (tmp_path / "out/model/w.bin").is_file()
    assert [row.tags for row in kitops.list(filters="tag=v*", settings=settings)] == [("v1",)]
    assert not kitops.list(filters="datasets", settings=settings)


def test_home_may_be_text(settings: kitops.Settings) -> None:
    assert isinstance(settings.home, Path)
    assert [row.tags for row in kitops.list(settings=kitops.Settings(home=str(settings.home)))] == [("v1",)]


def test_a_kitfile_of_an_import_that_is_not_there(settings: kitops.Settings, tmp_path: Path) -> None:
    with pytest.raises(FileSystemError, match=r"reading .*nowhere: no such file"):
        kitops.import_(str(tmp_path / "project"), kitfile=tmp_path / "nowhere", settings=settings)
