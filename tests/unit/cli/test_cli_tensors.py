"""``kit inspect --tensors`` and ``kit diff --tensors`` as people see them."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_runs import Kit

from weight_bytes import plain_safetensors

UNDECIDED = "their values may differ, headers do not tell"


@pytest.fixture
def weights(tmp_path: Path, kit: Kit) -> Path:
    """``tiny:v1`` with one file of weights, ``tiny:v2`` with another and a second file."""
    root = tmp_path / "weights"
    root.mkdir()
    (root / "m.safetensors").write_bytes(plain_safetensors(**{"wte.weight": (512, 4), "bias": (4,)}))
    (root / "Kitfile").write_text("model: {path: m.safetensors}\n")
    assert kit("pack", str(root), "-t", "tiny:v1").code == 0
    (root / "m.safetensors").write_bytes(plain_safetensors(**{"wte.weight": (512, 8), "bias": (4,)}))
    (root / "lora.safetensors").write_bytes(plain_safetensors(lora=()))
    (root / "Kitfile").write_text("model: {path: m.safetensors, parts: [{path: lora.safetensors}]}\n")
    assert kit("pack", str(root), "-t", "tiny:v2").code == 0
    return root


def test_a_table_with_sums(kit: Kit, weights: Path) -> None:
    assert kit("inspect", "--tensors", "tiny:v1").out == (
        "FILE            TENSOR       DTYPE   SHAPE     SIZE\n"
        "m.safetensors   wte.weight   F32     512 x 4   8.0 KiB\n"
        "m.safetensors   bias         F32     4         16 B\n"
        "\n"
        "model: safetensors, float32, 2.1K parameters\n"
        "m.safetensors: 2 tensors, 2.1K parameters (F32 2.1K), 8.0 KiB\n"
    )
    assert kit("inspect", "--tensors", "tiny:v2").out.splitlines()[-4:] == [
        "model: safetensors, float32, 4.1K parameters",
        "m.safetensors: 2 tensors, 4.1K parameters (F32 4.1K), 16.0 KiB",
        "lora.safetensors: 1 tensor, 1 parameters (F32 1), 4 B",
        "2 files: 3 tensors, 4.1K parameters (F32 4.1K), 16.0 KiB",
    ]


def test_json_and_templates(kit: Kit, weights: Path) -> None:
    table = kit("inspect", "--tensors", "tiny:v1", "--format", "json").json
    assert (table["tensorCount"], table["parameters"], table["bytes"]) == (2, 2052, 8208)
    assert table["files"][0]["tensors"][1]["name"] == "bias"
    lines = kit(
        "inspect", "--tensors", "tiny:v2", "--format", '{{.Name}} {{.DType}} {{join .Shape ","}} {{.Bytes}}'
    ).out
    assert lines == "wte.weight F32 512,8 16384\nbias F32 4 16\nlora F32  4\n"
    wrong = kit("inspect", "--tensors", "tiny:v1", "--format", "{{.Color}}")
    assert wrong.code == 2
    assert ".DType" in wrong.err


def test_a_file_and_a_registry(kit: Kit, weights: Path, registry: str) -> None:
    alone = kit("inspect", "--tensors", str(weights / "m.safetensors"), "--format", "json").json
    assert alone["digest"] is None
    there = f"{registry}/tiny:v1"
    assert kit("push", "tiny:v1", there, "--plain-http").code == 0
    out = kit("inspect", "--tensors", "-r", there, "--plain-http").out
    assert "nothing was verified" in out
    assert "wte.weight" in out


def test_a_file_by_its_bare_name(kit: Kit, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(weights)
    (weights / "Large.GGUF").write_bytes(b"no weights at all")
    (weights / "tiny:v1").write_bytes(b"a file that is called like a ModelKit")
    assert "wte.weight" in kit("inspect", "--tensors", "m.safetensors").out
    assert "Large.GGUF, byte 0" in kit("inspect", "--tensors", "Large.GGUF").err
    assert kit("inspect", "--tensors", "tiny:v1", "--format", "json").json["digest"] is not None
    assert kit("inspect", "--tensors", "-r", "m.safetensors").code == 2
    assert kit("inspect", "--tensors", "n.safetensors").code == 2


def test_errors_are_one_line(kit: Kit, weights: Path) -> None:
    (weights / "m.safetensors").write_bytes(b"no weights at all")
    ended = kit("inspect", "--tensors", str(weights / "m.safetensors"))
    assert ended.code == 2
    assert "byte 0: a header of" in ended.err
    assert kit("inspect", "--tensors", str(weights / "absent")).code == 14
    usage = kit("inspect", "tiny:v1", "--format", "table")
    assert usage.code == 2
    assert "without --tensors" in usage.err


def test_differences(kit: Kit, weights: Path) -> None:
    ended = kit("diff", "--tensors", "--exit-code", "--values=false", "tiny:v1", "tiny:v2")
    assert ended.code == 1
    assert ended.out.splitlines()[2:] == [
        "  ~ wte.weight   F32 512 x 4 in m.safetensors -> F32 512 x 8 in m.safetensors",
        "  + lora   F32 scalar in lora.safetensors",
        "  ? bias   F32 4 in m.safetensors",
        f"1 tensor of the same dtype and shape in layers with other digests: {UNDECIDED}",
        "--values reads and compares them",
    ]
    same = kit("diff", "--tensors", "--exit-code", "tiny:v1", "tiny:v1")
    assert same.code == 0
    assert same.out.splitlines()[2:] == ["2 tensors the same: the layers that hold them have the same digests"]
    table = kit("diff", "--tensors", "--values=false", "--format", "json", "tiny:v1", "tiny:v2").json
    assert [change["change"] for change in table["changes"]] == ["changed", "added"]
    assert table["undecided"] == 1
    assert [tensor["name"] for tensor in table["undecidedTensors"]] == ["bias"]


def test_differences_of_values(kit: Kit, weights: Path) -> None:
    weights_file = weights / "m.safetensors"
    weights_file.write_bytes(weights_file.read_bytes()[:-1] + b"\1")
    assert kit("pack", str(weights), "-t", "tiny:v3").code == 0
    ended = kit("diff", "--tensors", "--exit-code", "tiny:v2", "tiny:v3")
    assert ended.code == 1
    assert ended.out.splitlines()[2:] == [
        "  ~ bias   F32 4 in m.safetensors: other values",
        "1 tensor the same: the layers that hold them have the same digests",
        "1 tensor the same: their values were compared",
    ]
    table = kit("diff", "--tensors", "--format", "json", "tiny:v2", "tiny:v3").json
    assert [(change["name"], change["valuesEqual"]) for change in table["changes"]] == [("bias", False)]
    assert (table["same"], table["compared"], table["undecided"]) == (2, 1, 0)
    assert kit("diff", "--values", "tiny:v2", "tiny:v3").code == 2
