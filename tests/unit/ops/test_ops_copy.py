"""Copy, save, load, referrers; list, tag and remove in registries: over a real socket, against our own registry."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from ops_places import open_network_place
from test_ops_pack import make_project, refs

from any_artifacts import SIGNATURE, put_artifact, put_bytes, put_index, put_signature
from kitops.content.events import Event, Message
from kitops.content.protocols import Run
from kitops.errors import (
    AuthenticationError,
    IntegrityError,
    InvalidValueError,
    KitError,
    NetworkError,
    NotFoundError,
    RegistryError,
)
from kitops.layout.directory import open_directory
from kitops.oci import mediatype
from kitops.oci.annotations import REF_NAME
from kitops.oci.descriptor import Descriptor
from kitops.oci.digest import Digest
from kitops.oci.manifest import Manifest
from kitops.oci.reference import Reference
from kitops.oci.subject import fallback_tag
from kitops.ops.copy import copy, copy_all
from kitops.ops.ends import Origin, Root
from kitops.ops.list import list_, list_catalog, parse_host
from kitops.ops.list_filter import ListFilter
from kitops.ops.load import load
from kitops.ops.location import Location
from kitops.ops.pack import PackOptions, pack
from kitops.ops.place import Connection, Place
from kitops.ops.push import push
from kitops.ops.referrers import collect_referrers, referrers
from kitops.ops.remove import remove, remove_all, remove_remote
from kitops.ops.save import SaveOptions, save
from kitops.ops.tag import tag_remote
from kitops.registry.credentials import CredentialStore
from kitops.registry.network import Network, Patience
from kitops.store import open_store
from kitops.testing import ThrowAwayRegistry
from scripted_server import Said, Seen, scripted_server


@pytest.fixture
def registry() -> Iterator[ThrowAwayRegistry]:
    with ThrowAwayRegistry() as found:
        yield found


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def place(tmp_path: Path, events: list[Event]) -> Place:
    return open_network_place(tmp_path / "here", Run(events.append))


def told(events: list[Event], level: str) -> list[str]:
    return [event.text for event in events if isinstance(event, Message) and event.level == level]


def at(registry: ThrowAwayRegistry, text: str) -> Reference:
    return registry.reference(text)


def go(place: Place, source: object, destination: object, *, recursive: bool = False) -> object:
    return copy(place, Location.parse(str(source)), Location.parse(str(destination)), recursive=recursive)


@pytest.fixture
def signed(place: Place, registry: ThrowAwayRegistry, tmp_path: Path) -> Reference:
    """A ModelKit in the registry with a signature, which is signed too."""
    ref = at(registry, "team/x:v1")
    desc = pack(place, make_project(tmp_path / "p"), PackOptions(references=(ref,))).desc
    push(place, ref)
    with place.registry(ref) as repository:
        put_signature(repository, put_signature(repository, desc, "one"), "two")
    return ref


def texts(place: Place, ref: Reference, *, remote: bool = True) -> list[str]:
    return [one.desc.annotations["org.example.text"] for one in referrers(place, ref, remote=remote)]


def writes(registry: ThrowAwayRegistry) -> list[str]:
    """What was put; a request is noted after its answer, so the registry ends first."""
    registry.stop()
    return [asked.target for asked in registry.asked if asked.method == "PUT"]


# --- locations


@pytest.mark.parametrize(
    ("text", "kind", "what"),
    [
        ("reg.example.com/x:v1", "registry", "reg.example.com/x:v1"),
        ("remote://reg.example.com/x:v1", "registry", "reg.example.com/x:v1"),
        ("docker://reg.example.com/x:v1", "registry", "reg.example.com/x:v1"),
        ("team/x:v1", "store", "team/x:v1"),
        ("store:reg.example.com/x:v1", "store", "reg.example.com/x:v1"),
        ("local://reg.example.com/x", "store", "reg.example.com/x"),
        ("store:", "store", ""),
        ("oci:/a/b", "directory", "/a/b None"),
        ("oci:/a/b:reg:5000/x:v1", "directory", "/a/b reg:5000/x:v1"),
        ("oci-archive:b.tar:v1", "archive", "b.tar v1"),
        (r"oci:C:\a:v1", "directory", r"C:\a v1"),
    ],
)
def test_locations(text: str, kind: str, what: str) -> None:
    found = Location.parse(text)
    assert found.kind == kind
    shown = f"{found.path} {found.name}" if found.path else ",".join(map(str, found.references))
    assert shown == what


@pytest.mark.parametrize("text", ["oci:", "oci-archive::v1", "remote://team/x:v1", "reg.example.com/UPPER"])
def test_what_is_no_location(text: str) -> None:
    with pytest.raises(InvalidValueError):
        Location.parse(text)


# --- copy


@pytest.mark.parametrize("recursive", [False, True])
def test_between_repositories_blobs_are_mounted(
    place: Place, registry: ThrowAwayRegistry, signed: Reference, recursive: bool
) -> None:
    registry.asked.clear()
    done = go(place, signed, at(registry, "other/y"), recursive=recursive)
    assert done.names == (str(at(registry, "other/y:v1")),)
    assert done.mounted == (5 if recursive else 2)
    assert done.copied.moved_size == 0
    assert texts(place, at(registry, "other/y:v1")) == (["one", "two"] if recursive else [])
    assert not [target for target in writes(registry) if "/blobs/" in target]


def test_through_every_kind_of_place(
    place: Place, registry: ThrowAwayRegistry, signed: Reference, tmp_path: Path
) -> None:
    away = open_network_place(tmp_path / "away")
    ends = [
        str(signed),
        f"oci:{tmp_path / 'layout'}",
        f"oci-archive:{tmp_path / 'one.tar'}:renamed",
        f"oci:{tmp_path / 'layout2'}:{at(registry, 'third/z:v3')}",
        "store:",
        f"{registry.address}/fourth/w:v1,v2",
    ]
    first = None
    for source, destination in pairwise(ends):
        start = f"store:{at(registry, 'third/z:v3')}" if source == "store:" else source
        done = go(away, start, destination, recursive=True)
        first = first or done.desc.digest
        assert done.desc.digest == first
        assert len(done.referrers) == 2
    assert texts(away, at(registry, "fourth/w:v2")) == ["one", "two"]
    assert [row.tags for row in list_(away, at(registry, "fourth/w"))] == [("v1", "v2")]
    assert [(row.repo, row.tags) for row in list_(away)] == [(at(registry, "third/z").locator, ("v3",))]
    assert texts(away, at(registry, "third/z:v3"), remote=False) == ["one", "two"]


def test_the_signature_is_there_before_the_tag(place: Place, registry: ThrowAwayRegistry, signed: Reference) -> None:
    registry.asked.clear()
    go(place, signed, at(registry, "other/y:v9"), recursive=True)
    puts = writes(registry)
    assert puts[-1] == "/v2/other/y/manifests/v9"
    assert len(puts) >= 4  # three manifests and the tag, and a list of referrers where the registry keeps none


def test_within_a_repository_only_the_tag_is_set(place: Place, registry: ThrowAwayRegistry, signed: Reference) -> None:
    registry.asked.clear()
    go(place, signed, at(registry, "team/x:stable"))
    assert list_(place, at(registry, "team/x"))[0].tags == ("stable", "v1")
    assert writes(registry) == ["/v2/team/x/manifests/stable"]


def test_indexes_and_unknown_types_are_copied_whole(place: Place, registry: ThrowAwayRegistry) -> None:
    source = at(registry, "a/many:v1")
    with place.registry(source) as repository:
        children = [put_artifact(repository, text.encode()) for text in ("amd64", "arm64")]
        put_signature(repository, children[1], "of a child")
        root = put_index(repository, *children)
        repository.tag(root, "v1")
    done = go(place, source, at(registry, "b/many"), recursive=True)
    assert done.desc.media_type == mediatype.INDEX
    assert texts(place, at(registry, "b/many:v1")) == ["of a child"]
    go(place, source, "store:", recursive=True)
    assert texts(place, source, remote=False) == ["of a child"]
    go(place, f"store:{source}", at(registry, "c/many:again"), recursive=True)
    assert texts(place, at(registry, "c/many:again")) == ["of a child"]


def test_a_digest_is_copied_without_a_tag(
    place: Place, registry: ThrowAwayRegistry, signed: Reference, tmp_path: Path
) -> None:
    digest = go(place, signed, f"oci:{tmp_path / 'layout'}").desc.digest
    assert go(place, signed.with_digest(digest), at(registry, "other/y")).names == (
        f"{at(registry, 'other/y')}@{digest}",
    )
    with place.registry(at(registry, "other/y")) as repository:
        assert repository.resolve(str(digest)).digest == digest
    go(place, signed.with_digest(digest), "store:")
    assert str(digest) in {row.digest for row in list_(place)}
    other = Digest.of(b"other")
    with pytest.raises(InvalidValueError, match="cannot be written"):
        go(place, signed, at(registry, "other/y").with_digest(other))


def test_copying_again_moves_nothing(
    place: Place, registry: ThrowAwayRegistry, signed: Reference, tmp_path: Path
) -> None:
    for _ in range(2):
        done = go(place, signed, f"oci:{tmp_path / 'layout'}", recursive=True)
    assert done.copied.moved == 0
    go(place, signed, f"oci-archive:{tmp_path / 'a.tar'}")
    with pytest.raises(InvalidValueError, match="is there already"):
        go(place, signed, f"oci-archive:{tmp_path / 'a.tar'}")


def test_a_whole_repository(place: Place, registry: ThrowAwayRegistry, signed: Reference, tmp_path: Path) -> None:
    tag_remote(place, signed, [at(registry, "team/x:v2")])
    done = copy_all(
        place,
        Location.parse(str(at(registry, "team/x"))),
        Location.parse(str(at(registry, "mirror/x"))),
        recursive=True,
    )
    assert len(done) == 2
    assert list_(place, at(registry, "mirror/x"))[0].tags == ("v1", "v2")
    assert texts(place, at(registry, "mirror/x:v2")) == ["one", "two"]
    into = Location.parse(f"oci:{tmp_path / 'layout'}")
    assert len(copy_all(place, Location.parse(str(at(registry, "mirror/x"))), into)) == 2
    assert len(copy_all(place, into, Location.parse(str(at(registry, "back/x"))))) == 2
    for source, destination in [(str(signed), "oci:x"), (str(at(registry, "team/x")), "oci-archive:x.tar")]:
        with pytest.raises(InvalidValueError):
            copy_all(place, Location.parse(source), Location.parse(destination))


def test_what_a_list_shows_wrongly_is_left_out(place: Place, tmp_path: Path, events: list[Event]) -> None:
    layout = open_directory(str(tmp_path / "layout"), Run(), create=True)
    subject = put_artifact(layout, b"weights")
    stranger, gone = put_artifact(layout, b"refers to nothing"), Descriptor(mediatype.MANIFEST, Digest.of(b"x"), 4)
    old = put_bytes(layout, b"{}", "application/vnd.oci.artifact.manifest.v1+json")
    origin = Origin(layout, lambda digest: [stranger, gone, old], lambda _: Root(subject, "v1"), list)
    assert collect_referrers(origin, subject, place.run) == ()
    warnings = told(events, "warning")
    assert len(warnings) == 3
    assert "is none: left out" in warnings[0]
    assert "has no blobs/" in warnings[1]
    assert "neither manifest nor index" in warnings[2]


def test_a_damaged_layout_is_not_copied(place: Place, registry: ThrowAwayRegistry, tmp_path: Path) -> None:
    layout = open_directory(str(tmp_path / "layout"), Run(), create=True)
    layout.tag(put_artifact(layout, b"right"), "v1")
    (tmp_path / "layout" / "blobs" / "sha256" / Digest.of(b"right").encoded).write_bytes(b"wrong")
    with pytest.raises(IntegrityError):
        go(place, f"oci:{tmp_path / 'layout'}", at(registry, "x:v1"))
    with pytest.raises(IntegrityError):
        load(place, str(tmp_path / "layout"))
    assert list_(place) == []
    with place.registry(at(registry, "x")) as repository, pytest.raises(NotFoundError):
        repository.resolve("v1")


# --- save and load


def test_saved_and_loaded(place: Place, registry: ThrowAwayRegistry, signed: Reference, tmp_path: Path) -> None:
    pack(place, make_project(tmp_path / "q"), PackOptions(references=refs("local/q:v1", "local/q:v2")))
    file = str(tmp_path / "kits.tar")
    saved = save(place, [signed, *refs("local/q:v1"), *refs("local/q:v2")], file, SaveOptions(remote=True))
    assert saved.size == os.path.getsize(file)
    assert len(saved.kits) == 3
    assert len(saved.referrers) == 2
    away = open_network_place(tmp_path / "away")
    loaded = load(away, file)
    assert {str(ref) for ref, _ in loaded.kits} == {str(signed), "local/q:v1", "local/q:v2"}
    assert {(row.repo, row.tags) for row in list_(away)} == {(signed.locator, ("v1",)), ("local/q", ("v1", "v2"))}
    assert texts(away, signed, remote=False) == ["one", "two"]
    again = str(tmp_path / "again.tar")
    save(away, [*refs("local/q:v2"), signed, *refs("local/q:v1")], again)
    assert Path(again).read_bytes() == Path(file).read_bytes()
    assert load(away, file).copied.moved == 0


def test_through_a_pipe(place: Place, signed: Reference, tmp_path: Path) -> None:
    away = open_network_place(tmp_path / "away")
    reading, writing = os.pipe()
    failures: list[BaseException] = []

    def send() -> None:
        try:
            with open(writing, "wb", buffering=0) as file:
                save(place, [signed], file.write, SaveOptions(remote=True))
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        load(away, reading)
    finally:
        os.close(reading)
        thread.join()
    assert failures == []
    assert texts(away, signed, remote=False) == ["one", "two"]


def test_parents_go_with_their_children(place: Place, registry: ThrowAwayRegistry, tmp_path: Path) -> None:
    parent, child = at(registry, "base:v1"), at(registry, "tuned:v1")
    context = make_project(tmp_path / "p")
    pack(place, context, PackOptions(references=(parent,)))
    text = f"model: {{path: '{parent}'}}\ndocs: [{{path: readme}}]\n".encode()
    (context / "readme").write_text("read me")
    pack(place, context, PackOptions(kitfile_text=text, references=(child,)))
    saved = save(place, [child], str(tmp_path / "with.tar"))
    assert [name for name, _ in saved.kits] == [str(child), str(parent)]
    alone = save(place, [child], str(tmp_path / "alone.tar"), SaveOptions(parents=False))
    assert [name for name, _ in alone.kits] == [str(child)]


def test_bare_tags_need_a_repository(place: Place, tmp_path: Path, events: list[Event]) -> None:
    layout = open_directory(str(tmp_path / "layout"), Run(), create=True)
    one = put_artifact(layout, b"1")
    layout.tag(one, "v1")
    path = str(tmp_path / "layout")
    assert [str(ref) for ref, _ in load(place, path).kits] == [str(one.digest)]
    assert "load --tag" in told(events, "warning")[0]
    loaded = load(place, path, repository=Reference.parse("team/x"))
    assert [str(ref) for ref, _ in loaded.kits] == ["team/x:v1"]


def test_the_only_artifact_without_a_name_gets_that_of_the_option(place: Place, tmp_path: Path) -> None:
    layout = open_directory(str(tmp_path / "layout"), Run(), create=True)
    one = put_artifact(layout, b"1")
    layout.keep(one)
    layout.keep(put_signature(layout, one))
    loaded = load(place, str(tmp_path / "layout"), repository=Reference.parse("team/x:v1"))
    assert [str(ref) for ref, _ in loaded.kits] == ["team/x:v1"]
    assert len(loaded.referrers) == 1
    layout.keep(put_artifact(layout, b"2"))
    loaded = load(place, str(tmp_path / "layout"), repository=Reference.parse("team/y:v1"))
    assert all(ref.tag is None and ref.repository == "team/y" for ref, _ in loaded.kits)


def test_lists_of_referrers_in_a_layout_are_no_artifacts(
    place: Place, registry: ThrowAwayRegistry, tmp_path: Path
) -> None:
    """As other tools write them, who copy a registry's fallback tags along."""
    layout = open_directory(str(tmp_path / "layout"), Run(), create=True)
    subject = put_artifact(layout, b"weights")
    layout.tag(subject, "team/x:v1")
    gone = Descriptor(mediatype.MANIFEST, Digest.of(b"gone"), 4)
    layout.tag(put_index(layout, put_signature(layout, subject, "one"), gone), fallback_tag(subject.digest))
    loaded = load(place, str(tmp_path / "layout"))
    assert [str(ref) for ref, _ in loaded.kits] == ["team/x:v1"]
    assert texts(place, Reference.parse("team/x:v1"), remote=False) == ["one"]
    path = Location.parse(f"oci:{tmp_path / 'layout'}")
    assert len(copy_all(place, path, Location.parse(str(at(registry, "y"))), recursive=True)) == 1
    assert go(place, f"oci:{tmp_path / 'layout'}", at(registry, "z"), recursive=True).desc.digest == subject.digest
    assert texts(place, at(registry, "z:v1")) == ["one"]


