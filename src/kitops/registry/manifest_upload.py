"""Manifests going up, and registries that do not take their types."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

from kitops.content.events import Message
from kitops.errors import RegistryError
from kitops.registry.herald import herald
from kitops.registry.quirks import quirks_of
from kitops.registry.session import Request
from kitops.registry.upload import UNSEEN, check_stored, refused_bytes

if TYPE_CHECKING:
    from kitops.oci.descriptor import Descriptor
    from kitops.registry.session import Session
    from kitops.registry.transport import Answer
    from kitops.registry.upload import UploadPlace

_MODELPACK: Final = "application/vnd.cncf.model."
_IMAGE: Final = ("application/vnd.oci.image.", "application/vnd.docker.")
_ABOUT_TYPES: Final = re.compile(
    r"media.?type|artifact.?type|config.{0,20}type|unsupported|not.{0,10}allowed", re.IGNORECASE
)


def send_manifest(place: UploadPlace, desc: Descriptor, data: bytes, target: str, name: str) -> str | None:
    """Put a manifest; the ``OCI-Subject`` that the registry says it saw.

    Args:
        place: the repository.
        desc: the manifest.
        data: its bytes.
        target: where, by tag or digest.
        name: the same for people.

    Raises:
        RegistryError: the registry does not take it; where that is for its types, the hint has the way out.
    """
    request = Request(
        method="PUT",
        target=target,
        doing="uploading",
        what=name,
        scopes=place.scopes,
        headers={"Content-Type": desc.media_type},
        body=data,
        ok=(200, 201, 202),
        wait=place.session.commit_seconds,
    )
    observer, registry = place.session.run.observer, place.session.registry
    try:
        with herald(observer, f"{registry} to accept the manifest") as wait, refused_bytes(place, desc):
            wait()
            with _send_late(place.session, request) as answer:
                check_stored(place, desc, answer)
                return answer.header("OCI-Subject")
    except RegistryError as error:
        if explained := explain_types(error, data, registry):
            raise explained from error
        raise


def _send_late(session: Session, request: Request) -> Answer:
    """Send a manifest; again where the registry does not see yet what it has just taken from us or from others."""
    pause = session.patience.pause
    for _ in range(session.patience.attempts - 1):
        try:
            return session.send(request)
        except RegistryError as error:
            if UNSEEN not in error.codes:
                raise
            session.run.observer(Message("info", f"{error.message}; asking once more"))
        session.run.cancel.wait(pause)
        pause *= 2
    return session.send(request)


def explain_types(error: RegistryError, data: bytes, registry: str) -> RegistryError | None:
    """The error of a registry that refused a manifest for its types, or None when that is not why."""
    is_refusal = error.status == 415 or (error.status in (400, 406, 422) and _is_about_types(error))
    kinds = list(_types_of(data))
    if not is_refusal or not kinds:
        return None
    ways = ["`kit convert REF --to image` makes a plain image of it"]
    if not any(_MODELPACK in kind for kind in kinds):
        ways.insert(0, "`kit pack --use-model-pack` uses other types")
    if allows := quirks_of(registry).allows:
        ways.append(allows)
    return RegistryError(
        f"{error.message}; {registry} does not take manifests with {' and '.join(kinds)}",
        status=error.status,
        codes=error.codes,
        request=error.request,
        hint="; ".join(ways),
    )


def _is_about_types(error: RegistryError) -> bool:
    if UNSEEN in error.codes or "SIZE_INVALID" in error.codes:
        return False
    return bool({"MANIFEST_INVALID", "UNSUPPORTED"} & set(error.codes)) or bool(_ABOUT_TYPES.search(error.message))


def _types_of(data: bytes) -> list[str]:
    """What a registry may not like in a manifest: its artifact type, and the type of its config, if unusual."""
    table = json.loads(data)
    found = {"artifact type": table.get("artifactType"), "config type": (table.get("config") or {}).get("mediaType")}
    return [f"{name} {kind}" for name, kind in found.items() if isinstance(kind, str) and not kind.startswith(_IMAGE)]
