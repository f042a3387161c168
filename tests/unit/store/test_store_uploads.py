"""Unfinished uploads between processes."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kitops.store.layout import Layout
from kitops.store.uploads import LIFE, StoreUploads

BLOB = "https://registry.example.com team/model sha256:aa"
URL = "https://storage.example.com/upload?state=1&signature=topsecret"
LEAVE = """
import os, sys
from kitops.store.layout import Layout
from kitops.store.uploads import StoreUploads
with StoreUploads(Layout(sys.argv[1])).claim(sys.argv[2]) as upload:
    upload.save(sys.argv[3])
    os._exit(0)
"""


@pytest.fixture
def uploads(tmp_path: Path) -> StoreUploads:
    return StoreUploads(Layout(str(tmp_path)))


def files(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "uploads").iterdir())


def test_nothing_is_written_without_need(uploads: StoreUploads, tmp_path: Path) -> None:
    with uploads.claim(BLOB) as upload:
        assert upload.location is None
    assert list(tmp_path.iterdir()) == []


def test_what_was_left_is_found_by_the_next_and_only_for_its_blob(uploads: StoreUploads) -> None:
    with uploads.claim(BLOB) as upload:
        upload.save("https://example.com/old")
        upload.save(URL)
    with uploads.claim(BLOB + "b") as other:
        assert other.location is None
    with uploads.claim(BLOB) as again:
        assert again.location == URL


def test_nobody_but_the_owner_reads_it(uploads: StoreUploads, tmp_path: Path) -> None:
    with uploads.claim(BLOB) as upload:
        upload.save(URL)
        (path,) = files(tmp_path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "uploads").stat().st_mode) == 0o700
    assert "example" not in files(tmp_path)[0].name


def test_what_is_over_is_gone(uploads: StoreUploads, tmp_path: Path) -> None:
    with uploads.claim(BLOB) as upload:
        upload.save(URL)
        upload.forget()
    assert files(tmp_path) == []


def test_two_do_not_get_the_same(uploads: StoreUploads) -> None:
    with uploads.claim(BLOB) as upload:
        upload.save(URL)
    with uploads.claim(BLOB) as first, uploads.claim(BLOB) as second:
        assert (first.location, second.location) == (URL, None)


def test_what_a_killed_process_left_is_taken_at_once(uploads: StoreUploads, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", LEAVE, str(tmp_path), BLOB, URL], check=True)
    assert "." in files(tmp_path)[0].name
    with uploads.claim(BLOB) as upload:
        assert upload.location == URL


def test_an_owner_of_another_machine_is_given_time(uploads: StoreUploads, tmp_path: Path) -> None:
    with uploads.claim(BLOB) as upload:
        upload.save(URL)
    (path,) = files(tmp_path)
    claimed = path.with_name(f"{path.name}.00000000-1-1.aa")
    path.rename(claimed)
    with uploads.claim(BLOB) as upload:
        assert upload.location is None
    os.utime(claimed, (time.time() - 1000, time.time() - 1000))
    with uploads.claim(BLOB) as upload:
        assert upload.location == URL


def test_old_ones_are_cleared_away(uploads: StoreUploads, tmp_path: Path) -> None:
    with uploads.claim(BLOB) as upload:
        upload.save(URL)
    old = time.time() - LIFE - 10
    os.utime(files(tmp_path)[0], (old, old))
    with uploads.claim(BLOB + "b"):
        assert files(tmp_path) == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"location": 1}', b"\xff", b"[" * 100000])
def test_damaged_files_are_no_uploads(content: bytes, uploads: StoreUploads, tmp_path: Path) -> None:
    with uploads.claim(BLOB) as upload:
        upload.save(URL)
    files(tmp_path)[0].write_bytes(content)
    with uploads.claim(BLOB) as upload:
        assert upload.location is None
        upload.save(URL)
    assert [json.loads(path.read_bytes()) for path in files(tmp_path)] == [{"location": URL}]


def test_where_nothing_can_be_written_it_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "uploads").write_text("in the way")
    with StoreUploads(Layout(str(tmp_path))).claim(BLOB) as upload:
        upload.save(URL)
        upload.forget()