def test_a_tag_that_a_load_moves_is_told(place: Place, tmp_path: Path, events: list[Event]) -> None:
    layout = open_directory(str(tmp_path / "layout"), Run(), create=True)
    one, two = put_artifact(layout, b"1"), put_artifact(layout, b"2")
    layout.tag(one, "team/x:v1")
    load(place, str(tmp_path / "layout"))
    layout.tag(two, "team/x:v1")
    load(place, str(tmp_path / "layout"))
    load(place, str(tmp_path / "layout"))
    assert told(events, "warning") == [f"team/x:v1 was {one.digest} before"]


@pytest.mark.parametrize(("name", "tag"), [("v7", "v7"), ("team/x:v8", "v8"), ("no tag at all!", "latest")])
def test_names_of_layouts_become_tags(
    place: Place, registry: ThrowAwayRegistry, tmp_path: Path, name: str, tag: str
) -> None:
    layout = open_directory(str(tmp_path / "layout"), Run(), create=True)
    layout.tag(put_artifact(layout, b"1"), name)
    assert go(place, f"oci:{tmp_path / 'layout'}", at(registry, "y")).names == (str(at(registry, f"y:{tag}")),)


def test_a_copy_comes_from_one_artifact(place: Place, registry: ThrowAwayRegistry, tmp_path: Path) -> None:
    for source, text in [(f"{registry.address}/x:a,b", "not from"), ("store:", "not from nothing")]:
        with pytest.raises(InvalidValueError, match=text):
            go(place, source, f"oci:{tmp_path / 'layout'}")
    with pytest.raises(NotFoundError, match="nothing has a tag"):
        copy_all(place, Location.parse("store:team/x"), Location.parse(f"oci:{tmp_path / 'layout'}"))


