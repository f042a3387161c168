"""A project as a data scientist leaves it: trained into a directory, and asked for its predictions.

    python digits_project.py train DIRECTORY
    python digits_project.py predict DIRECTORY

A program of its own: the libraries of the machine-learning world are heavy, and warn about each other.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import joblib
import nbformat
import onnxruntime
import pandas as pd
from skl2onnx import to_onnx
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

ROOT = Path(__file__).resolve().parents[2]


def train(directory: Path) -> None:
    """The model as joblib and ONNX, its data as CSV and parquet, a script, a notebook, a README and a licence."""
    frame = load_digits(as_frame=True).frame
    pixels = frame.drop(columns="target").to_numpy(dtype="float32")
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(pixels, frame["target"])
    for name in ("model", "data", "notebooks", "src"):
        (directory / name).mkdir(parents=True)
    joblib.dump(pipeline, directory / "model" / "digits.joblib")
    onnx_model = to_onnx(pipeline, pixels[:1], options={"zipmap": False}, target_opset=17)
    (directory / "model" / "digits.onnx").write_bytes(onnx_model.SerializeToString())
    frame.to_csv(directory / "data" / "digits.csv", index=False)
    frame.to_parquet(directory / "data" / "digits.parquet")
    shutil.copyfile(ROOT / "examples" / "digits" / "train.py", directory / "src" / "train.py")
    (directory / "src" / "train.py").chmod(0o755)
    cells = [nbformat.v4.new_code_cell("1 + 1", id="sum")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), directory / "notebooks" / "explore.ipynb")
    (directory / "README.md").write_text("# Digits\n\nHandwritten digits, classified à 97 %.\n", encoding="utf-8")
    shutil.copyfile(ROOT / "LICENSE", directory / "LICENSE")


def predict(directory: Path) -> dict[str, list[int]]:
    """What the pipeline and the ONNX model say about the data, read from parquet and from CSV."""
    parquet = pd.read_parquet(directory / "data" / "digits.parquet").drop(columns="target")
    csv = pd.read_csv(directory / "data" / "digits.csv").drop(columns="target")
    pipeline = joblib.load(directory / "model" / "digits.joblib")
    session = onnxruntime.InferenceSession(directory / "model" / "digits.onnx")
    inputs = {session.get_inputs()[0].name: csv.to_numpy(dtype="float32")}
    return {
        "joblib": pipeline.predict(parquet.to_numpy(dtype="float32")).tolist(),
        "onnx": session.run(None, inputs)[0].tolist(),
    }


if __name__ == "__main__":
    if sys.argv[1] == "train":
        train(Path(sys.argv[2]))
    else:
        print(json.dumps(predict(Path(sys.argv[2]))))  # noqa: T201 - read by the test
