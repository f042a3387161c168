"""Pull in parts, and what is planned before anything moves: over a real socket, against our own registry."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ops_places import no_network, open_network_place
from test_ops_pack import refs

import kitops
from kitops.cli._plan import format_plan
from kitops.content.events import Event, Message
from kitops.content.protocols import Run
from kitops.errors import FileSystemError, NotFoundError
from kitops.formats.select import Filter
from kitops.oci.reference import Reference
from kitops.ops import plan as planning
from kitops.ops.copy import copy
from kitops.ops.diff import diff
from kitops.ops.inspect import inspect
from kitops.ops.list import list_
from kitops.ops.location import Location
from kitops.ops.pack import PackOptions, pack
from kitops.ops.place import Place
from kitops.ops.plan import Plan, plan_push
from kitops.ops.pull import plan_pull, pull
from kitops.ops.push import push
from kitops.ops.remove import remove
from kitops.ops.tag import tag
from kitops.ops.tensors import tensors
from kitops.ops.unpack import UnpackOptions, unpack
from kitops.registry.network import Network
from kitops.server import RegistryServer
from kitops.store.gc import collect

MODEL = (Filter.parse("model"),)
DOCS = (Filter.parse("docs"),)
KITFILE = "model: {path: model.bin}\ndatasets: [{path: data.csv}]\ndocs: [{path: readme}]\n"


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    with RegistryServer(tmp_path / "registry") as server:
        yield server.address


@pytest.fixture
def ref(registry: str, tmp_path: Path) -> Reference:
    """A kit of three layers in the registry."""
    return publish(tmp_path, f"{registry}/team/x:v1", KITFILE)


def publish(tmp_path: Path, name: str, kitfile: str) -> Reference:
    place = open_network_place(tmp_path / "author")
    context = tmp_path / "project"
    context.mkdir(exist_ok=True)
    for file in ("model.bin", "data.csv", "readme", "model.safetensors"):
        (context / file).write_bytes(file.encode() * 1000)
    found = Reference.parse(name)
    pack(place, context, PackOptions(kitfile_text=kitfile.encode(), references=(found,)))
    push(place, found)
    return found


def publish_other(tmp_path: Path, ref: Reference) -> Reference:
    """A kit in the same repository whose model has other bytes."""
    other = ref.with_tag("other")
    (tmp_path / "project/model.safetensors").write_bytes(b"other")
    place = open_network_place(tmp_path / "author")
    text = b"model: {path: model.safetensors}\ndocs: [{path: readme}]\n"
    pack(place, tmp_path / "project", PackOptions(kitfile_text=text, references=(other,)))
    push(place, other)
    return other


def offline(place: Place) -> Place:
    return Place(place.home, place.store, no_network, place.run)


def files(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()} - {".kitops-unpacked.json"}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return open_network_place(tmp_path / "away")


def test_only_what_is_asked_for_comes(place: Place, ref: Reference, tmp_path: Path) -> None:
    (pulled,) = pull(place, [ref], MODEL)
    assert len(pulled.left_out) == 2
    assert place.store.refs.details(ref).absent == pulled.left_out
    assert not any(place.store.blobs.exists(digest) for digest in pulled.left_out)
    unpack(offline(place), ref, tmp_path / "out", UnpackOptions(filters=MODEL))
    assert files(tmp_path / "out") == {"model.bin"}


def test_the_rest_of_an_unpack_comes_from_the_registry(ref: Reference, tmp_path: Path) -> None:
    events: list[Event] = []
    place = open_network_place(tmp_path / "away", Run(events.append))
    pull(place, [ref], MODEL)
    unpack(place, ref, tmp_path / "out")
    assert files(tmp_path / "out") == {"model.bin", "data.csv", "readme", "Kitfile"}
    assert any(isinstance(event, Message) and "the rest comes from" in event.text for event in events)


def test_the_rest_is_not_there_for_who_may_only_look_into_the_store(
    place: Place, ref: Reference, tmp_path: Path
) -> None:
    pull(place, [ref], MODEL)
    with pytest.raises(NotFoundError, match="a filtered pull left it out") as caught:
        unpack(place, ref, tmp_path / "out", UnpackOptions(where="local"))
    assert caught.value.hint == f"`kit pull {ref}` completes it"
    assert not (tmp_path / "out").exists()


def test_looking_into_what_was_left_out_says_so(place: Place, tmp_path: Path, registry: str) -> None:
    ref = publish(tmp_path, f"{registry}/team/w:v1", "model: {path: model.safetensors}\ndocs: [{path: readme}]\n")
    pull(place, [ref], DOCS)
    looks = (
        lambda: tensors(place, ref),
        lambda: diff(place, f"local://{ref}", f"remote://{publish_other(tmp_path, ref)}"),
    )
    for look in looks:
        with pytest.raises(NotFoundError, match=f"of {ref} is not in the store: a filtered pull left it out") as caught:
            look()
        assert caught.value.hint == f"`kit pull {ref}` completes it"


def test_a_lost_layer_is_told_from_one_that_was_left_out(place: Place, ref: Reference, tmp_path: Path) -> None:
    pull(place, [ref], MODEL)
    kept = inspect(place, ref).kit.layers[0].desc.digest
    place.store.blobs.path(kept).unlink()
    with pytest.raises(NotFoundError, match="is lost from the store"):
        unpack(place, ref, tmp_path / "out")


def test_a_part_under_a_local_name_is_completed_by_pulling_the_other(
    place: Place, ref: Reference, tmp_path: Path
) -> None:
    pull(place, [ref], MODEL)
    local = Reference.parse("l:1")
    tag(place, ref, [local])
    with pytest.raises(NotFoundError, match="of l:1 is not in the store: a filtered pull left it out") as caught:
        unpack(place, local, tmp_path / "out")
    assert caught.value.hint == f"`kit pull {ref}` completes it"
    with pytest.raises(NotFoundError, match="l:1 is not whole in the store") as caught:
        copy(place, Location.parse("local://l:1"), Location.parse(f"oci:{tmp_path}/layout"))
    assert caught.value.hint == f"kit pull {ref}"
    remove(place, [ref])
    with pytest.raises(NotFoundError) as caught:
        unpack(place, local, tmp_path / "out")
    assert caught.value.hint == "pull it again from where it came"


def test_a_listing_tells_a_part(place: Place, ref: Reference) -> None:
    pull(place, [ref], MODEL)
    (row,) = list_(place)
    assert row.partial
    assert row.to_json()["partial"] is True
    pull(place, [ref])
    (row,) = list_(place)
    assert not row.partial
    assert "partial" not in row.to_json()


def test_a_later_pull_completes_it(place: Place, ref: Reference, tmp_path: Path) -> None:
    pull(place, [ref], MODEL)
    (second,) = pull(place, [ref], DOCS)
    assert len(second.left_out) == 2
    assert len(place.store.refs.details(ref).absent) == 1  # the model stays
    (third,) = pull(place, [ref])
    assert (third.left_out, third.copied.moved) == ((), 1)  # the data
    assert place.store.refs.details(ref).absent == ()
    unpack(offline(place), ref, tmp_path / "out")
    assert files(tmp_path / "out") == {"model.bin", "data.csv", "readme", "Kitfile"}


def test_a_filter_takes_nothing_away(place: Place, ref: Reference) -> None:
    pull(place, [ref])
    pull(place, [ref], MODEL)
    assert place.store.refs.details(ref).absent == ()


def test_other_verbs_take_a_part_for_a_kit(place: Place, ref: Reference, registry: str) -> None:
    (pulled,) = pull(place, [ref], MODEL)
    collect(place.store, grace_seconds=0)
    other = Reference.parse(f"{registry}/team/y:v2")
    tag(place, ref, [other])
    collect(place.store, grace_seconds=0)
    assert [row.repo for row in list_(place)] == [f"{registry}/team/x", f"{registry}/team/y"]
    assert inspect(place, other).kit.size == inspect(place, ref, remote=True).kit.size
    assert place.store.refs.details(other).absent == pulled.left_out
    remove(place, [ref])
    remove(place, [other])
    assert place.store.usage().blobs == 0


def test_the_parts_that_are_not_here_are_mounted_where_the_registry_is_the_same(
    place: Place, ref: Reference, registry: str, tmp_path: Path
) -> None:
    pull(place, [ref], MODEL)
    target = Reference.parse(f"{registry}/other/x:v1")
    push(place, ref, [target])
    fresh = open_network_place(tmp_path / "fresh")
    pull(fresh, [target])
    unpack(fresh, target, tmp_path / "out")
    assert (tmp_path / "out" / "readme").read_bytes() == b"readme" * 1000


def states(plan: Plan) -> list[str]:
    return [item.state for item in plan.items]


def test_a_plan_knows_what_will_be_mounted(place: Place, ref: Reference, registry: str) -> None:
    pull(place, [ref])
    there, too = (Reference.parse(f"{registry}/other/{name}:v1") for name in ("x", "y"))
    plan = plan_push(place, ref, [there, too])
    assert states(plan) == ["new", *["mountable"] * 4] * 2
    manifest = plan.items[0].size
    assert plan.transfer == 2 * manifest
    assert plan.to_json()["mountable"] == 2 * sum(item.size for item in plan.items[1:5])
    assert "taken over within the registry: 5" in format_plan(plan)
    done = push(place, ref, [there, too])
    assert [one.moved_size for one in done.copied] == [0, 0]  # manifests are not counted there
    assert states(plan_push(place, ref, [there])) == ["exists"] * 5


def test_a_plan_believes_no_neighbour_that_is_gone(place: Place, ref: Reference, registry: str, tmp_path: Path) -> None:
    pull(place, [ref])
    stranger = Reference.parse(f"{registry}/never/pushed:v1")
    tag(place, ref, [stranger])
    remove(place, [ref])
    target = Reference.parse(f"{registry}/other/x:v1")
    assert states(plan_push(place, stranger, [target])) == ["new"] * 5
    assert states(plan_push(place, stranger, [target, target.with_tag("v2")])) == ["new"] * 5
    assert states(plan_push(place, stranger, [target, stranger])) == ["new"] * 6 + ["mountable"] * 4


def test_a_plan_of_what_is_not_all_here(place: Place, ref: Reference, registry: str) -> None:
    (pulled,) = pull(place, [ref], MODEL)
    assert len(pulled.left_out) == 2
    target = Reference.parse(f"{registry}/other/x:v1")
    assert states(plan_push(place, ref, [target])) == ["new", *["mountable"] * 4]


def test_a_part_is_not_pushed_to_a_registry_that_lacks_the_rest(place: Place, ref: Reference, tmp_path: Path) -> None:
    pull(place, [ref], MODEL)
    with RegistryServer(tmp_path / "elsewhere") as elsewhere:
        target = Reference.parse(f"{elsewhere.address}/x:v1")
        assert {item.state for item in plan_push(place, ref, [target]).items} == {"new", "missing"}
        with pytest.raises(NotFoundError, match="a filtered pull left it out"):
            push(place, ref, [target])
        assert not any(path.is_file() for path in (tmp_path / "elsewhere").rglob("data"))


def test_parents_are_filtered_too(place: Place, ref: Reference, registry: str, tmp_path: Path) -> None:
    child = publish(tmp_path, f"{registry}/team/child:v1", f"model: {{path: '{ref}'}}\ndocs: [{{path: readme}}]\n")
    pull(place, [child], DOCS)
    assert len(place.store.refs.details(ref).absent) == 2  # the two kits share the readme
    unpack(offline(place), child, tmp_path / "docs", UnpackOptions(filters=DOCS))
    assert files(tmp_path / "docs") == {"readme"}
    pull(place, [child], MODEL)
    unpack(offline(place), child, tmp_path / "model", UnpackOptions(filters=MODEL))
    assert files(tmp_path / "model") == {"model.bin"}
    assert len(place.store.refs.details(ref).absent) == 1


def test_a_filter_that_fits_nothing(place: Place, ref: Reference) -> None:
    with pytest.raises(NotFoundError, match="no part of"):
        pull(place, [ref], [Filter.parse("prompts")])
    pull(place, [ref], [Filter.parse("kitfile")])
    assert len(place.store.refs.details(ref).absent) == 3


def test_the_plan_of_a_pull(place: Place, ref: Reference) -> None:
    plan = plan_pull(place, [ref], MODEL)
    assert not place.store.layout.is_there
    assert [item.state for item in plan.items] == ["new", "new", "new", "left-out", "left-out"]
    model = plan.items[2]
    assert (model.label, model.present) == ("model.bin", 0)
    assert plan.transfer == plan.size_of("new") > model.size
    assert plan.needed is not None
    assert plan.needed >= plan.transfer
    pull(place, [ref], MODEL)
    plan = plan_pull(place, [ref])
    assert [item.state for item in plan.items] == ["exists", "exists", "exists", "new", "new"]
    assert plan.to_json()["exists"] == plan.size_of("exists") > 0


def test_what_does_not_fit_is_refused_before_anything_is_written(
    place: Place, ref: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "free_space", lambda path: 1000)
    plan = plan_pull(place, [ref])
    assert not plan.fits
    with pytest.raises(FileSystemError, match=f"{plan.needed} bytes needed, 1000 bytes free"):
        pull(place, [ref])
    assert not place.store.layout.is_there


def test_the_plan_of_a_push(place: Place, ref: Reference, registry: str) -> None:
    pull(place, [ref])
    assert {item.state for item in plan_push(place, ref).items} == {"exists"}
    plan = plan_push(place, ref, refs(f"{registry}/new/x:a", f"{registry}/new/x:b"))
    assert [item.state for item in plan.items] == ["new", *["mountable"] * 4]
    assert plan.transfer == plan.size_of("new")
    assert (plan.needed, plan.fits) == (None, True)


def test_the_library_takes_filters_and_tells_plans(ref: Reference, registry: str, tmp_path: Path) -> None:
    settings = kitops.Settings(home=tmp_path / "library", network=Network(plain_http=True))
    plan = kitops.plan_pull(str(ref), filters=["model"], settings=settings)
    pulled = kitops.pull(str(ref), filters=["model"], settings=settings)
    assert {item.digest for item in plan.items if item.state == "left-out"} == set(pulled.left_out)
    assert kitops.plan_pull(str(ref), filters="model", settings=settings).size_of("left-out") == plan.size_of(
        "left-out"
    )
    assert kitops.pull(str(ref), filters="model", settings=settings).left_out == pulled.left_out
    plan = kitops.plan_push(str(ref), f"{registry}/new/x:v1", settings=settings)
    assert (plan.size_of("missing"), plan.size_of("mountable") > 0) == (0, True)
    with RegistryServer(tmp_path / "elsewhere") as elsewhere:
        assert kitops.plan_push(str(ref), f"{elsewhere.address}/x:v1", settings=settings).size_of("missing") > 0
