"""What an import brought is not brought again: by the next attempt, by the next commit, for another ModelKit."""

from __future__ import annotations

import hashlib
import os
import resource
import shutil
import signal
import threading
import time
from pathlib import Path

import pytest

from hub_server import Hub, HubRepo, model_repo
from integration.hub_imports import MIB, kit, run_import, tree_of
from kitops.content.protocols import Run
from kitops.errors import FileSystemError, IntegrityError, NetworkError, PackError
from kitops.ops.cache import cache_clear, cache_info
from kitops.ops.import_ import ImportOptions
from kitops.ops.pack import PackOptions, pack
from kitops.ops.place import Place
from kitops.ops.prune import prune
from kitops.ops.unpack import unpack
from kitops.store import filesystem
from small_disks import small_disk
from unit.ops.ops_places import open_test_place

KITFILE = b"manifestVersion: 1.0.0\ndatasets:\n  - path: data\n"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return open_test_place(tmp_path / "home")


def many(count: int, *, size: int = 300) -> dict[str, bytes | Path]:
    """Files of one directory, which git keeps itself (below 1 KiB) or in LFS."""
    return {f"data/{number:03}.txt": (f"{number} " * size).encode()[:size] for number in range(count)}


def fetched(hub: Hub) -> int:
    """How often a file was asked for."""
    return sum("/resolve/" in request for request in hub.requests)


def change(repo: HubRepo, files: dict[str, bytes]) -> None:
    """Another commit, which is ``main`` then."""
    commit = hashlib.sha1(repr(sorted(files)).encode() + repo.refs["main"].encode()).hexdigest()
    repo.commits[commit] = dict(repo.commits[repo.refs["main"]]) | files
    repo.refs["main"] = commit


def spent(path: Path) -> int:
    """Bytes of disk below a directory."""
    stats = {stat.st_ino: stat.st_blocks * 512 for stat in (found.stat() for found in path.rglob("*"))}
    return sum(stats.values())


def test_of_a_directory_only_the_file_that_changed_comes(hub: Hub, place: Place, tmp_path: Path) -> None:
    repo = model_repo("Org/Data", many(60) | {"data/big.csv": b"1,2\n" * 5000, "data/sub/model.txt": b"sub"})
    hub.add(repo)
    options = ImportOptions(kitfile_text=KITFILE)
    first = run_import(place, hub, "Org/Data", options)
    before = fetched(hub)
    assert before == 62
    prune(place)
    change(repo, {"data/007.txt": b"changed"})
    second = run_import(place, hub, "Org/Data", options)
    assert fetched(hub) == before + 1
    assert second.fetched_size == len(b"changed")
    assert second.desc != first.desc
    unpack(place, second.references[0], tmp_path / "out")
    found = tree_of(tmp_path / "out")
    del found["Kitfile"]
    assert found == repo.commits[repo.refs["main"]]


def test_files_move_between_layers_without_being_fetched(hub: Hub, place: Place) -> None:
    hub.add(model_repo("Org/Data", many(10) | {"data/big.csv": b"1,2\n" * 5000}))
    run_import(place, hub, "Org/Data", ImportOptions(kitfile_text=KITFILE))
    before = fetched(hub)
    single = KITFILE + b"  - path: data/big.csv\n  - path: data/001.txt\n"
    again = run_import(place, hub, "Org/Data", ImportOptions(kitfile_text=single))
    assert again.fetched_size == 0
    assert fetched(hub) == before
    back = run_import(
        place, hub, "Org/Data", ImportOptions(kitfile_text=b"manifestVersion: 1.0.0\ncode:\n  - path: .\n")
    )
    assert back.fetched_size == 0


def test_many_small_files_get_done_under_a_rate_limit(hub: Hub, place: Place) -> None:
    hub.add(model_repo("Org/Data", many(120)))
    options = ImportOptions(kitfile_text=KITFILE)
    attempts = 0
    while True:
        attempts += 1
        assert attempts < 5
        hub.budget = 50
        try:
            run_import(open_test_place(place.home), hub, "Org/Data", options)
        except NetworkError as error:
            assert "rate limit" in error.message
            continue
        break
    assert fetched(hub) - attempts * 6 <= 120
    assert os.listdir(place.store.layout.partial) == []


def test_a_killed_import_of_many_small_files_goes_on(hub: Hub, tmp_path: Path) -> None:
    hub.add(model_repo("Org/Data", many(400)))
    (tmp_path / "Kitfile").write_bytes(KITFILE)
    command = ("import", "Org/Data", "-f", str(tmp_path / "Kitfile"), "--concurrency", "1")
    gate = threading.Event()
    process = kit(hub, tmp_path / "home", *command)
    limit = time.monotonic() + 30
    while fetched(hub) < 200 and time.monotonic() < limit:
        time.sleep(0.01)
    hub.silence = gate  # the hub falls silent, and what came is recorded within a second
    time.sleep(2.5)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    gate.set()
    process = kit(hub, tmp_path / "home", *command)
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == 0, complaint
    assert fetched(hub) <= 400 + 3


