"""Models and runs of MLflow, through its own client: files, and what the tracking server knows of how they were made.

``models:/name/version``, ``models:/name@alias`` and ``runs:/id[/path]``; the client finds its server as it always does
(``MLFLOW_TRACKING_URI``, its own login).
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from kitops.content.apart import call_apart
from kitops.content.events import Waiting
from kitops.content.parallel import run_all
from kitops.errors import FileSystemError, InvalidValueError, NetworkError, SourceError
from kitops.importers.tree import Origin, RemoteFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from io import FileIO
    from pathlib import Path

    from kitops.content.cancel import CancelToken
    from kitops.content.protocols import Run
    from kitops.oci.gojson import Json

_MODEL: Final = re.compile(r"models:/+(?P<name>[^/@]+)(?:/(?P<version>[0-9]+)|@(?P<alias>[^/]+))", re.ASCII)
_RUN: Final = re.compile(r"runs:/+(?P<run>[0-9A-Za-z_-]+)(?:/(?P<path>.+))?", re.ASCII)
_DATABASE: Final = "sqlite:///"
_DEPTH_LIMIT: Final = 64


@dataclass(frozen=True, slots=True)
class _Asked:
    """What of MLflow is imported: where its files lie, and what is known of it.

    Args:
        root: URI of the model version or run.
        revision: its immutable name.
        name: of the import.
        parameters: what is known of it.
        prefix: the directory in it that is asked for; empty is all.
        is_changing: whether its files may be replaced: the run has not ended.
    """

    root: str
    revision: str
    name: str
    parameters: dict[str, Json]
    prefix: str = ""
    is_changing: bool = False

    @property
    def uri(self) -> str:
        """Of what is asked for."""
        return f"{self.root}/{self.prefix}" if self.prefix else self.root

    def path_of(self, file: RemoteFile) -> str:
        """The path of a file from the root."""
        return f"{self.prefix}/{file.path}" if self.prefix else file.path


def open_mlflow(uri: str, directory: Path, run: Run) -> MlflowTree:
    """The files of a model version or run; they come into ``directory`` when they are prepared.

    Raises:
        SourceError: the client is not installed; there is no such model, version, alias or run.
        NetworkError: the server cannot be reached.
        InvalidValueError: ``uri`` is of another form.
    """
    try:
        from mlflow import MlflowClient  # noqa: PLC0415 - an extra, and two seconds
    except ImportError as error:
        raise SourceError(
            "importing from MLflow needs its client, which is not installed", hint="pip install 'kitops[mlflow]'"
        ) from error

    check_tracking()
    run.observer(Waiting(f"MLflow to find {uri}"))

    def find() -> tuple[_Asked, tuple[RemoteFile, ...], str]:
        client = MlflowClient()
        asked = _find(client, uri)
        files = tuple(_list(_open_artifacts(asked), asked, asked.prefix, 0))
        return asked, files, _without_secrets(client.tracking_uri)

    with told(f"reading {uri}"):
        asked, files, server = call_apart(find, run.cancel)
    if not files:
        raise SourceError(f"{uri} has no files")
    origin = Origin("mlflow", f"{server}#{asked.uri}", asked.revision, uri, asked.name, parameters=asked.parameters)
    return MlflowTree(origin, files, directory, asked, run.cancel)


@dataclass(frozen=True, slots=True)
class MlflowTree:
    """A model version or run (``kitops.importers.tree.Tree`` and ``OnDisk``)."""

    origin: Origin
    files: Sequence[RemoteFile]
    directory: Path
    _asked: _Asked = field(repr=False)
    _cancel: CancelToken = field(repr=False)

    @property
    def is_changing(self) -> bool:
        """Whether files may be replaced by others: what came earlier need not be what is there now."""
        return self._asked.is_changing

    def read_at(self, path: str, offset: int, size: int) -> bytes:
        """Bytes of a file, which is fetched for that.

        Raises:
            SourceError: the server does not give it.
            NetworkError: it cannot be reached.
        """
        file = next((file for file in self.files if file.path == path), RemoteFile(path, 0))
        with self.open(file, offset) as opened:
            return opened.read(size)

    @contextmanager
    def open(self, file: RemoteFile, offset: int = 0) -> Iterator[FileIO]:
        """The bytes of a file from ``offset`` on.

        Raises:
            SourceError: the server does not give it.
            NetworkError: it cannot be reached.
            FileSystemError: it cannot be written or read.
        """
        self._fetch(file)
        path = self.path_of(file)
        try:
            with open(path, "rb", buffering=0) as opened:
                opened.seek(offset)
                yield opened
        except OSError as error:
            raise FileSystemError.wrap(error, "reading", path) from error

    def prepare(self, files: Sequence[RemoteFile], run: Run) -> None:
        """Have ``files`` on the disk, several at a time.

        Raises:
            SourceError: the server does not give them.
            NetworkError: it cannot be reached.
            FileSystemError: they cannot be written.
        """
        run.observer(Waiting(f"MLflow to send {len(files)} files of {self._asked.uri}"))
        run_all([partial(self._fetch_in, file) for file in files], run, workers=run.concurrency)

    def path_of(self, file: RemoteFile) -> Path:
        """Where a prepared file lies."""
        return self.directory / "files" / file.path

    def _fetch_in(self, file: RemoteFile, run: Run) -> None:
        run.cancel.check()
        self._fetch(file)

    def _fetch(self, file: RemoteFile) -> None:
        """Fetch a file unless it is here, as long as it is listed; it gets its name when it is whole."""
        target = self.path_of(file)
        if target.exists() and target.stat().st_size == file.size:
            return

        def fetch() -> str:
            return str(_open_artifacts(self._asked).download_artifacts(self._asked.path_of(file), str(beside)))

        beside = self.directory / "coming" / os.urandom(8).hex()
        try:
            beside.mkdir(parents=True)
            with told(f"reading {file.path} of {self._asked.uri}"):
                found = call_apart(fetch, self._cancel)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(found, target)
        except OSError as error:
            raise FileSystemError.wrap(error, "writing", target) from error
        finally:
            shutil.rmtree(beside, ignore_errors=True)


def check_tracking() -> None:
    """Refuse to ask nobody: without a server the client makes a database in the working directory, and looks there.

    Raises:
        SourceError: no server is named, and the client has nothing of its own here.
    """
    from mlflow import get_tracking_uri, is_tracking_uri_set  # noqa: PLC0415 - as above

    uri = "" if is_tracking_uri_set() else get_tracking_uri()  # type: ignore[no-untyped-call]
    if uri.startswith(_DATABASE) and not os.path.exists(uri.removeprefix(_DATABASE)):
        raise SourceError("no MLflow server is named", hint="set MLFLOW_TRACKING_URI to its address")


@contextmanager
def told(doing: str) -> Iterator[None]:
    """In the block, errors of MLflow's client become SourceError, or NetworkError where trying again may help."""
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 - as above
    from requests import RequestException  # noqa: PLC0415 - what the client speaks HTTP with

    try:
        yield
    except MlflowException as error:
        line = _without_secrets(str(error).strip().splitlines()[0]) if str(error).strip() else type(error).__name__
        code = str(getattr(error, "error_code", ""))
        if code in ("TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED") or "failed with exception" in line:
            raise NetworkError(f"{doing}: {line}", hint="check MLFLOW_TRACKING_URI, and run it again") from error
        hint = "check the name, version or alias, and MLFLOW_TRACKING_URI"
        if code in ("UNAUTHENTICATED", "PERMISSION_DENIED", "CUSTOMER_UNAUTHORIZED"):
            hint = "set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        raise SourceError(f"{doing}: {line}", hint=hint) from error
    except RequestException as error:
        raise NetworkError(
            f"{doing}: {type(error).__name__}", hint="check MLFLOW_TRACKING_URI, and run it again"
        ) from error