def test_what_cannot_be_loaded(place: Place, tmp_path: Path) -> None:
    layout = open_directory(str(tmp_path / "layout"), Run(), create=True)
    with pytest.raises(NotFoundError, match="is empty"):
        load(place, str(tmp_path / "layout"))
    layout.keep(put_bytes(layout, b"no manifest", "application/vnd.example"))
    with pytest.raises(InvalidValueError, match="is no manifest"):
        load(place, str(tmp_path / "layout"))


def test_what_cannot_be_saved(place: Place, tmp_path: Path) -> None:
    for references, kind in [
        ((), InvalidValueError),
        (refs("team/x"), InvalidValueError),
        (refs("x:1"), NotFoundError),
    ]:
        with pytest.raises(kind):
            save(place, references, str(tmp_path / "a.tar"))
    assert not (tmp_path / "a.tar").exists()


# --- list


def test_filters_of_the_store(place: Place, tmp_path: Path) -> None:
    context = make_project(tmp_path / "p")
    pack(place, context, PackOptions(references=refs("team/x:v1", "team/x:v2", "other/y:v1")))
    assert len(list_(place)) == 2

    def shown(*filters: str) -> list[str]:
        rows = list_(place, wanted=ListFilter.parse(filters))
        return [f"{row.repo}:{','.join(row.tags)}" for row in rows]

    assert shown("repo=team/*") == ["team/x:v1,v2"]
    assert shown("tag=v2") == ["team/x:v2"]
    assert shown("tag=v2", "tag=v1") == ["other/y:v1", "team/x:v1,v2"]
    assert shown("tag=v1", "repo=other/*") == ["other/y:v1"]
    assert shown("name=nothing") == []
    assert shown("author=") == ["other/y:v1", "team/x:v1,v2"]
    assert shown("model") == ["other/y:v1", "team/x:v1,v2"]
    assert shown("prompts") == []
    assert shown("prompts", "kitfile") == ["other/y:v1", "team/x:v1,v2"]


