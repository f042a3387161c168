"""Eight processes pack, tag, read, untag, remove and collect garbage in one store: nothing is lost, nothing dangles.

Each process has tags of its own, on manifests of its own that share layers with everybody's: those must always
resolve to what it set, with every blob. Beside them all fight over a few common tags and manifests.
"""

import multiprocessing
import os
import random
import time
from pathlib import Path

import pytest

from kitops.content.protocols import Run
from kitops.errors import NotFoundError
from kitops.oci.manifest import Manifest
from kitops.oci.reference import Reference
from kitops.store import RefDetails, open_store
from kitops.store.gc import collect, free
from kitops.store.graph import walk
from kitops.store.index import dump_index

PROCESSES = 8
SECONDS = float(os.environ.get("KITOPS_CHAOS_SECONDS", "4"))
LAYERS = [bytes([65 + number]) * (1000 + number) for number in range(6)]
REPOSITORIES = [Reference.parse("team/x"), Reference.parse("registry.example.com:5000/team/y")]
TAGS = ["A", "a", "v1", "v2"]


def build(store, lease, name, numbers):
    config = store.blobs.put_bytes(f'{{"package":{{"name":"{name}"}}}}'.encode(), "application/x.config+json", lease)
    layers = [store.blobs.put_bytes(LAYERS[number], "application/octet-stream", lease) for number in numbers]
    manifest = Manifest.build(config=config, layers=layers)
    return store.blobs.put_bytes(manifest.raw, manifest.media_type, lease)


def check_kit(store, ref, desc):
    assert store.refs.resolve(ref) == desc
    for item in walk(store.blobs, desc):
        store.blobs.fetch(item)


class Worker:
    def __init__(self, root, number, seed):
        self.store = open_store(Path(root))
        self.number = number
        self.random = random.Random(seed * 100 + number)
        self.mine = {}
        self.counts = {}

    def step(self):
        verbs = [self.pack_mine, self.check_mine, self.remove_mine, self.pack, self.pack, self.tag, self.untag]
        verbs += [self.remove, self.force, self.collect, self.read]
        verb = self.random.choice(verbs)
        try:
            verb()
            self.counts[verb.__name__] = self.counts.get(verb.__name__, 0) + 1
        except NotFoundError:  # somebody else removed it: the one thing that may happen to common content
            assert verb in (self.tag, self.untag, self.remove, self.force, self.read)

    def some_ref(self):
        return self.random.choice(REPOSITORIES).with_tag(self.random.choice(TAGS))

    def make(self, ref, name, numbers):
        with self.store.lease("pack") as lease:
            desc = build(self.store, lease, name, numbers)
            self.store.refs.tag(ref, desc, RefDetails(name, "", 1), lease)
        return desc

    def pack_mine(self):
        tag = f"mine-{self.number}-{self.random.randrange(3)}"
        ref = self.random.choice(REPOSITORIES).with_tag(tag)
        name = f"mine-{self.number}-{self.random.randrange(4)}-{ref.repository}"
        self.mine[ref] = self.make(ref, name, self.random.sample(range(len(LAYERS)), 2))
        check_kit(self.store, ref, self.mine[ref])

    def check_mine(self):
        for ref, desc in self.mine.items():
            check_kit(self.store, ref, desc)

    def remove_mine(self):
        if self.mine:
            ref = self.random.choice(list(self.mine))
            self.drop(ref, self.mine.pop(ref), must=True)

    def pack(self):
        number = self.random.randrange(5)
        self.make(self.some_ref(), f"common-{number}", [number, (number + 1) % len(LAYERS)])

    def tag(self):
        source, target = self.some_ref(), self.some_ref()
        with self.store.lease("tag") as lease:
            desc = self.store.refs.resolve(source)
            self.store.refs.tag(target, desc, self.store.refs.details(source), lease)

    def untag(self):
        ref = self.some_ref()
        self.store.refs.untag(ref, self.store.refs.resolve(ref))

    def remove(self):
        ref = self.some_ref()
        self.drop(ref, self.store.refs.resolve(ref), must=False)

    def drop(self, ref, desc, *, must):
        removed = self.store.refs.untag(ref, desc)
        assert removed or not must
        if removed and self.store.refs.release(ref, desc.digest):
            free(self.store, [desc.digest])

    def force(self):
        ref = self.some_ref()
        desc = self.store.refs.resolve(ref)
        self.store.refs.remove_root(ref.with_digest(desc.digest))
        free(self.store, [desc.digest])

    def read(self):
        """Whoever removes it meanwhile, all of it can be read to the end."""
        ref = self.some_ref()
        with self.store.lease("read", optional=True) as lease:
            desc = self.store.refs.hold(ref, lease)
            try:
                for item in [*walk(self.store.blobs, desc)] * 10:
                    time.sleep(0.005)
                    self.store.blobs.fetch(item)
            except NotFoundError as error:
                raise AssertionError(f"{ref} was taken from its reader") from error

    def collect(self):
        collect(self.store, grace_seconds=self.random.choice([0, 3600]), run=Run())


def work(root, number, seed, seconds, results):
    worker = Worker(root, number, seed)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        worker.step()
    worker.check_mine()
    results.put((worker.counts, [(str(ref), str(desc.digest)) for ref, desc in worker.mine.items()]))


@pytest.mark.chaos
def test_eight_processes_in_one_store(tmp_path):
    root = tmp_path / "store"
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    seed = random.randrange(1000)
    processes = [
        context.Process(target=work, args=(str(root), number, seed, SECONDS, results)) for number in range(PROCESSES)
    ]
    for process in processes:
        process.start()
    mine, counts = {}, {}
    for _ in processes:
        found, owned = results.get(timeout=SECONDS + 60)
        mine.update(owned)
        for verb, count in found.items():
            counts[verb] = counts.get(verb, 0) + count
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * PROCESSES, f"seed {seed}"
    assert set(counts) >= {"pack_mine", "pack", "tag", "untag", "remove", "force", "collect", "read"}
    check_store(root, mine)


def check_store(root, mine):
    store = open_store(root)
    rows = store.refs.list()
    tagged = {str(row.reference): str(row.desc.digest) for row in rows if row.reference.tag}
    assert {ref: tagged.get(ref) for ref in mine} == mine  # no lost tag
    held = set()
    for row in rows:
        check_kit(store, row.reference, row.desc)  # no lost blob
        assert store.refs.resolve(row.reference.with_digest(row.desc.digest)) == row.desc  # every tag has its root
        held.update(item.digest.encoded for item in walk(store.blobs, row.desc))
    assert (root / "index.json").read_bytes() == dump_index(rows)
    collect(store, grace_seconds=0)
    assert {path.name for path in (root / "blobs" / "sha256").iterdir()} == held  # nothing dangling, nothing too many
    for name in ("leases", "ingest", "partial", "trash/spare"):
        assert list((root / name).iterdir()) == []
    assert [path.name for path in (root / "trash").iterdir()] == ["spare"]
    assert not list(root.glob("refs/*/aside/*"))
