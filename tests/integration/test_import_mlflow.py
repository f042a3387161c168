"""Imports from, and exports to, a real MLflow server by its real client."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from kitops.testing import ThrowAwayRegistry
from mlflow_server import mlflow_server

TRAIN = """
import json, mlflow, sys
from mlflow.models import infer_signature
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
mlflow.set_experiment("flowers")
x, y = load_iris(return_X_y=True)
with mlflow.start_run() as run:
    model = LogisticRegression(max_iter=500).fit(x, y)
    mlflow.log_param("max_iter", 500)
    mlflow.log_metric("accuracy", model.score(x, y))
    mlflow.log_metric("loss", float("nan"))
    mlflow.set_tag("team", "vision")
    mlflow.sklearn.log_model(model, name="model", signature=infer_signature(x, model.predict(x)),
                             registered_model_name="iris", serialization_format="cloudpickle",
                             pip_requirements=["scikit-learn"])
    mlflow.log_text("notes", "notes/readme.txt")
    mlflow.log_dict({"a": 1}, "notes/deep/a.json")
    for path in ("top.json", "b/x.json", "b/c/x.json", "treetop/b/x.json"):
        mlflow.log_dict({"is": path}, "tree/" + path)
mlflow.MlflowClient().set_registered_model_alias("iris", "champion", "1")
print(json.dumps({"run": run.info.run_id}))
"""


FAIL = """
import sys
from pathlib import Path
from kitops.importers.location import parse_location
from kitops.ops.sources import SourceOptions, open_source
from unit.ops.ops_places import open_test_place
place = open_test_place(Path(sys.argv[1]))
with open_source(place, parse_location(sys.argv[2]), SourceOptions()) as tree:
    tree.prepare(tree.files, place.run)
    raise SystemExit(len(tree.files) == 0)
"""
AGAIN = """
import mlflow
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
mlflow.set_experiment("flowers")
x, y = load_iris(return_X_y=True)
with mlflow.start_run() as run:
    mlflow.sklearn.log_model(LogisticRegression(max_iter=300).fit(x, y), name="model", registered_model_name="iris",
                             serialization_format="cloudpickle", pip_requirements=["scikit-learn"])