@pytest.mark.parametrize(
    ("text", "hint"), [("tga=x", "did you mean tag=?"), ("xyzzy=1", "keys are"), ("modl", "model")]
)
def test_what_is_no_filter(text: str, hint: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        ListFilter.parse([text])
    assert hint in str(caught.value.hint)


def test_remote_listings_ask_little(place: Place, registry: ThrowAwayRegistry, signed: Reference) -> None:
    tag_remote(place, signed, [at(registry, f"team/x:v{number}") for number in range(2, 9)])
    with place.registry(signed) as repository:
        repository.tag(put_artifact(repository, b"no ModelKit"), "thing")
    registry.asked.clear()
    (row,) = list_(place, at(registry, "team/x"))
    assert row.tags == tuple(f"v{number}" for number in range(1, 9))
    asked = [one for one in registry.asked if one.method != "PUT"]  # which may be noted late
    assert len(asked) <= 1 + 9 + 1
    (row,) = list_(place, at(registry, "team/x"), wanted=ListFilter.parse(["tag=v[23]", "model"]))
    assert row.tags == ("v2", "v3")
    assert list_(place, at(registry, "team/x"), wanted=ListFilter.parse(["prompts"])) == []
    assert list_(place, at(registry, "team/x"), wanted=ListFilter.parse(["name=nothing"])) == []


CONFIGS = [
    b'{"manifestVersion":"1.0.0","package":{"name":"%b"},"docs":[{"path":"x"}]}' % name for name in (b"good", b"bad")
]
CONFIG, BAD_CONFIG = (Descriptor.of(raw, "application/vnd.kitops.modelkit.config.v1+json") for raw in CONFIGS)
KITS = [
    Manifest.build(config=config, layers=[Descriptor.of(b"x", "application/vnd.kitops.modelkit.docs.v1.tar")])
    for config in (CONFIG, BAD_CONFIG)
]
LYING = Said(200, {"Docker-Content-Digest": str(Digest.of(b"x"))}, b"{}")


def half_readable(tags: Sequence[str], spoilt: str, said: Said) -> Callable[[Seen], Said]:
    """A repository with a ModelKit at ``good`` and one at ``bad``; ``said`` is its answer to what is ``spoilt``."""

    def script(seen: Seen) -> Said:
        name = seen.target.rpartition("/")[2]
        if name == "list":
            return Said(body=json.dumps({"tags": list(tags)}).encode())
        if name == spoilt:
            return said
        if "/blobs/" in seen.target:
            return Said(body=CONFIGS[name == str(BAD_CONFIG.digest)])
        return Said(200, {"Content-Type": mediatype.MANIFEST}, KITS[name == "bad"].raw)

    return script


@pytest.fixture
def hasty(tmp_path: Path, events: list[Event]) -> Place:
    run = Run(events.append)
    network = Network(plain_http=True, patience=Patience(attempts=2, pause=0.001))
    connection = Connection(network, CredentialStore(tmp_path / "credentials.json"))
    return Place(tmp_path, open_store(tmp_path / "store", run=run), lambda: connection, run)


@pytest.mark.parametrize(("said", "says"), [(Said(403), "refused"), (Said(500), "answered 500"), (LYING, "is damaged")])
def test_a_tag_that_cannot_be_read_does_not_hide_the_others(
    hasty: Place, events: list[Event], said: Said, says: str
) -> None:
    with scripted_server(half_readable(["good", "bad"], "bad", said)) as server:
        repository = Reference.parse(f"{server.address}/team/x")
        (row,) = list_(hasty, repository)
        assert (row.tags, row.name) == (("good",), "good")
        (warning,) = told(events, "warning")
        assert warning.startswith("team/x:bad is left out: ")
        assert says in warning
        with pytest.raises(KitError, match=says):
            list_(hasty, repository.with_tag("bad"))
    with scripted_server(half_readable(["bad"], "bad", said)) as server, pytest.raises(KitError, match=says):
        list_(hasty, Reference.parse(f"{server.address}/team/x"))


@pytest.mark.parametrize(
    ("said", "says"), [(Said(403), "refused"), (Said(500), "answered 500"), (Said(body=b"z"), "is damaged")]
)
def test_a_config_that_cannot_be_read_is_a_row_with_unknowns(
    hasty: Place, events: list[Event], said: Said, says: str
) -> None:
    with scripted_server(half_readable(["good", "bad"], str(BAD_CONFIG.digest), said)) as server:
        rows = list_(hasty, Reference.parse(f"{server.address}/team/x"))
    assert {(row.tags, row.name) for row in rows} == {(("good",), "good"), (("bad",), None)}
    (warning,) = told(events, "warning")
    assert warning.startswith("team/x:bad cannot be read: ")
    assert says in warning


def test_a_connection_that_breaks_is_no_shorter_list(hasty: Place) -> None:
    script = half_readable(["good", "bad"], "bad", Said(length=9))
    with scripted_server(script) as server, pytest.raises(NetworkError):
        list_(hasty, Reference.parse(f"{server.address}/team/x"))


@pytest.mark.parametrize("status", [403, 500])
def test_a_repository_that_cannot_be_read_does_not_hide_the_others(
    hasty: Place, events: list[Event], status: int
) -> None:
    names = ["bad", "good"]

    def script(seen: Seen) -> Said:
        if "_catalog" in seen.target:
            return Said(body=json.dumps({"repositories": names}).encode())
        return Said(status) if seen.target.startswith("/v2/bad/") else half_readable(["good"], "", Said())(seen)

    with scripted_server(script) as server:
        assert [row.repo for row in list_catalog(hasty, server.address)] == ["good"]
        assert [text.partition(":")[0] for text in told(events, "warning")] == ["bad is left out"]
        names.remove("good")
        with pytest.raises(AuthenticationError if status == 403 else RegistryError):
            list_catalog(hasty, server.address)


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("registry.example.com", "registry.example.com"),
        ("registry.example.com/", "registry.example.com"),
        ("localhost:5000", "localhost:5000"),
        ("localhost", "localhost"),
        ("team/x", None),
        ("model", None),
        ("reg.example.com/x", None),
    ],
)
def test_hosts_are_told_from_repositories(text: str, host: str | None) -> None:
    assert parse_host(text) == host