def _find(client: Any, uri: str) -> _Asked:
    if model := _MODEL.fullmatch(uri):
        name = model["name"]
        found = (
            client.get_model_version(name, model["version"])
            if model["version"]
            else client.get_model_version_by_alias(name, model["alias"])
        )
        parameters: dict[str, Json] = {"model": name, "version": str(found.version)}
        if found.run_id:
            parameters |= _tell_run(client.get_run(found.run_id))
        pinned = f"models:/{name}/{found.version}"
        return _Asked(pinned, str(found.version), name, parameters | _read_signature(pinned))
    if run := _RUN.fullmatch(uri):
        path = (run["path"] or "").strip("/")
        made = client.get_run(run["run"])
        parameters = _tell_run(made)
        name = path.rpartition("/")[2] or str(parameters.get("runName") or "run")
        is_changing = made.info.status in ("RUNNING", "SCHEDULED")
        asked = _Asked(f"runs:/{run['run']}", run["run"], name, parameters, path, is_changing)
        return replace(asked, parameters=parameters | _read_signature(asked.uri))
    raise InvalidValueError(
        f"{uri!r} is not a URI of MLflow that can be imported",
        hint="models:/name/version, models:/name@alias or runs:/id/path",
    )


def _tell_run(run: Any) -> dict[str, Json]:
    """What is known of a run: who made it how, and what came out; the server's own tags stay there."""
    known = {
        "run": run.info.run_id,
        "runName": run.info.run_name,
        "experiment": run.info.experiment_id,
        "gitCommit": run.data.tags.get("mlflow.source.git.commit"),
        "parameters": dict(sorted(run.data.params.items())),
        "metrics": {key: _as_json(value) for key, value in sorted(run.data.metrics.items())},
        "tags": {key: value for key, value in sorted(run.data.tags.items()) if not key.startswith("mlflow.")},
    }
    return {key: value for key, value in known.items() if value}


