"""Registries that take only the types they know, in the words that they have for it."""

from __future__ import annotations

import json

import pytest

from kitops.errors import RegistryError
from kitops.registry.manifest_upload import explain_types

KIT = "application/vnd.kitops.modelkit.manifest.v1+json"
CONFIG = "application/vnd.kitops.modelkit.config.v1+json"
PACK = "application/vnd.cncf.model.manifest.v1+json"
IMAGE_CONFIG = "application/vnd.oci.image.config.v1+json"


def manifest(artifact_type: str | None, config: str) -> bytes:
    return json.dumps({"artifactType": artifact_type, "config": {"mediaType": config}}).encode()


def error(status: int, text: str, *codes: str) -> RegistryError:
    return RegistryError(f"uploading x: r.example.com answered {status}: {text}", status=status, codes=codes)


@pytest.mark.parametrize(
    "refusal",
    [
        error(400, "MANIFEST_INVALID: manifest invalid: unknown media type", "MANIFEST_INVALID"),
        error(415, "Unsupported Media Type"),
        error(415, ""),
        error(422, "config mediaType is not allowed"),
        error(400, "artifactType is not on the list"),
        error(400, "UNSUPPORTED", "UNSUPPORTED"),
    ],
)
def test_a_refusal_for_types_names_registry_types_and_ways_out(refusal: RegistryError) -> None:
    found = explain_types(refusal, manifest(KIT, CONFIG), "r.example.com")
    assert found is not None
    assert found.message.startswith(refusal.message)
    assert f"r.example.com does not take manifests with artifact type {KIT} and config type {CONFIG}" in found.message
    assert found.hint == (
        "`kit pack --use-model-pack` uses other types; `kit convert REF --to image` makes a plain image of it"
    )
    assert (found.status, found.codes) == (refusal.status, refusal.codes)


@pytest.mark.parametrize(
    "refusal",
    [
        error(400, "MANIFEST_BLOB_UNKNOWN: blob unknown", "MANIFEST_BLOB_UNKNOWN", "MANIFEST_INVALID"),
        error(400, "NAME_INVALID: no such name", "NAME_INVALID"),
        error(413, "too large"),
        error(507, "quota: media type of disk"),
    ],
)
def test_other_refusals_are_left_as_they_are(refusal: RegistryError) -> None:
    assert explain_types(refusal, manifest(KIT, CONFIG), "r.example.com") is None


def test_a_plain_image_was_refused_for_something_else() -> None:
    assert explain_types(error(400, "", "MANIFEST_INVALID"), manifest(None, IMAGE_CONFIG), "r.example.com") is None


def test_a_modelpack_can_only_become_an_image() -> None:
    found = explain_types(error(415, ""), manifest(PACK, PACK), "r.example.com")
    assert found is not None
    assert "--use-model-pack" not in (found.hint or "")


def test_quay_says_how_its_owner_can_allow_it() -> None:
    found = explain_types(error(415, ""), manifest(KIT, CONFIG), "quay.io")
    assert found is not None
    assert "ALLOWED_OCI_ARTIFACT_TYPES" in (found.hint or "")