def catalog(seen: Seen) -> Said:
    pages = {
        "/v2/_catalog?n=1000": Said(200, {"Link": '</v2/_catalog?last=a>; rel="next"'}, b'{"repositories":["a"]}'),
        "/v2/_catalog?last=a": Said(200, {}, b'{"repositories":["b","secret"]}'),
        "/v2/a/tags/list": Said(404),
        "/v2/b/tags/list": Said(200, {}, b'{"tags":["v1"]}'),
        "/v2/secret/tags/list": Said(403),
    }
    return pages.get(seen.target, Said(404))


def test_a_catalog_comes_in_pages(place: Place, events: list[Event]) -> None:
    with scripted_server(catalog) as server:
        assert list_catalog(place, server.address) == []
        assert {seen.target for seen in server.seen} >= {"/v2/b/tags/list", "/v2/b/manifests/v1"}
        server.seen.clear()
        list_catalog(place, server.address, wanted=ListFilter.parse(["repo=b"]))
        assert "/v2/secret/tags/list" not in {seen.target for seen in server.seen}
    assert told(events, "warning")[0].startswith("secret is left out")


def test_names_that_no_repository_can_have_are_left_out_of_a_catalog(place: Place, events: list[Event]) -> None:
    names = json.dumps({"repositories": ["ok", "half\ud800", "../etc", "A B", "x:v1"]}).encode()

    def script(seen: Seen) -> Said:
        return Said(body=names) if "_catalog" in seen.target else Said(404)

    with scripted_server(script) as server:
        assert list_catalog(place, server.address) == []
        assert [seen.target for seen in server.seen][1:] == ["/v2/ok/tags/list"]
    assert [text.partition(" ")[0] for text in told(events, "warning")] == [
        r"'half\\ud800'",
        "'../etc'",
        "'A",
        "'x:v1'",
    ]


