"""What is there, what is in it, and what differs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kitops.api.settings import PathLike, Settings, make_place
from kitops.oci.reference import Reference
from kitops.ops.choices import list_texts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kitops.formats.modelpack_fields import Violation
    from kitops.kitfile.schema import Kitfile
    from kitops.oci.gojson import Json
    from kitops.ops.diff import Difference
    from kitops.ops.du import DiskUsage
    from kitops.ops.inspect import Inspected
    from kitops.ops.list import Listed
    from kitops.ops.referrers import Referrer
    from kitops.ops.tensor_diff import TensorDifference
    from kitops.ops.tensors import Tensors
    from kitops.ops.tracked import Compared


def list(  # noqa: A001 - kitops.list is its name
    repository: str | None = None, *, filters: str | Sequence[str] = (), settings: Settings | None = None
) -> Sequence[Listed]:
    """The ModelKits of the store, of a repository in its registry, or of every repository of a registry.

    Args:
        repository: ``"registry.example.com/team/model"``, or a host alone.
        filters: ``"tag=v2*"``, ``"repo=…"``, ``"name=…"``, ``"author=…"``, or a part: ``"datasets:train"``.
        settings: where and how.
    """
    from kitops.ops.list import list_ as work  # noqa: PLC0415 - each verb costs what it needs
    from kitops.ops.list import list_catalog, parse_host  # noqa: PLC0415 - as above
    from kitops.ops.list_filter import ListFilter  # noqa: PLC0415 - as above

    place, wanted = make_place(settings), ListFilter.parse(list_texts(filters))
    if repository is not None and (host := parse_host(repository)) is not None:
        return list_catalog(place, host, wanted=wanted)
    return work(place, None if repository is None else Reference.parse(repository), wanted=wanted)


def info(ref: str, *, remote: bool = False, settings: Settings | None = None) -> Kitfile:
    """The Kitfile of ``ref``."""
    from kitops.ops.info import info as work  # noqa: PLC0415 - as above

    return work(make_place(settings), Reference.parse(ref), remote=remote)


def inspect(ref: str, *, remote: bool = False, settings: Settings | None = None) -> Inspected:
    """Manifest, Kitfile and digest of ``ref``."""
    from kitops.ops.inspect import inspect as work  # noqa: PLC0415 - as above

    return work(make_place(settings), Reference.parse(ref), remote=remote)


def select_field(kitfile: Kitfile, field: str) -> Json:
    """One field of a Kitfile: ``".datasets[0].path"``."""
    from kitops.ops.info import select_field as work  # noqa: PLC0415 - as above

    return work(kitfile, field)


def referrers(
    ref: str, *, remote: bool = False, artifact_type: str | None = None, settings: Settings | None = None
) -> Sequence[Referrer]:
    """What refers to ``ref``: signatures, attestations, and what refers to those."""
    from kitops.ops.referrers import referrers as work  # noqa: PLC0415 - as above

    return work(make_place(settings), Reference.parse(ref), remote=remote, artifact_type=artifact_type)


def diff(a: str, b: str, *, settings: Settings | None = None) -> Difference:
    """What differs between two ModelKits; ``local://`` and ``remote://`` in front say where to look."""
    from kitops.ops.diff import diff as work  # noqa: PLC0415 - as above

    return work(make_place(settings), a, b)


def tensors(ref: str, *, remote: bool = False, settings: Settings | None = None) -> Tensors:
    """The tensors in the safetensors and GGUF files of ``ref``, from their headers: with ``remote`` without a pull."""
    from kitops.ops.tensors import tensors as work  # noqa: PLC0415 - as above

    return work(make_place(settings), Reference.parse(ref), remote=remote)


def diff_tensors(a: str, b: str, *, values: bool | None = None, settings: Settings | None = None) -> TensorDifference:
    """Which tensors differ between two ModelKits; references as for :func:`diff`.

    Args:
        a: the one.
        b: the other.
        values: read values where headers do not tell; None does it where both sides are in the local store.
        settings: where and how.
    """
    from kitops.ops.tensor_diff import tensor_diff as work  # noqa: PLC0415 - as above

    return work(make_place(settings), a, b, values=values)


def status(path: PathLike = ".", ref: str | None = None, *, settings: Settings | None = None) -> Compared:
    """How the directory ``path`` differs from what was unpacked there, or from ``ref``; no file is read."""
    from kitops.ops.status import status as work  # noqa: PLC0415 - as above

    return work(make_place(settings), Path(path), None if ref is None else Reference.parse(ref))


def verify(path: PathLike = ".", ref: str | None = None, *, settings: Settings | None = None) -> Compared:
    """How the content of the directory ``path`` differs from what was unpacked there, or from ``ref``.

    Look at ``is_equal``: that files differ raises nothing.
    """
    from kitops.ops.verify import verify as work  # noqa: PLC0415 - as above

    return work(make_place(settings), Path(path), None if ref is None else Reference.parse(ref))


def validate(
    ref: str, *, remote: bool = False, layers: bool = True, settings: Settings | None = None
) -> Sequence[Violation]:
    """In what ``ref`` is not valid ModelPack, each as ``where`` and ``problem``; empty when it is.

    Args:
        ref: a ModelPack artifact of the store, or with ``remote`` of its registry.
        remote: look in the registry.
        layers: read the layers too, and compare each with its diff ID.
        settings: where and how.
    """
    from kitops.ops.validate import validate as work  # noqa: PLC0415 - as above

    return work(make_place(settings), Reference.parse(ref), remote=remote, layers=layers)


def du(*refs: str, settings: Settings | None = None) -> DiskUsage:
    """What each ModelKit of the store occupies (or only ``refs``), shared bytes counted once."""
    from kitops.ops.du import du as work  # noqa: PLC0415 - as above

    return work(make_place(settings), [Reference.parse(ref) for ref in refs])