def test_wrong_bytes_of_a_small_file_are_refused(hub: Hub, place: Place) -> None:
    """git's own id of a file is what it is compared with."""
    repo = model_repo("Org/Data", many(20))
    hub.add(repo)

    def mangle(entries: list[dict[str, object]]) -> object:
        for entry in entries:
            if entry["path"] == "data/003.txt":
                entry["oid"] = "0" * 40
        return entries

    hub.mangle = mangle
    quiet = open_test_place(place.home, Run(concurrency=1))
    for _ in range(6):
        with pytest.raises(IntegrityError, match=r"data/003\.txt"):
            run_import(quiet, hub, "Org/Data", ImportOptions(kitfile_text=KITFILE))
    # the wrong one twice each time, the others once, and what was on its way at each end
    assert fetched(hub) <= 2 * 6 + 19 + 2 * 6


def test_a_large_file_of_an_archive_that_comes_damaged_is_fetched_once_more(
    hub: Hub, place: Place, tmp_path: Path
) -> None:
    content = os.urandom(3 * MIB)
    repo = model_repo("Org/Data", {"data/a.bin": content, "data/b.txt": b"b", "data/c.bin": content[: 2 * MIB]})
    hub.add(repo)
    digest = hashlib.sha256(content).hexdigest()
    damaged = bytearray(content)
    damaged[100] ^= 1
    hub.spoil = {digest: bytes(damaged)}
    imported = run_import(place, hub, "Org/Data", ImportOptions(kitfile_text=KITFILE))
    assert hub.spoil == {}
    unpack(place, imported.references[0], tmp_path / "out")
    assert (tmp_path / "out/data/a.bin").read_bytes() == content


def test_the_same_content_comes_once(hub: Hub, place: Place, tmp_path: Path) -> None:
    content = os.urandom(2 * MIB)
    hub.add(
        model_repo("Org/Data", {"data/a.bin": content, "data/b.bin": content, "model.bin": content, "x/c.bin": content})
    )
    text = b"manifestVersion: 1.0.0\nmodel: {path: model.bin}\ndatasets:\n  - path: data\n  - path: x\n"
    imported = run_import(place, hub, "Org/Data", ImportOptions(kitfile_text=text))
    assert imported.fetched_size == len(content)
    unpack(place, imported.references[0], tmp_path / "out")
    for name in ("data/a.bin", "data/b.bin", "model.bin", "x/c.bin"):
        assert (tmp_path / "out" / name).read_bytes() == content


