"""File names for repositories, tags and digests that never meet, on any file system.

A case-folding file system takes ``V1`` and ``v1`` for one name; Windows drops a dot at the end and reserves ``con``
or ``aux.txt``. So a tag's file carries the lower-case tag and a mask of its capitals, and what Windows would not take
is written another way.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

from kitops.oci.digest import Digest
from kitops.oci.reference import LOCAL_REGISTRY, Reference

UNNAMED: Final = "_"
"""What stands for the repository of ModelKits without a name; no repository can be called so."""

_SLUG_LENGTH = 60
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\.|$)", re.ASCII)


def repository_name(ref: Reference) -> str:
    """The true name of the repository of ``ref``: ``registry/repository``, ``localhost/_`` without one."""
    return f"{ref.registry}/{ref.repository or UNNAMED}"


def repository_reference(name: str) -> Reference:
    """The reference, without tag and digest, of a true name."""
    registry, _, repository = name.partition("/")
    return Reference(registry, "" if repository == UNNAMED and registry == LOCAL_REGISTRY else repository)


def repository_directory(ref: Reference) -> str:
    """``<slug>-<16 hex>``: a name for people to recognise and the start of the SHA-256 of the true name."""
    slug = re.sub(r"[^a-z0-9]+", "-", ref.locator.lower(), flags=re.ASCII).strip("-")[:_SLUG_LENGTH] or UNNAMED
    return f"{slug}-{hashlib.sha256(repository_name(ref).encode()).hexdigest()[:16]}"


def encode_tag(tag: str) -> str:
    """The file name of a tag: ``V1-rc`` is ``v1-rc~1``, bit i of the mask standing for letter i.

    A mask of 0 keeps a dot from the end of the name, a tilde in front keeps the name from being a device of Windows.
    """
    folded = tag.lower()
    mask = sum(1 << place for place, letter in enumerate(tag) if letter != folded[place])
    suffix = f"~{mask:x}" if mask or tag.endswith(".") else ""
    prefix = "~" if _RESERVED.match(folded) else ""
    return f"{prefix}{folded}{suffix}"


def decode_tag(name: str) -> str:
    """The tag of a file name that :func:`encode_tag` made."""
    folded, tilde, mask_text = name.removeprefix("~").partition("~")
    if not tilde:
        return folded
    mask = int(mask_text, 16)
    return "".join(letter.upper() if mask >> place & 1 else letter for place, letter in enumerate(folded))


def encode_digest(digest: Digest) -> str:
    """``sha256-<hex>``: the digest without the colon, which Windows does not take."""
    return f"{digest.algorithm}-{digest.encoded}"


def decode_digest(name: str) -> Digest:
    """The digest of a file name.

    Raises:
        InvalidValueError: the name is not one of :func:`encode_digest`.
    """
    return Digest.parse(name.replace("-", ":", 1))
