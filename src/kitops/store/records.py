"""What a ref file holds: a descriptor, and what ``list`` shows of the ModelKit without opening a blob."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kitops.errors import InvalidValueError, StoreError
from kitops.oci import gojson
from kitops.oci.descriptor import Descriptor, expect_list, expect_map, expect_text
from kitops.oci.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Callable

    from kitops.oci.gojson import Json
    from kitops.oci.reference import Reference


@dataclass(frozen=True, slots=True)
class RefDetails:
    """What ``list`` shows of a ModelKit.

    Args:
        name: the package's name, empty where there is none.
        author: its first author, empty where there is none.
        size: bytes of all its layers.
        absent: layers that a filtered pull left out.
        subject: the manifest that it refers to (a signature, an attestation); None for what stands by itself.
    """

    name: str = ""
    author: str = ""
    size: int = 0
    absent: tuple[Digest, ...] = ()
    subject: Digest | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """A ref file: what it points to."""

    desc: Descriptor
    row: RefDetails


@dataclass(frozen=True, slots=True)
class Listing:
    """A row of ``list``: a tag, or a manifest that is kept without one (``reference.tag`` is None then).

    ``reference.digest`` is set where there is no tag.
    """

    reference: Reference
    desc: Descriptor
    row: RefDetails


def dump_record(record: Record) -> bytes:
    """The bytes of a ref file."""
    kit: dict[str, Json] = {"name": record.row.name, "author": record.row.author, "size": record.row.size}
    if record.row.absent:
        kit["absent"] = [str(digest) for digest in record.row.absent]
    if record.row.subject is not None:
        kit["subject"] = str(record.row.subject)
    bare = Descriptor(
        record.desc.media_type, record.desc.digest, record.desc.size, artifact_type=record.desc.artifact_type
    )
    return gojson.dumps({**bare.to_json(), "kit": kit})


def parse_record(content: bytes, path: str) -> Record:
    """Read a ref file.

    Raises:
        StoreError: it is damaged.
    """
    try:
        table: Json = json.loads(content)
        kit = expect_map(expect_map(table, "ref").get("kit"), "kit")
        size = kit.get("size")
        if type(size) is not int:
            raise InvalidValueError("kit.size must be a number of bytes")
        absent = tuple(Digest.parse(expect_text(item, "absent")) for item in expect_list(kit.get("absent"), "absent"))
        subject = None if "subject" not in kit else Digest.parse(expect_text(kit["subject"], "subject"))
        name, author = expect_text(kit.get("name"), "name"), expect_text(kit.get("author"), "author")
        row = RefDetails(name, author, size, absent, subject)
        return Record(Descriptor.from_json(table, "ref"), row)
    except (ValueError, RecursionError, InvalidValueError) as error:
        raise StoreError(
            f"the ref {path} is damaged: {error}", hint="remove that file, then tag or pull the ModelKit again"
        ) from error


def merge_absent(row: RefDetails, exists: Callable[[Digest], bool]) -> RefDetails:
    """``row`` without those absent layers that are there by now."""
    absent = tuple(digest for digest in row.absent if not exists(digest))
    return row if absent == row.absent else replace(row, absent=absent)
