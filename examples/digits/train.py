"""Train a small classifier of handwritten digits and write everything that the ModelKit holds.

Run it in an environment with scikit-learn, skl2onnx, pandas and joblib::

    python train.py

It writes ``model/digits.joblib``, ``model/digits.onnx``, ``data/train.csv`` and ``data/test.csv`` beside itself.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import joblib
import pandas as pd
from skl2onnx import to_onnx
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler


def read_tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    """The bundled digits, as a training table and a test table: 64 pixels from 0 to 16 and the digit."""
    digits = load_digits(as_frame=True)
    table = digits.frame.astype("int64").rename(columns={"target": "digit"})
    return train_test_split(table, test_size=0.2, random_state=0, stratify=table["digit"])


def train(table: pd.DataFrame) -> Pipeline:
    """A pipeline that scales the pixels and classifies them with one hidden layer."""
    pipeline = make_pipeline(StandardScaler(), MLPClassifier((32,), max_iter=300, random_state=0))
    return pipeline.fit(pixels(table), table["digit"])


def pixels(table: pd.DataFrame):
    """The inputs of ``table``, one row of 64 floats each."""
    return table.drop(columns="digit").to_numpy(dtype="float32")


def main() -> None:
    """Train, measure, write."""
    parser = argparse.ArgumentParser(description="Train the classifier of digits and write its files.")
    parser.add_argument("directory", nargs="?", type=Path, default=Path(__file__).parent)
    directory = parser.parse_args().directory
    training, test = read_tables()
    pipeline = train(training)
    print(f"accuracy on {len(test)} test rows: {pipeline.score(pixels(test), test['digit']):.3f}")  # noqa: T201
    (directory / "model").mkdir(parents=True, exist_ok=True)
    (directory / "data").mkdir(exist_ok=True)
    joblib.dump(pipeline, directory / "model" / "digits.joblib", compress=3)
    onnx_model = to_onnx(pipeline, pixels(training)[:1], options={"zipmap": False}, target_opset=17)
    (directory / "model" / "digits.onnx").write_bytes(onnx_model.SerializeToString())
    training.to_csv(directory / "data" / "train.csv", index=False)
    test.to_csv(directory / "data" / "test.csv", index=False)


if __name__ == "__main__":
    main()