def test_what_is_damaged_in_the_store_is_fetched(hub: Hub, place: Place, tmp_path: Path) -> None:
    repo = model_repo("Org/Data", many(10) | {"data/big.csv": b"1,2\n" * 5000})
    hub.add(repo)
    first = run_import(place, hub, "Org/Data", ImportOptions(kitfile_text=KITFILE))
    layer = max((tmp_path / "home/store/blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    content = layer.read_bytes()
    layer.write_bytes(content.replace(b"1,2\n", b"6,6\n", 1))
    change(repo, {"data/extra.txt": b"extra"})
    second = run_import(place, hub, "Org/Data", ImportOptions(kitfile_text=KITFILE))
    assert second.fetched_size == 20_000 + 5
    unpack(place, second.references[0], tmp_path / "out")
    assert (tmp_path / "out/data/big.csv").read_bytes() == b"1,2\n" * 5000
    assert first.desc != second.desc


def test_a_directory_of_large_files_is_on_the_disk_once(hub: Hub, place: Place, tmp_path: Path) -> None:
    content = {f"data/{number}.bin": os.urandom(5 * MIB) for number in range(4)}
    hub.add(model_repo("Org/Data", content))
    most = [0]
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.01):
            try:
                most[0] = max(most[0], spent(tmp_path / "home"))
            except FileNotFoundError:
                continue

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        run_import(place, hub, "Org/Data", ImportOptions(kitfile_text=KITFILE))
    finally:
        stop.set()
        watcher.join()
    assert spent(tmp_path / "home") <= 1.02 * 20 * MIB
    assert most[0] <= 1.02 * 20 * MIB
    assert os.listdir(place.store.layout.partial) == []


def test_the_disk_that_is_needed_is_what_is_missing(hub: Hub, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add(model_repo("Org/Data", {"data/a.bin": os.urandom(4 * MIB), "data/b.bin": os.urandom(4 * MIB)}))
    options = ImportOptions(kitfile_text=KITFILE)
    quiet = open_test_place(place.home, Run(concurrency=1))
    size = 8 * MIB + 3 * 512 + 1024  # with three headers, and the end
    monkeypatch.setattr(filesystem, "free_space", lambda _: 8 * MIB)
    with pytest.raises(FileSystemError, match=f"{size} bytes needed"):
        run_import(quiet, hub, "Org/Data", options)
    assert hub.sent == 0
    monkeypatch.setattr(filesystem, "free_space", lambda _: 9 * MIB)
    hub.budget = 3  # the commit, the listing, one file
    with pytest.raises(NetworkError):
        run_import(quiet, hub, "Org/Data", options)
    hub.budget = None
    monkeypatch.setattr(filesystem, "free_space", lambda _: 5 * MIB)
    run_import(quiet, hub, "Org/Data", options)
    assert hub.sent <= 1.01 * 8 * MIB


def test_a_dataset_fits_on_a_disk_that_has_room_for_it(hub: Hub, tmp_path: Path) -> None:
    content = {f"data/{number}.bin": os.urandom(10 * MIB) for number in range(4)}
    hub.add(model_repo("Org/Data", content))
    with small_disk(tmp_path / "disk", "size=48m") as disk:
        imported = run_import(open_test_place(disk / "home"), hub, "Org/Data", ImportOptions(kitfile_text=KITFILE))
    assert imported.size > 40 * MIB


def test_the_same_file_in_many_places_takes_few_open_files(hub: Hub, tmp_path: Path) -> None:
    hub.add(model_repo("Org/Same", {f"{number:03}.json": b'{"a": 1}' for number in range(300)}))
    process = kit(hub, tmp_path / "home", "import", "Org/Same", "--depth", "-1")
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (200, 200))
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == 0, complaint
    assert fetched(hub) < 30


def test_what_prune_and_cache_know_of_imports(hub: Hub, place: Place) -> None:
    hub.add(model_repo("Org/Data", many(10)))
    run_import(place, hub, "Org/Data", ImportOptions(kitfile_text=KITFILE))
    known = cache_info(place)
    assert known.packed >= 2  # what the layer is made of, and where files are in it
    assert cache_clear(place).files >= 2
    assert cache_info(place).packed == 0
    before = fetched(hub)
    run_import(place, hub, "Org/Data", ImportOptions(kitfile_text=KITFILE))
    assert fetched(hub) == before + 10


@pytest.mark.parametrize("rest", [b"", b"docs:\n  - path: only\n  - path: only/below\n"])
def test_the_layers_are_those_of_packing_the_same_files(hub: Hub, place: Place, tmp_path: Path, rest: bytes) -> None:
    files = {
        ".kitignore": b"**/*.tmp\n!data/sub/keep.tmp\n",
        "data/a.txt": b"a",
        "data/b.tmp": b"left out",
        "data/sub/keep.tmp": b"kept",
        "data/sub/deep/x.bin": b"x" * 5000,
        "data/ü.txt": b"",
        "model.bin": b"m" * 2000,
        "only/below/x.txt": b"x",
    }
    hub.add(model_repo("Org/Data", files))
    text = KITFILE + b"  - path: data/sub/deep\n" + rest
    imported = run_import(place, hub, "Org/Data", ImportOptions(kitfile_text=text))
    for name, content in files.items():
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        path.write_bytes(content)
        path.chmod(0o644)
    for path in (tmp_path / "in").rglob("*"):
        if path.is_dir():
            path.chmod(0o755)
    packed = pack(place, tmp_path / "in", PackOptions(kitfile_text=text))
    assert imported.desc == packed.desc
    names = [one.get("name") for one in imported.predicate["buildDefinition"]["resolvedDependencies"]]  # type: ignore[index,call-overload,union-attr]
    below = ["only/below/x.txt"] if rest else []
    assert names == [None, "data/a.txt", "data/sub/deep/x.bin", "data/sub/keep.tmp", "data/ü.txt", *below]


def test_a_generated_kitfile_does_not_name_what_is_ignored(hub: Hub, place: Place, tmp_path: Path) -> None:
    files = {".kitignore": b"secret.txt\ndata\nlib/old\n", "README.md": b"# x\n", "model.bin": b"m" * 2000}
    left_out = {"secret.txt": b"s", "data/a.csv": b"1,2\n", "data/b.csv": b"3,4\n", "lib/old/x.py": b"x"}
    hub.add(model_repo("Org/Ignoring", {**files, **left_out, "lib/new.py": b"y"}))
    imported = run_import(place, hub, "Org/Ignoring")
    unpack(place, imported.references[0], tmp_path / "out")
    assert tree_of(tmp_path / "out").keys() == {"Kitfile", "README.md", "model.bin", "lib/new.py"}
    text = b"manifestVersion: 1.0.0\ndocs: [{path: secret.txt}]\n"
    with pytest.raises(PackError, match=r"secret\.txt is excluded by \.kitignore"):
        run_import(place, hub, "Org/Ignoring", ImportOptions(kitfile_text=text))


def test_every_file_has_its_sha256_in_the_provenance(hub: Hub, place: Place) -> None:
    files = many(5) | {"data/big.csv": b"1,2\n" * 5000, "data/empty": b"", "README.md": b"# hello\n"}
    hub.add(model_repo("Org/Data", files))
    for lost in ("", "", "members", "packed"):
        if lost:
            shutil.rmtree(place.home / "store" / lost)
        imported = run_import(place, hub, "Org/Data")
        said = imported.predicate["buildDefinition"]["resolvedDependencies"]  # type: ignore[index,call-overload]
        digests = {one["name"]: one["digest"]["sha256"] for one in said if "name" in one}  # type: ignore[index,call-overload,union-attr]
        assert digests == {path: hashlib.sha256(content).hexdigest() for path, content in files.items()}  # type: ignore[arg-type]