def _as_json(metric: float) -> Json:
    """A metric; what is no number to JSON (of training that diverged) as a text."""
    return metric if math.isfinite(metric) else str(metric)


def _read_signature(uri: str) -> dict[str, Json]:
    """Inputs and outputs of a model, where it says them."""
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 - as above
    from mlflow.models import get_model_info  # noqa: PLC0415 - as above

    with suppress(MlflowException, OSError, ValueError):  # not every run's path is a model
        info = get_model_info(uri)
        flavors: list[Json] = [name for name in sorted(map(str, info.flavors)) if name != "python_function"]
        found: dict[str, Json] = {"flavors": flavors}
        if info.signature is not None:
            texts = info.signature.to_dict()
            found["signature"] = {key: json.loads(text) for key, text in texts.items() if text}
        return found
    return {}


def _open_artifacts(asked: _Asked) -> Any:
    """The artifacts of a model version or run; paths are told from its root, however deep they lie."""
    from mlflow.store.artifact.artifact_repository_registry import (  # noqa: PLC0415 - as above
        get_artifact_repository,
    )

    return get_artifact_repository(asked.root)


def _list(artifacts: Any, asked: _Asked, below: str, depth: int) -> Iterator[RemoteFile]:
    """The files below a directory."""
    if depth > _DEPTH_LIMIT:
        raise SourceError(f"{asked.uri}: directories are nested more than {_DEPTH_LIMIT} deep")
    for entry in artifacts.list_artifacts(below or None):
        if entry.is_dir:
            yield from _list(artifacts, asked, entry.path, depth + 1)
        else:
            path = entry.path.removeprefix(f"{asked.prefix}/") if asked.prefix else entry.path
            yield RemoteFile(path, int(entry.file_size or 0))


def _without_secrets(uri: str) -> str:
    return re.sub(r"(?<=://)[^/@]*@", "", uri)
