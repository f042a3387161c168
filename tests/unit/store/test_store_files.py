"""Atomic changes of files, and what is known of file systems."""

import errno
import os
import sys
import time

import pytest

from kitops.content.mounts import can_preallocate, is_local, read_mounts
from kitops.errors import FileSystemError
from kitops.store import atomic
from kitops.store.atomic import entries, link_new, read_small, remove_file, replace_file, told, write_new
from kitops.store.filesystem import clock_ns, free_space, writing_to

MOUNTS = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:25 / /proc rw - proc proc rw
31 22 0:44 / /data/with\\040space rw shared:2 master:1 - nfs4 server:/x rw
"""


def fail(number):
    def refuse(*values, **options):
        raise OSError(number, os.strerror(number))

    return refuse


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "file")


@pytest.fixture
def other(tmp_path):
    return str(tmp_path / "other")


def test_small_files(path):
    assert read_small(path) is None
    assert read_small(f"{path}/below") is None
    for content in (b"", b"x", b"x" * 65536, b"y" * 200_000):
        replace_file(f"{path}.new", path, content, durable=True)
        assert read_small(path) == content
    assert read_small(f"{path}/below") is None


def test_reading_a_directory_as_a_file_is_an_error(tmp_path):
    with pytest.raises(OSError, match="directory"):
        read_small(str(tmp_path))


def test_a_file_that_is_there_is_not_written(path):
    write_new(path, b"first", durable=False)
    with pytest.raises(FileExistsError):
        write_new(path, b"second", durable=False)
    assert read_small(path) == b"first"


def test_a_write_that_fails_leaves_nothing(path, other, monkeypatch):
    monkeypatch.setattr(atomic, "flush_file", fail(errno.EIO))
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        replace_file(other, path, b"x", durable=True)
    assert not os.path.exists(path)
    assert not os.path.exists(other)


def test_a_rename_that_fails_leaves_what_was_there(path, other):
    os.mkdir(path)
    with pytest.raises(OSError, match="directory"):
        replace_file(other, path, b"x", durable=False)
    assert os.path.isdir(path)
    assert not os.path.exists(other)


@pytest.mark.parametrize("links", [True, False])
def test_a_link_never_replaces(path, other, links, monkeypatch):
    if not links:
        monkeypatch.setattr(os, "link", fail(errno.EPERM))
    write_new(path, b"mine", durable=False)
    assert link_new(path, other)
    assert (read_small(path), read_small(other)) == (None, b"mine")
    write_new(path, b"yours", durable=False)
    assert not link_new(path, other)
    assert (read_small(path), read_small(other)) == (None, b"mine")


def test_linking_what_is_gone(path, other):
    assert not link_new(path, other)


def test_removing_and_listing(tmp_path, path):
    assert not remove_file(path)
    write_new(path, b"", durable=False)
    assert [entry.name for entry in entries(str(tmp_path))] == ["file"]
    assert entries(path) == entries(f"{path}/below") == []
    assert remove_file(path)


def test_a_directory_that_cannot_be_flushed(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", fail(errno.EINVAL))
    atomic.flush_directory(str(tmp_path))
    monkeypatch.setattr(os, "fsync", fail(errno.EIO))
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        atomic.flush_directory(str(tmp_path))
    monkeypatch.setattr(sys, "platform", "win32")
    atomic.flush_directory(str(tmp_path))


def test_a_system_without_fdatasync(path, monkeypatch):
    monkeypatch.delattr(os, "fdatasync", raising=False)
    write_new(path, b"x", durable=True)
    assert read_small(path) == b"x"


def test_errors_are_told():
    with pytest.raises(FileSystemError, match=r"reading /x: no such file") as caught, told("reading", "/x"):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    assert caught.value.exit_code == 14
    with pytest.raises(FileSystemError, match=r"7 bytes needed, [0-9]+ bytes free"), writing_to("/", 7):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_mounts_are_parsed(tmp_path):
    (tmp_path / "mounts").write_text(MOUNTS)
    mounts = read_mounts(str(tmp_path / "mounts"))
    assert mounts == {os.makedev(254, 0): "ext4", os.makedev(0, 25): "proc", os.makedev(0, 44): "nfs4"}
    assert read_mounts(str(tmp_path / "nowhere")) == {}
    (tmp_path / "mounts").write_text("nonsense\n")
    assert read_mounts(str(tmp_path / "mounts")) == {}


def test_what_is_local():
    disk, share, subvolume, unknown = os.makedev(8, 1), os.makedev(0, 44), os.makedev(0, 99), os.makedev(8, 9)
    mounts = {disk: "ext4", share: "nfs4"}
    assert [is_local(device, mounts) for device in (disk, share, subvolume, unknown)] == [True, False, False, False]
    assert is_local(subvolume, {**mounts, os.makedev(0, 30): "btrfs"})
    assert not is_local(unknown, {os.makedev(0, 30): "btrfs"})
    assert not is_local(disk, {})
    assert can_preallocate(disk, mounts)
    assert not can_preallocate(share, mounts)


def test_free_space(tmp_path, monkeypatch):
    assert free_space(str(tmp_path)) > 0
    assert free_space(str(tmp_path / "nowhere")) is None
    monkeypatch.delattr(os, "statvfs")
    assert free_space(str(tmp_path)) is None


def test_the_clock_of_a_file_system(tmp_path, path, monkeypatch):
    assert abs(clock_ns(path) - time.time_ns()) < 60 * 10**9
    assert os.listdir(tmp_path) == []
    assert clock_ns(str(tmp_path / "nowhere" / "file")) is None
    monkeypatch.setattr(os, "open", fail(errno.EIO))
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        clock_ns(path)