@pytest.mark.parametrize(
    ("name", "shown"), [("team/x\ud800:v1", "team/x\ufffd:v1"), ("half\udfff", "half\ufffd"), ("\udc80", "\ufffd")]
)
def test_a_name_with_half_a_character_in_a_layout(
    place: Place, events: list[Event], tmp_path: Path, name: str, shown: str
) -> None:
    layout = tmp_path / "layout"
    desc = put_artifact(open_directory(str(layout), Run(), create=True), b"1")
    table = {"schemaVersion": 2, "manifests": [desc.to_json() | {"annotations": {REF_NAME: name}}]}
    (layout / "index.json").write_text(json.dumps(table))
    assert load(place, str(layout)).kits[0][1].digest == desc.digest
    assert told(events, "warning")[0].startswith(f"{shown} is no full reference")
    with pytest.raises(NotFoundError) as caught:
        go(place, f"oci:{layout}:nothing", "store:x:v1")
    assert caught.value.hint == f"it has {shown}"
    assert go(place, f"oci:{layout}", f"oci:{tmp_path / 'other'}").names == (shown,)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (Said(404), "does not tell its repositories"),
        (Said(405), "does not tell its repositories"),
        (Said(200, {}, b"[]"), "not a list"),
        (Said(200, {}, b'{"repositories":[1]}'), "not a list"),
    ],
)
def test_registries_without_a_catalog(place: Place, said: Said, message: str) -> None:
    with scripted_server(lambda seen: said) as server, pytest.raises(RegistryError, match=message):
        list_catalog(place, server.address)


