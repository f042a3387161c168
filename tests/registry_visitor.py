"""A client that says to a registry exactly what it is told to, over one connection."""

from __future__ import annotations

import http.client
import json
import ssl
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from kitops.oci import mediatype
from kitops.oci.descriptor import Descriptor
from kitops.oci.digest import Digest
from kitops.oci.manifest import Manifest

EMPTY_JSON = Descriptor.of(b"{}", mediatype.EMPTY)


@dataclass
class Answer:
    """What came back; header names in lower case, repeated ones joined by commas."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, object]:
        found = json.loads(self.body)
        assert isinstance(found, dict)
        return found

    @property
    def code(self) -> str:
        return str(json.loads(self.body)["errors"][0]["code"])


class Visitor:
    """Every method is a request, or a few.

    Args:
        address: ``host:port``.
        context: for TLS.
    """

    def __init__(self, address: str, context: ssl.SSLContext | None = None) -> None:
        self.connection = (
            http.client.HTTPConnection(address, timeout=20)
            if context is None
            else http.client.HTTPSConnection(address, timeout=20, context=context)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.connection.close()

    def ask(self, method: str, target: str, body: object = None, **headers: str) -> Answer:
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        self.connection.request(method, target, body, named, encode_chunked=isinstance(body, list))  # type: ignore[arg-type]
        with self.connection.getresponse() as answer:
            found: dict[str, str] = {}
            for key, value in answer.getheaders():
                name = key.lower()
                found[name] = f"{found[name]}, {value}" if name in found else value
            return Answer(answer.status, found, answer.read())

    def put_blob(self, data: bytes, repository: str = "a/b") -> None:
        location = self.ask("POST", f"/v2/{repository}/blobs/uploads/").headers["location"]
        assert self.ask("PUT", f"{location}?digest={Digest.of(data)}", data).status == 201

    def put_manifest(self, pointer: str, repository: str = "a/b", *layers: bytes) -> Manifest:
        for blob in (b"{}", *layers):
            self.put_blob(blob, repository)
        manifest = Manifest.build(config=EMPTY_JSON, layers=[Descriptor.of(layer, "application/x") for layer in layers])
        answer = self.ask("PUT", f"/v2/{repository}/manifests/{pointer}", manifest.raw, Content_Type=mediatype.MANIFEST)
        assert answer.status == 201
        return manifest
