"""What the library gives back and raises comes out of another process as it was, as pools and pipelines need it."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from pathlib import Path
from typing import Any

import pytest

import kitops
from kitops import errors
from kitops.formats.select import NoPartError


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_results(again: Any, tmp_path: Path) -> None:
    context = tmp_path / "project"
    context.mkdir()
    (context / "train.py").write_text("pass")
    (context / "Kitfile").write_text("manifestVersion: 1.0.0\ncode: [{path: train.py}]\n")
    settings = kitops.Settings(home=tmp_path / "home")
    results = [
        kitops.pack(context, tag="x:v1", settings=settings),
        kitops.unpack("x:v1", tmp_path / "out", settings=settings),
        kitops.inspect("x:v1", settings=settings),
        kitops.diff("x:v1", "x:v1", settings=settings),
        kitops.verify(tmp_path / "out", settings=settings),
        kitops.save("x:v1", tmp_path / "x.tar", settings=settings),
        kitops.load(tmp_path / "x.tar", settings=settings),
        kitops.tag("x:v1", "x:v2", settings=settings),
        kitops.list(settings=settings),
    ]
    for result in results:
        assert again(result) == result
    assert dataclasses.asdict(results[0])["desc"]["media_type"].startswith("application/")  # type: ignore[call-overload]


@pytest.mark.parametrize("again", [copy.copy, lambda value: pickle.loads(pickle.dumps(value))])
@pytest.mark.parametrize(
    "error",
    [
        errors.KitError("head", hint="hint", rows=["a", "b"]),
        errors.KitfileError("Kitfile", [errors.Problem(1, 2, "model", "is wrong", "mend it")]),
        errors.HeaderError("model.gguf", 3, "is no header"),
        errors.IntegrityError("blob", "one", "other", hint="hint"),
        errors.RegistryError("failed", status=404, codes=["NAME_UNKNOWN"], request="GET /", hint="hint"),
        errors.NetworkError("failed", permanent=True),
        errors.FileSystemError("failed", path="here"),
        NoPartError("x:v1", "kit info x:v1"),
        errors.Cancelled(2),
    ],
    ids=lambda value: type(value).__name__,
)
def test_errors(error: Exception, again: Any) -> None:
    found = again(error)
    assert type(found) is type(error)
    assert (str(found), found.args, vars(found)) == (str(error), error.args, vars(error))
    if isinstance(error, errors.KitError):
        assert found.to_json() == error.to_json()
