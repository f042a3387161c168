"""Conversions inside a registry, and artifacts of any type on their way."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ops_places import open_network_place
from test_ops_convert import go, pack_tiny, read
from test_ops_modelpack import make_project

from any_artifacts import put_artifact, put_index
from kitops.errors import InvalidValueError, NotFoundError
from kitops.formats.select import Filter
from kitops.oci.reference import Reference
from kitops.ops.place import Place
from kitops.ops.plan import plan_push
from kitops.ops.pull import plan_pull, pull
from kitops.ops.push import push
from kitops.testing import ThrowAwayRegistry


@pytest.fixture
def registry() -> Iterator[ThrowAwayRegistry]:
    with ThrowAwayRegistry() as found:
        yield found


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return open_network_place(tmp_path / "here")


@pytest.fixture
def there(place: Place, registry: ThrowAwayRegistry, tmp_path: Path) -> Reference:
    """A ModelKit in the registry; the store has it too."""
    pack_tiny(place, make_project(tmp_path / "p"), compression="gzip")
    ref = Reference.parse(f"{registry.address}/team/x:v1")
    push(place, Reference.parse("tiny:v1"), [ref])
    return ref


@pytest.mark.parametrize("headers", [False, True, None])
def test_the_registry_gives_what_the_store_would(headers: Any, there: Reference, place: Place, tmp_path: Path) -> None:
    away = open_network_place(tmp_path / "away")
    done = go(away, str(there), "modelpack", remote=True, headers=headers)
    assert done.desc == go(place, "tiny:v1", "modelpack", headers=headers).desc
    assert away.store.refs.list() == []
    pull(away, [done.reference])
    assert read(away, str(done.reference)).manifest.raw == read(place, "tiny:v1-modelpack").manifest.raw


def test_other_repositories_and_what_a_registry_cannot_do(
    there: Reference, place: Place, registry: ThrowAwayRegistry
) -> None:
    same = go(place, str(there), "modelkit", f"{registry.address}/team/y:v1", remote=True)
    assert same.desc == place.store.refs.resolve(Reference.parse("tiny:v1"))
    with pytest.raises(InvalidValueError, match="names no registry"):
        go(place, str(there), "modelpack", "local:v1", remote=True)
    with pytest.raises(InvalidValueError, match="would have to be made again") as caught:
        go(place, str(there), "modelpack", layer_format="raw", remote=True)
    target = there.with_tag(f"{there.tag}-modelpack")
    by_hand = f"kit pull {there}; kit convert {there} {target} --to modelpack; kit push {target}"
    assert caught.value.hint == by_hand
    with pytest.raises(NotFoundError):
        go(place, f"{there.with_tag('none')}", "modelpack", remote=True)


@pytest.mark.parametrize("is_index", [False, True])
def test_plans_of_what_nobody_understands(is_index: Any, place: Place, registry: ThrowAwayRegistry) -> None:
    ref = Reference.parse(f"{registry.address}/team/strange:v1")
    with place.registry(ref) as repository:
        desc = put_artifact(repository, b"one", b"two")
        if is_index:
            desc = put_index(repository, desc)
        repository.tag(desc, "v1")
    expected = 5 if is_index else 4
    plan = plan_pull(place, [ref])
    assert (len(plan.items), {item.state for item in plan.items}) == (expected, {"new"})
    pulled = pull(place, [ref])
    assert (pulled[0].desc.digest, pulled[0].copied.moved) == (desc.digest, expected)
    pushed = plan_push(place, ref, [dataclasses.replace(ref, tag="v2")])
    assert (len(pushed.items), {item.state for item in pushed.items}) == (expected, {"exists"})
    with pytest.raises(InvalidValueError, match="no parts that a filter could ask for"):
        pull(place, [ref], [Filter.parse("model")])
