"""What is known of registries beforehand. Everybody else's habits are found out on the way (``limits``)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Quirks:
    """One registry's habits.

    Args:
        chunks: whether a blob may come in several requests.
        least: bytes of a chunk at least, the last excepted.
        most: bytes of one request's body at most; None where nothing is known.
        allows: how its owner lets it take other types of artifact.
    """

    chunks: bool = True
    least: int = 0
    most: int | None = None
    allows: str = ""


_GOOGLE: Final = Quirks(chunks=False)
_AMAZON: Final = Quirks(least=5 * _MIB, most=10_000_000)

_TABLE: Final[tuple[tuple[str, Quirks], ...]] = (
    (r"ghcr\.io", Quirks(most=4 * _MIB)),  # rust-oci-client#35: 416 for a PATCH of more than 4 MiB
    (r".+\.pkg\.dev|(.+\.)?gcr\.io", _GOOGLE),  # kitops#777: more than one chunk fails
    (r".+\.dkr\.ecr(-fips)?\..+\.amazonaws\.com(\.cn)?|public\.ecr\.aws", _AMAZON),  # dotnet/sdk#33019
    (r"registry\.gitlab\.com", Quirks(allows="GitLab has a list of types that it takes")),  # ocx#480
    (
        r"quay\.io",
        Quirks(allows="a Quay of your own takes them with FEATURE_GENERAL_OCI_SUPPORT and ALLOWED_OCI_ARTIFACT_TYPES"),
    ),  # oras#738
)


def quirks_of(registry: str) -> Quirks:
    """The habits of the registry ``host[:port]``, as far as they are known."""
    host = registry.lower().rpartition(":")[0] if re.search(r":\d+$", registry) else registry.lower()
    return next((quirks for pattern, quirks in _TABLE if re.fullmatch(pattern, host)), Quirks())
