"""Hashes of remote datasets are filled in where they are missing; the rest of the text stays."""

from __future__ import annotations

import pytest

from kitops.kitfile.parse import parse
from kitops.kitfile.pin import Pin, write_pins

PIN = Pin("e1")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "# x\ndatasets:\n  - path: a\n    remotePath: s3://bucket/key.csv # x\n    name: n\n",
            '# x\ndatasets:\n  - path: a\n    remotePath: s3://bucket/key.csv # x\n    remoteHash: "e1"\n    name: n\n',
        ),
        (
            "datasets:\n- remotePath: 's3://bucket/key.csv'\n  path: a",
            "datasets:\n- remotePath: 's3://bucket/key.csv'\n  remoteHash: \"e1\"\n  path: a",
        ),
        (
            "datasets:\r\n- path: a\r\n  remotePath: s3://bucket/key.csv",
            'datasets:\r\n- path: a\r\n  remotePath: s3://bucket/key.csv\n  remoteHash: "e1"\n',
        ),
        (
            "datasets: [{path: a, remotePath: s3://bucket/key.csv}]\n",
            'datasets: [{path: a, remoteHash: "e1", remotePath: s3://bucket/key.csv}]\n',
        ),
        (
            'datasets: [{"path": "a", "remotePath": "s3://bucket/key.csv"}]\n',
            'datasets: [{"path": "a", remoteHash: "e1", "remotePath": "s3://bucket/key.csv"}]\n',
        ),
        (
            "datasets:\n- remotePath: >-\n    s3://bucket/key.csv\n  path: a\n",
            'datasets:\n- remoteHash: "e1"\n  remotePath: >-\n    s3://bucket/key.csv\n  path: a\n',
        ),
        (
            'datasets:\n- remotePath: s3://bucket/key.csv\n  path: a\n  remoteHash: ""  # soon\n',
            'datasets:\n- remotePath: s3://bucket/key.csv\n  path: a\n  remoteHash:  "e1"  # soon\n',
        ),
    ],
    ids=["block", "first key", "no last break", "flow", "json", "folded", "empty"],
)
def test_only_the_hash_is_added(before, after):
    done = write_pins(before.encode(), "Kitfile", {0: PIN})
    assert (done.text, done.is_edited) == (after, True)
    assert parse(done.text) == done.kitfile
    assert done.kitfile.datasets[0].remote_hash == "e1"


def test_several_with_a_version():
    text = "datasets:\n- {path: a, remotePath: s3://b/k}\n- path: b\n  remotePath: s3://b/k\n- path: c\n"
    pins = {0: Pin("e"), 1: Pin("f", "?versionId=3")}
    assert write_pins(text.encode(), "Kitfile", pins).text == (
        'datasets:\n- {path: a, remoteHash: "e", remotePath: s3://b/k}\n- path: b\n'
        '  remotePath: s3://b/k?versionId=3\n  remoteHash: "f"\n- path: c\n'
    )


@pytest.mark.parametrize(
    "text",
    [
        b"datasets:\n- &one\n  path: a\n  remotePath: &url s3://bucket/key.csv\n- path: b\n  remotePath: *url\n",
        "datasets: [{path: a, remotePath: s3://bucket/key.csv}, {path: b, remotePath: s3://bucket/key.csv}]".encode(
            "utf-16"
        ),
    ],
    ids=["alias", "utf-16"],
)
def test_what_cannot_be_edited_is_written_anew(text):
    done = write_pins(text, "Kitfile", {1: PIN})
    assert parse(done.text, unpinned=True) == done.kitfile
    assert [dataset.remote_hash for dataset in done.kitfile.datasets] == ["", "e1"]
