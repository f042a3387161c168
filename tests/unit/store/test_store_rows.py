"""What list shows: made from manifest and config, written to refs, read back."""

import pytest

from kitops.errors import NotFoundError
from kitops.oci import annotations, mediatype
from kitops.oci.descriptor import Descriptor
from kitops.oci.digest import Digest
from kitops.oci.index import Index
from kitops.oci.manifest import Manifest
from kitops.store import RefDetails, open_store
from kitops.store.details import describe_kit
from kitops.store.records import Record, dump_record, parse_record

LAYERS = [Descriptor("application/octet-stream", Digest.of(b"a"), 100), Descriptor("x/y", Digest.of(b"b"), 23)]


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path / "store")


def describe(store, config, media_type="application/x+json", **options):
    with store.lease("pack") as lease:
        manifest = Manifest.build(config=store.blobs.put_bytes(config, media_type, lease), layers=LAYERS, **options)
        return describe_kit(store.blobs, store.blobs.put_bytes(manifest.raw, manifest.media_type, lease))


@pytest.mark.parametrize(
    ("config", "name", "author"),
    [
        (b'{"package":{"name":"n","authors":["a","b"]}}', "n", "a"),
        (b'{"package":{}}', "", ""),
        (b'{"package":{"name":1,"authors":[2]}}', "", ""),
        (b'{"package":{"authors":[]}}', "", ""),
        (b'{"package":[]}', "", ""),
        (b'{"descriptor":{"name":"pack","authors":["c"]}}', "pack", "c"),
        (b"{}", "", ""),
        (b"[]", "", ""),
        (b"not json", "", ""),
    ],
)
def test_name_and_author(store, config, name, author):
    assert describe(store, config) == RefDetails(name, author, 123)


def test_a_config_that_is_not_json_is_not_read(store):
    assert describe(store, b'{"package":{"name":"n"}}', "application/octet-stream") == RefDetails(size=123)


def test_the_kitfile_annotation_of_a_modelpack(store):
    kitfile = {annotations.KITFILE: '{"package":{"name":"kit","authors":["ada"]}}'}
    assert describe(store, b'{"descriptor":{"name":"other"}}', annotations=kitfile) == RefDetails("kit", "ada", 123)


def test_an_index_has_the_size_of_its_manifests(store):
    index = Index.build([Descriptor(mediatype.MANIFEST, Digest.of(b"m"), 7)])
    with store.lease("pack") as lease:
        desc = store.blobs.put_bytes(index.raw, index.media_type, lease)
        assert describe_kit(store.blobs, desc) == RefDetails(size=7)
        with pytest.raises(NotFoundError):
            describe_kit(store.blobs, Descriptor(mediatype.MANIFEST, Digest.of(b"m"), 7))


@pytest.mark.parametrize("row", [RefDetails(), RefDetails("n\u2028<", "é", 5, (Digest.of(b"x"), Digest.of(b"y")))])
def test_a_record_comes_back(row):
    desc = Descriptor(mediatype.MANIFEST, Digest.of(b"m"), 7, artifact_type="application/x")
    assert parse_record(dump_record(Record(desc, row)), "tags/v1") == Record(desc, row)