mlflow.MlflowClient().set_registered_model_alias("iris", "champion", "2")
print(run.info.run_id)
"""


@dataclass
class Tracking:
    address: str
    run: str
    home: Path

    def kit(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).with_name("kit")), *arguments]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=120, check=False)

    @property
    def environment(self) -> dict[str, str]:
        quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
        return {**os.environ, **quiet, "MLFLOW_TRACKING_URI": self.address, "KITOPS_HOME": str(self.home)}

    def python(self, script: str, *arguments: str) -> str:
        """What a script prints."""
        environment = self.environment | {"PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", script, *arguments], env=environment, cwd=self.home.parent,
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def json(self, *arguments: str) -> dict[str, object]:
        done = self.kit(*arguments, "--format", "json")
        assert done.returncode == 0, done.stderr
        found: dict[str, object] = json.loads(done.stdout)
        return found


@pytest.fixture
def tracking(tmp_path: Path) -> Iterator[Tracking]:
    directory = tmp_path / "mlflow"
    directory.mkdir()
    with mlflow_server(directory) as address:
        found = Tracking(address, "", directory / "home")
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", TRAIN], env=found.environment, cwd=directory,
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        found.run = json.loads(done.stdout.splitlines()[-1])["run"]
        yield found


@pytest.mark.slow
def test_models_and_runs_come_and_go(tracking: Tracking, tmp_path: Path) -> None:
    """One test: the server takes most of the time."""
    check_that_a_model_comes_with_what_is_known_of_its_run(tracking, tmp_path)
    check_that_files_of_a_run_come_below_a_path(tracking, tmp_path / "notes")
    check_that_directories_come_however_deep(tracking, tmp_path / "tree")
    check_that_filters_choose_files(tracking)
    check_that_it_goes_straight_to_a_registry(tracking, tmp_path / "to")
    check_that_a_killed_import_fetches_no_whole_file_again(tracking, tmp_path / "killed")
    check_that_versions_do_not_mix(tracking, tmp_path / "versions")
    check_that_a_run_that_goes_on_is_not_mixed(tracking, tmp_path / "going")
    check_that_what_is_missing_is_told(tracking)
    check_that_a_modelkit_goes_to_a_run(tracking, tmp_path / "kits")
    check_that_options_which_do_not_apply_are_refused(tracking)


@pytest.mark.parametrize("words", [("import", "models:/iris/1"), ("export", "digits:v1", "--to", "mlflow")])
def test_no_server_is_told_before_a_database_is_made(tmp_path: Path, words: tuple[str, ...]) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    environment |= {"KITOPS_HOME": str(tmp_path / "home")}
    here = tmp_path / "here"
    here.mkdir()
    kit = str(Path(sys.executable).with_name("kit"))
    example = str(Path(__file__).resolve().parents[2] / "examples/digits")
    packed = [kit, "pack", example, "-t", "digits:v1"]
    assert subprocess.run(packed, env=environment, capture_output=True, check=False).returncode == 0
    done = subprocess.run([kit, *words], env=environment, capture_output=True, text=True, check=False, cwd=here)
    assert done.returncode == 11, done.stderr
    assert "MLFLOW_TRACKING_URI" in done.stderr
    assert list(here.iterdir()) == []


def check_that_a_model_comes_with_what_is_known_of_its_run(tracking: Tracking, tmp_path: Path) -> None:
    by_alias = tracking.json("import", "models:/iris@champion")
    by_version = tracking.json("import", "models:/iris/1", "-t", "again:v1")
    assert by_alias["digest"] == by_version["digest"]
    assert len(tracking.json("referrers", "iris:latest")) == 1
    assert by_alias["references"] == ["iris:latest"]
    assert by_alias["revision"] == "1"
    model = tracking.json("info", "iris:latest")["model"]
    assert isinstance(model, dict)
    assert model["framework"] == "sklearn"
    known = model["parameters"]["mlflow"]
    assert known["run"] == tracking.run
    assert known["parameters"] == {"max_iter": "500"}
    assert known["metrics"]["accuracy"] > 0.9
    assert known["metrics"]["loss"] == "nan"
    assert known["tags"] == {"team": "vision"}
    assert known["signature"]["inputs"][0]["type"] == "tensor"
    assert tracking.kit("unpack", "iris:latest", "-d", str(tmp_path / "out")).returncode == 0
    predict = (
        "import mlflow, sys; m = mlflow.sklearn.load_model(sys.argv[1]); print(m.predict([[5.1, 3.5, 1.4, 0.2]])[0])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", predict, str(tmp_path / "out")],
        env=tracking.environment, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.stdout.strip().endswith("0"), done.stderr


def check_that_files_of_a_run_come_below_a_path(tracking: Tracking, tmp_path: Path) -> None:
    imported = tracking.json("import", f"runs:/{tracking.run}/notes", "-t", "notes:v1")
    assert tracking.kit("unpack", "notes:v1", "-d", str(tmp_path / "out")).returncode == 0
    names = ("readme.txt", "deep/a.json")
    assert imported["fetchedSize"] == sum((tmp_path / "out" / name).stat().st_size for name in names)
    assert (tmp_path / "out/readme.txt").read_text() == "notes"
    assert json.loads((tmp_path / "out/deep/a.json").read_text()) == {"a": 1}


def check_that_directories_come_however_deep(tracking: Tracking, tmp_path: Path) -> None:
    paths = ("top.json", "b/x.json", "b/c/x.json", "treetop/b/x.json")
    for below in ("", "b/", "b/c/", "treetop/b/"):
        tracking.json("import", f"runs:/{tracking.run}/tree/{below}".rstrip("/"), "-t", "tree:v1")
        out = tmp_path / f"out-{below.replace('/', '-')}"
        assert tracking.kit("unpack", "tree:v1", "-d", str(out)).returncode == 0
        found = {str(path.relative_to(out)): json.loads(path.read_text()) for path in out.rglob("[!.]*.json")}
        assert found == {path.removeprefix(below): {"is": path} for path in paths if path.startswith(below)}
    assert tracking.json("import", f"runs:/{tracking.run}", "-t", "run:v1")["size"]


def check_that_options_which_do_not_apply_are_refused(tracking: Tracking) -> None:
    for words in (("--ref", "2"), ("--token", "x"), ("--submodules",), ("--tool", "git")):
        done = tracking.kit("import", "models:/iris/1", *words)
        assert done.returncode == 2
        assert words[0] in done.stderr


def check_that_filters_choose_files(tracking: Tracking) -> None:
    uri = f"runs:/{tracking.run}/notes"
    tracking.json("import", uri, "-t", "some:v1", "--exclude", "*.json")
    assert "readme.txt" in json.dumps(tracking.json("info", "some:v1"))
    assert "a.json" not in json.dumps(tracking.json("info", "some:v1"))
    tracking.json("import", uri, "-t", "some:v2", "--include", "deep/*")
    assert "readme.txt" not in json.dumps(tracking.json("info", "some:v2"))


def check_that_it_goes_straight_to_a_registry(tracking: Tracking, tmp_path: Path) -> None:
    with ThrowAwayRegistry() as registry:
        ref = f"{registry.address}/team/iris:v1"
        tracking.json("import", "models:/iris/1", "--to", ref, "--plain-http")
        assert tracking.kit("unpack", ref, "-d", str(tmp_path), "--plain-http").returncode == 0
    assert (tmp_path / "MLmodel").is_file()


def check_that_a_killed_import_fetches_no_whole_file_again(tracking: Tracking, tmp_path: Path) -> None:
    """git-lfs and MLflow go on by the file: what has its name by the time of the kill is not asked for again."""
    tmp_path.mkdir()
    for number in range(12):
        (tmp_path / f"{number}.bin").write_bytes(os.urandom(4 << 20))
    log = "import mlflow, sys; mlflow.MlflowClient().log_artifacts(sys.argv[1], sys.argv[2], 'big')"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", log, tracking.run, str(tmp_path)],
        env=tracking.environment, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    command = [str(Path(sys.executable).with_name("kit")), "import", f"runs:/{tracking.run}/big", "-t", "big:v1"]
    command += ["--concurrency", "1"]
    kept = tracking.home / "store/partial"
    running = subprocess.Popen(command, env=tracking.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while running.poll() is None and not list(kept.glob("*/files/*.bin")):
        time.sleep(0.005)
    running.kill()
    running.wait()
    whole = {path.name for path in kept.glob("*/files/*.bin")}
    assert 0 < len(whole) < 12
    done = subprocess.run(command, env=tracking.environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    said = (tracking.home.parent / "log").read_text()
    asked = re.findall(r"GET \S+/artifacts/big/(\d+\.bin) ", said)
    assert {name: asked.count(name) for name in whole} == dict.fromkeys(whole, 1)
    assert set(asked) == {f"{number}.bin" for number in range(12)}
    assert list(kept.glob("*/files/*")) == []
    assert tracking.kit("unpack", "big:v1", "-d", str(tmp_path / "out")).returncode == 0
    for number in range(12):
        assert (tmp_path / "out" / f"{number}.bin").read_bytes() == (tmp_path / f"{number}.bin").read_bytes()


def check_that_a_run_that_goes_on_is_not_mixed(tracking: Tracking, tmp_path: Path) -> None:
    """Its files are replaced by others, which may be as large."""
    log = "import mlflow, sys; mlflow.MlflowClient().log_text(sys.argv[1], sys.argv[2], 'last/step.txt')"
    begin = "import mlflow; print(mlflow.MlflowClient().create_run('0').info.run_id)"
    going = tracking.python(begin)
    tracking.python(log, going, "step 1")
    tracking.python(FAIL, str(tracking.home), f"runs:/{going}/last")
    tracking.python(log, going, "step 2")
    tracking.json("import", f"runs:/{going}/last", "-t", "last:v1")
    assert tracking.kit("unpack", "last:v1", "-d", str(tmp_path)).returncode == 0
    assert (tmp_path / "step.txt").read_text() == "step 2"


def check_that_versions_do_not_mix(tracking: Tracking, tmp_path: Path) -> None:
    """What a failed import of an alias left is of the version that the alias was then."""

    tracking.python(FAIL, str(tracking.home), "models:/iris@champion")
    kept = tracking.home / "store/partial"
    assert list(kept.glob("*/files/MLmodel")) != []
    newer = tracking.python(AGAIN).splitlines()[-1]
    tracking.json("import", "models:/iris@champion", "-t", "two:v1")
    assert tracking.kit("unpack", "two:v1", "-d", str(tmp_path)).returncode == 0
    assert newer in (tmp_path / "MLmodel").read_text()
    assert tracking.json("cache", "info")["partialSize"] > 0  # type: ignore[operator]
    tracking.json("import", "models:/iris/1", "-t", "one:v1")  # which goes on with what is left
    assert list(kept.iterdir()) == []


@pytest.mark.slow
def test_a_server_that_is_not_there_is_given_up(tmp_path: Path) -> None:
    started = time.monotonic()
    done = Tracking("http://bob:s3cret@127.0.0.1:9", "", tmp_path / "home").kit("import", "models:/iris/1")
    assert done.returncode == 8, done.stderr
    assert "s3cret" not in done.stderr
    assert "MLFLOW_TRACKING_URI" in done.stderr
    assert time.monotonic() - started < 40


def check_that_what_is_missing_is_told(tracking: Tracking) -> None:
    for uri in ("models:/iris@nobody", "runs:/0123456789abcdef"):
        done = tracking.kit("import", uri)
        assert done.returncode == 11, done.stderr
        assert "Hint:" in done.stderr
        assert "Traceback" not in done.stderr
    assert tracking.kit("import", "models:/iris").returncode == 2


def check_that_a_modelkit_goes_to_a_run(tracking: Tracking, tmp_path: Path) -> None:
    example = str(Path(__file__).resolve().parents[2] / "examples/digits")
    packed = tracking.json("pack", example, "-t", "digits:v1")
    exported = tracking.json("export", "digits:v1", "--to", "mlflow", "--experiment", "kits", "--path", "kit")
    back = tracking.json("import", str(exported["uri"]), "-t", "back:v1")
    assert back["digest"]
    whole = tracking.json("export", "digits:v1", "--to", "mlflow", "--experiment", "kits")
    assert whole["uri"] == f"runs:/{whole['run']}"
    assert tracking.json("import", str(whole["uri"]), "-t", "whole:v1")["size"] == back["size"]
    for name in ("digits:v1", "back:v1"):
        assert tracking.kit("unpack", name, "-d", str(tmp_path / name.partition(":")[0])).returncode == 0
    files = {path.name: path.read_bytes() for path in (tmp_path / "digits").rglob("*") if path.is_file()}
    came = {path.name: path.read_bytes() for path in (tmp_path / "back").rglob("*") if path.is_file()}
    assert set(came) == set(files)
    assert came["README.md"] == files["README.md"]
    ask = "import mlflow, sys; print(mlflow.MlflowClient().get_run(sys.argv[1]).data.tags['kitops.digest'])"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ask, str(exported["run"])],
        env=tracking.environment, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.stdout.strip() == packed["digest"], done.stderr