# --- tag and remove in a registry


def test_a_tag_in_another_repository_mounts(place: Place, registry: ThrowAwayRegistry, signed: Reference) -> None:
    registry.asked.clear()
    tag_remote(place, signed, [at(registry, "promoted/x:prod")])
    assert list_(place, at(registry, "promoted/x"))[0].tags == ("prod",)
    assert not [target for target in writes(registry) if "/blobs/" in target]


def test_what_cannot_be_tagged_there(place: Place, signed: Reference) -> None:
    with pytest.raises(InvalidValueError, match="is not in the registry") as caught:
        tag_remote(place, signed, refs("other.example.com/x:v1"))
    assert caught.value.hint == f"kit copy {signed} other.example.com/x:v1"
    with pytest.raises(InvalidValueError, match="names no registry"):
        tag_remote(place, signed, refs("x:v1"))


def test_removing_a_subject_tells_its_referrers(
    place: Place, registry: ThrowAwayRegistry, signed: Reference, events: list[Event]
) -> None:
    assert len(remove_remote(place, [signed], force=True).deleted) == 1
    (warning,) = told(events, "warning")
    assert warning.startswith(f"what refers to {signed} stays (1: {SIGNATURE})")


def test_removing_a_subject_with_its_referrers(place: Place, registry: ThrowAwayRegistry, signed: Reference) -> None:
    with place.registry(signed) as repository:
        digest = repository.resolve("v1").digest
        assert len(remove_remote(place, [signed], force=True, referrers=True).deleted) == 3
        assert repository.referrers(digest) == []
        assert repository.tags() == []


