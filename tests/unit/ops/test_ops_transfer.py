"""Push, pull, and looking at what is in a registry: over a real socket, against our own registry."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ops_places import open_network_place
from test_ops_pack import make_project, refs

from kitops.content.events import Event, Finished, Message, Started
from kitops.content.protocols import Run
from kitops.errors import IntegrityError, InvalidValueError, NotFoundError
from kitops.formats.modelkit import read_modelkit
from kitops.formats.select import Filter
from kitops.oci.reference import Reference
from kitops.ops.info import info
from kitops.ops.inspect import inspect
from kitops.ops.list import list_, parse_host
from kitops.ops.pack import PackOptions, pack
from kitops.ops.plan import plan_push
from kitops.ops.pull import pull
from kitops.ops.push import push
from kitops.ops.remove import remove_remote
from kitops.ops.unpack import unpack
from kitops.server import RegistryServer


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    with RegistryServer(tmp_path / "registry") as server:
        yield server.address


def test_a_kit_goes_there_and_back(registry: str, tmp_path: Path) -> None:
    here, there = open_network_place(tmp_path / "here"), open_network_place(tmp_path / "there")
    ref = Reference.parse(f"{registry}/team/x:v1")
    packed = pack(here, make_project(tmp_path / "p"), PackOptions(references=(ref,)))
    pushed = push(here, ref)
    assert pushed.desc == packed.desc
    assert pushed.copied[0].moved == 3
    (pulled,) = pull(there, [ref])
    assert pulled.desc.digest == packed.desc.digest
    assert list_(there) == list_(here)
    assert there.store.blobs.fetch(packed.desc) == here.store.blobs.fetch(packed.desc)


def damage(path: Path) -> None:
    """Change a byte; the length stays."""
    content = bytearray(path.read_bytes())
    content[600 % len(content)] ^= 1
    path.write_bytes(content)


def test_what_is_damaged_in_the_store_is_fetched_again_when_asked(registry: str, tmp_path: Path) -> None:
    events: list[Event] = []
    place = open_network_place(tmp_path / "here", Run(events.append))
    ref = Reference.parse(f"{registry}/team/x:v1")
    packed = pack(place, make_project(tmp_path / "p"), PackOptions(references=(ref,)))
    push(place, ref)
    kit = read_modelkit(place.store.blobs, packed.desc)
    damage(place.store.blobs.path(kit.layers[0].desc.digest))
    (pulled,) = pull(place, [ref])
    assert pulled.copied.moved == 0
    with pytest.raises(IntegrityError) as failure:
        unpack(place, ref, tmp_path / "out")
    assert failure.value.hint == f"`kit pull --verify {ref}` fetches it again, `kit pack --no-cache` makes it again"
    for digest in (packed.desc.digest, kit.manifest.config.digest):
        damage(place.store.blobs.path(digest))
    events.clear()
    pull(place, [ref], verify=True)
    warnings = [event.text for event in events if isinstance(event, Message) and event.level == "warning"]
    assert sorted(text.partition(":")[0] for text in warnings) == [
        "config is damaged in the store", "manifest is damaged in the store", "model.bin is damaged in the store"
    ]  # fmt: skip
    unpack(place, ref, tmp_path / "out")
    assert (tmp_path / "out/model.bin").read_bytes() == b"weights"
    events.clear()
    (pulled,) = pull(place, [ref], verify=True)
    assert pulled.copied.moved == 0
    assert not [event for event in events if isinstance(event, Message) and event.level == "warning"]


def test_a_damaged_layer_is_made_again_without_the_cache(tmp_path: Path) -> None:
    place = open_network_place(tmp_path / "here")
    context = make_project(tmp_path / "p")
    ref = Reference.parse("team/x:v1")
    packed = pack(place, context, PackOptions(references=(ref,)))
    damage(place.store.blobs.path(read_modelkit(place.store.blobs, packed.desc).layers[0].desc.digest))
    with pytest.raises(IntegrityError) as failure:
        unpack(place, ref, tmp_path / "out")
    assert failure.value.hint == "`kit pack --no-cache` makes it again"
    again = pack(place, context, PackOptions(references=(ref,), cache=False))
    assert (again.desc, again.new_size) == (packed.desc, 0)
    unpack(place, ref, tmp_path / "out")


def test_what_is_there_is_not_sent_again(registry: str, tmp_path: Path) -> None:
    events: list[Event] = []
    place = open_network_place(tmp_path / "here", Run(events.append))
    pack(place, make_project(tmp_path / "p"), PackOptions(references=refs("x:v1")))
    targets = refs(f"{registry}/x:a", f"{registry}/x:b", f"{registry}/y:a")
    assert [copied.moved for copied in push(place, Reference.parse("x:v1"), targets).copied] == [3, 1]
    assert {event.outcome for event in events if isinstance(event, Finished)} == {"done", "mounted"}
    events.clear()
    again = push(place, Reference.parse("x:v1"), targets)
    assert [copied.moved for copied in again.copied] == [0, 0]
    assert {event.outcome for event in events if isinstance(event, Finished)} == {"exists"}
    assert [row.tags for row in list_(place, Reference.parse(f"{registry}/x"))] == [("a", "b")]


def test_remote_kits_are_looked_at_without_pulling(registry: str, tmp_path: Path) -> None:
    place = open_network_place(tmp_path / "here")
    ref = Reference.parse(f"{registry}/x:v1")
    packed = pack(place, make_project(tmp_path / "p"), PackOptions(references=(ref,)))
    push(place, ref)
    away = open_network_place(tmp_path / "away")
    assert info(away, ref, remote=True) == packed.kitfile
    assert inspect(away, ref, remote=True).kit.desc.digest == packed.desc.digest
    with pytest.raises(NotFoundError):
        info(away, ref)
    (row,) = list_(away, Reference.parse(f"{registry}/x"))
    assert (row.repo, row.tags, row.size) == ("x", ("v1",), 2048)


def test_parents_are_pulled_with_the_child(registry: str, tmp_path: Path) -> None:
    place = open_network_place(tmp_path / "here")
    parent, child = Reference.parse(f"{registry}/parent:v1"), Reference.parse(f"{registry}/child:v1")
    context = make_project(tmp_path / "p")
    pack(place, context, PackOptions(references=(parent,)))
    push(place, parent)
    text = f"model: {{path: '{parent}'}}\ndocs: [{{path: readme}}]\n".encode()
    (context / "readme").write_text("read me")
    fresh = open_network_place(tmp_path / "fresh")
    pack(fresh, context, PackOptions(kitfile_text=text, references=(child,)))
    push(fresh, child)
    events: list[Event] = []
    away = open_network_place(tmp_path / "away", Run(events.append))
    pull(away, [child])
    assert [row.repo for row in list_(away)] == [f"{registry}/child", f"{registry}/parent"]
    assert any(isinstance(event, Message) and str(parent) in event.text for event in events)


def test_a_parent_that_no_registry_has_stops_no_pull(registry: str, tmp_path: Path) -> None:
    here = open_network_place(tmp_path / "here")
    child = Reference.parse(f"{registry}/child:v1")
    context = make_project(tmp_path / "p")
    pack(here, context, PackOptions(references=refs("parent:v1")))
    pack(here, context, PackOptions(kitfile_text=b"model: {path: 'parent:v1'}\n", references=(child,)))
    push(here, child)
    events: list[Event] = []
    away = open_network_place(tmp_path / "away", Run(events.append))
    pull(away, [child])
    text = f"{child} takes its model from parent:v1, which names no registry and is not in the local store"
    assert Message("warning", text) in events
    with pytest.raises(NotFoundError, match=r"model\.path: parent:v1 is not in the local store"):
        unpack(away, child, tmp_path / "out")
    pack(away, context, PackOptions(references=refs("parent:v1")))
    events.clear()
    pull(away, [child])
    assert not [event for event in events if isinstance(event, Message) and event.level == "warning"]
    assert unpack(away, child, tmp_path / "out").written


def test_a_pull_by_digest_needs_no_tag(registry: str, tmp_path: Path) -> None:
    place = open_network_place(tmp_path / "here")
    ref = Reference.parse(f"{registry}/x:v1")
    packed = pack(place, make_project(tmp_path / "p"), PackOptions(references=(ref,)))
    push(place, ref)
    away = open_network_place(tmp_path / "away")
    pull(away, [ref.with_digest(packed.desc.digest)])
    assert [(row.tags, row.digest) for row in list_(away)] == [((), str(packed.desc.digest))]


def test_remote_tags_and_kits_are_removed(registry: str, tmp_path: Path) -> None:
    place = open_network_place(tmp_path / "here")
    pack(place, make_project(tmp_path / "p"), PackOptions(references=refs("x:v1")))
    push(place, Reference.parse("x:v1"), refs(f"{registry}/x:a", f"{registry}/x:b", f"{registry}/x:c"))
    assert [str(ref.tag) for ref in remove_remote(place, refs(f"{registry}/x:a")).untagged] == ["a"]
    assert [row.tags for row in list_(place, Reference.parse(f"{registry}/x"))] == [("b", "c")]
    assert len(remove_remote(place, refs(f"{registry}/x:b"), force=True).deleted) == 1
    with pytest.raises(NotFoundError):
        inspect(place, Reference.parse(f"{registry}/x:c"), remote=True)


@pytest.mark.parametrize("text", ["x:v1", "sha256:" + "a" * 64])
def test_what_names_no_registry_is_told_so(text: str, tmp_path: Path) -> None:
    place = open_network_place(tmp_path / "here")
    with pytest.raises(InvalidValueError, match="names no registry"):
        pull(place, refs(text))


def test_a_push_without_a_registry_tells_the_command_that_has_one(tmp_path: Path) -> None:
    place = open_network_place(tmp_path / "here")
    for attempt in (push, plan_push):
        with pytest.raises(InvalidValueError) as caught:
            attempt(place, Reference.parse("x:v1"))
        assert caught.value.hint == "kit push x:v1 registry.example.com/x:v1"
    with pytest.raises(InvalidValueError) as caught:
        push(place, Reference.parse("x:v1"), refs("team/x:v1"))
    assert caught.value.hint == "put the registry's host in front: registry.example.com/team/x:v1"


def test_a_local_repository_that_is_asked_of_no_registry(tmp_path: Path) -> None:
    for text, wanted in (("x", "repo=x"), ("x:v1", "repo=x --filter tag=v1"), ("my.x:v1", "repo=my.x --filter tag=v1")):
        assert parse_host(text) is None
        with pytest.raises(InvalidValueError) as caught:
            list_(open_network_place(tmp_path / "here"), Reference.parse(text))
        assert f"`kit list --filter {wanted}`" in (caught.value.hint or "")
    assert [parse_host(text) for text in ("x:50", "a.b", "a.b:50/", "[::1]", "localhost")] == [
        "x:50", "a.b", "a.b:50", "[::1]", "localhost"
    ]  # fmt: skip
    with pytest.raises(InvalidValueError) as caught:
        parse_host("x:v1/")
    assert caught.value.message == "registry 'x:v1' is not a host"


def test_a_glob_that_stays_in_its_directory_is_told(registry: str, tmp_path: Path) -> None:
    place = open_network_place(tmp_path / "here")
    project = make_project(tmp_path / "p", "manifestVersion: 1.0.0\nmodel: {path: deep/model.bin}\n")
    (project / "deep").mkdir()
    (project / "model.bin").rename(project / "deep/model.bin")
    ref = Reference.parse(f"{registry}/x:v1")
    pack(place, project, PackOptions(references=(ref,)))
    push(place, ref)
    with pytest.raises(NotFoundError) as caught:
        pull(place, [ref], [Filter.parse("model:*.bin")])
    assert caught.value.hint == f"`kit info --remote {ref}` shows names and paths; in a glob only ** crosses a slash"
    assert pull(place, [ref], [Filter.parse("model:**.bin")])[0].left_out == ()


def test_what_is_not_there(registry: str, tmp_path: Path) -> None:
    place = open_network_place(tmp_path / "here")
    with pytest.raises(NotFoundError) as caught:
        pull(place, refs(f"{registry}/x:v1"))
    assert caught.value.hint == f"check the tag (`kit list {registry}/x` shows them), and `kit login` if it is private"
    with pytest.raises(NotFoundError):
        push(place, Reference.parse(f"{registry}/x:v1"))
    assert list_(place) == []


def test_progress_calls_layers_by_their_paths(registry: str, tmp_path: Path) -> None:
    events: list[Event] = []
    place = open_network_place(tmp_path / "here", Run(events.append))
    there = open_network_place(tmp_path / "there", Run(events.append))
    ref = Reference.parse(f"{registry}/team/x:v1")
    pack(place, make_project(tmp_path / "p"), PackOptions(references=(ref,)))
    events.clear()
    push(place, ref)
    pushed = [event.label for event in events if isinstance(event, Started)]
    events.clear()
    pull(there, [ref])
    pulled = [event.label for event in events if isinstance(event, Started)]
    assert sorted(pushed) == sorted(pulled) == ["config", "model.bin"]


def test_a_config_that_is_damaged_here_stops_no_push_to_where_it_is(registry: str, tmp_path: Path) -> None:
    place = open_network_place(tmp_path / "here")
    ref = Reference.parse(f"{registry}/team/x:v1")
    packed = pack(place, make_project(tmp_path / "p"), PackOptions(references=(ref,)))
    push(place, ref)
    damage(place.store.blobs.path(read_modelkit(place.store.blobs, packed.desc).manifest.config.digest))
    assert push(place, ref).copied[0].moved == 0
