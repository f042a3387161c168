"""Which layers a Kitfile asks for, and which part a layer belongs to: of a few parts, and of thousands."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from kitops.formats.config import Config, PartDigests
from kitops.formats.part_finder import PartFinder
from kitops.formats.parts import Kind, Part, list_parts
from kitops.formats.plan import plan_layers
from kitops.kitfile.schema import Code, Dataset, Docs, Kitfile, Prompt
from kitops.layers.codec import Codec
from kitops.layers.write import Format
from kitops.oci.descriptor import Descriptor
from kitops.oci.digest import Digest

DIGESTS = [Digest.of(bytes([number])) for number in range(3)]


def test_a_layer_knows_the_layers_below_it_alone() -> None:
    code = ("a", "a/b", "a-b", "a/b/c", "ab", "é/x", "é", ".")
    kitfile = Kitfile(code=tuple(map(Code, code)), prompts=(Prompt(path="a/b"), Prompt(path=".")))
    planned = plan_layers(kitfile, form=Format.TAR, codec=Codec.NONE, parent_paths=["a/p", "p"])
    assert {(layer.part.kind, layer.part.path): set(layer.deeper) for layer in planned} == {
        (Kind.CODE, "a"): {"a/b", "a/b/c", "a/p"},
        (Kind.CODE, "a/b"): {"a/b/c"},
        (Kind.CODE, "a-b"): set(),
        (Kind.CODE, "a/b/c"): set(),
        (Kind.CODE, "ab"): set(),
        (Kind.CODE, "é/x"): set(),
        (Kind.CODE, "é"): {"é/x"},
        (Kind.CODE, "."): {*code, "a/p", "p"} - {"."},
        (Kind.PROMPT, "a/b"): {"a/b/c"},
        (Kind.PROMPT, "."): {*code, "a/p", "p"} - {"."},
    }


def naive(waiting: list[Part], known: Config, desc: Descriptor, path: str, kind: Kind | None) -> Part | None:
    """By digest and path, else by digest, else (without a digest) by path, else the first."""
    candidates = [part for part in waiting if kind in (None, part.kind)]
    by_digest = [part for part in candidates if part in known.digests and known.digests[part].digest == desc.digest]
    unknown = [part for part in candidates if part not in known.digests]
    chosen = by_digest or unknown
    found = next((part for part in chosen if part.path == path), chosen[0] if chosen else None)
    if found is not None and found.path == (path or found.path):
        waiting.remove(found)
    return found


@pytest.mark.parametrize("seed", range(40))
def test_parts_are_found_by_digest_path_and_order(seed: int) -> None:
    choose = random.Random(seed)
    names = ["a", "b", "c", "d"]
    kitfile = Kitfile(
        code=tuple(Code(name) for name in choose.sample(names, 3)),
        datasets=tuple(Dataset(path=name) for name in choose.sample(names, 2)),
        docs=tuple(Docs(name) for name in choose.sample(names, 2)),
        prompts=tuple(Prompt(path=choose.choice(names)) for _ in range(3)),
    )
    told = [part for part in list_parts(kitfile) if choose.random() < 0.7]
    known = Config(kitfile, {part: PartDigests(digest := choose.choice(DIGESTS), digest) for part in told})
    finder, waiting = PartFinder(kitfile), [*list_parts(kitfile)]
    for _ in range(12):
        desc = Descriptor("application/x", choose.choice(DIGESTS), 1)
        path = choose.choice(["", *names])
        kind = choose.choice([None, Kind.CODE, Kind.DATASET, Kind.DOCS, Kind.PROMPT])
        assert finder.in_order(desc, path, kind, known) == naive(waiting, known, desc, path, kind)


@pytest.mark.parametrize("digests", [DIGESTS[:1], [Digest.of(str(number).encode()) for number in range(20_000)], []])
def test_thousands_of_parts(digests: Sequence[Digest]) -> None:
    """Looking at each part for each layer would take minutes, and knowing all others of each some GiB."""
    kitfile = Kitfile(code=tuple(Code(f"f{number}") for number in range(20_000)))
    planned = plan_layers(kitfile, form=Format.TAR, codec=Codec.NONE)
    assert not any(layer.deeper for layer in planned)
    parts = list_parts(kitfile)
    of_parts = [digests[number % len(digests)] for number in range(len(parts))] if digests else []
    known = Config(kitfile, {part: PartDigests(digest, digest) for part, digest in zip(parts, of_parts, strict=False)})
    finder = PartFinder(kitfile)
    for number, part in enumerate(parts):
        desc = Descriptor("application/x", of_parts[number] if digests else DIGESTS[0], 1)
        assert finder.in_order(desc, part.path, Kind.CODE, known) == part