def test_several_tags_of_one_are_removed_once(place: Place, registry: ThrowAwayRegistry, signed: Reference) -> None:
    tag_remote(place, signed, [at(registry, "team/x:v2")])
    both = [at(registry, "team/x:v1"), at(registry, "team/x:v2")]
    with place.registry(signed) as repository:
        digest = repository.resolve("v1").digest
    done = remove_remote(place, [both[0].with_digest(digest), both[1].with_digest(digest)])
    assert len(done.deleted) == 1


def test_registries_that_do_not_untag_are_told(place: Place) -> None:
    headers = {"Content-Type": mediatype.MANIFEST, "Docker-Content-Digest": str(Digest.of(b"x"))}

    def script(seen: Seen) -> Said:
        return Said(405) if seen.method == "DELETE" else Said(200, headers, b"x")

    with scripted_server(script) as server, pytest.raises(RegistryError, match="taking the tag from") as caught:
        remove_remote(place, refs(f"{server.address}/x:v1"))
    assert "--remote --force" in str(caught.value.hint)


# --- referrers in the store


def test_referrers_go_with_what_they_refer_to(place: Place, signed: Reference, events: list[Event]) -> None:
    remove_all(place, force=True)
    go(place, signed, "store:", recursive=True)
    assert [row.tags for row in list_(place)] == [("v1",)]
    assert remove_all(place).deleted == ()
    assert texts(place, signed, remote=False) == ["one", "two"]
    removed = remove(place, [signed])
    assert len(removed.deleted) == 3
    assert list_(place) == []
    assert place.store.usage().blobs == 0


def test_orphans_are_removed_with_what_has_no_tag(place: Place, signed: Reference, tmp_path: Path) -> None:
    layout = open_directory(str(tmp_path / "layout"), Run(), create=True)
    subject = put_artifact(layout, b"somewhere else")
    layout.keep(put_signature(layout, subject))
    remove_all(place, force=True)
    load(place, str(tmp_path / "layout"))
    assert list_(place) == []
    assert len(remove_all(place).deleted) == 1


def test_types_of_referrers_are_chosen(place: Place, signed: Reference) -> None:
    assert len(referrers(place, signed, remote=True, artifact_type=SIGNATURE)) == 2
    assert referrers(place, signed, remote=True, artifact_type="other") == ()
    (first, _) = referrers(place, signed, remote=True)
    shown = first.to_json()
    assert shown["artifactType"] == SIGNATURE
    assert shown["annotations"] == {"org.example.text": "one"}
