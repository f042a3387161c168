"""What is said of a model is known, and what is not known is not said."""

from __future__ import annotations

import json

import pytest

from kitops.weights.facts import Facts, format_parameters, gather_facts
from kitops.weights.model_config import ModelConfig, find_config, parse_model_config
from kitops.weights.tensors import Header, Tensor


def header(*sizes: tuple[str, int], form: str = "safetensors", **metadata: object) -> Header:
    found = tuple(Tensor(f"t{n}", dtype, (count,), 0, 0) for n, (dtype, count) in enumerate(sizes))
    return Header(form, found, {key.replace("__", "."): value for key, value in metadata.items()}, 0)


def facts(files: dict[str, Header], model: str, **config: object) -> dict[str, object]:
    return gather_facts(list(files.items()), model, parse_model_config(json.dumps(config).encode())).to_json()


LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "torch_dtype": "float16",
    "max_position_embeddings": 4096,
}


def test_a_model_of_shards_and_its_config() -> None:
    shards = {f"m/model-0000{n}-of-00002.safetensors": header(("BF16", 500), ("F32", 3)) for n in (1, 2)}
    assert facts(shards, "m", **LLAMA) == {
        "architecture": "LlamaForCausalLM",
        "family": "llama",
        "format": "safetensors",
        "precision": "bfloat16",
        "parameters": 1006,
        "contextLength": 4096,
    }
    shards["lora/adapter.safetensors"] = header(("F16", 9))
    assert facts(shards, "m/model-00001-of-00002.safetensors")["parameters"] == 1006
    assert facts(shards, "m")["parameters"] == 1006


def test_nothing_is_said_of_all_tensors_where_some_are_not_known() -> None:
    names = [f"m/model-0000{n}-of-00003.safetensors" for n in (1, 2, 3)]
    shards = {name: header(("BF16", 500)) for name in names}
    config = parse_model_config(json.dumps(LLAMA).encode())
    whole = gather_facts(list(shards.items()), "m", config)
    assert (whole.parameters, whole.precision) == (1500, "bfloat16")
    for model in ("m", names[0], names[2], "."):
        for lost in ([], [names[1]]):
            known = gather_facts([(name, shards[name]) for name in (names[0], names[2])], model, config, lost)
            assert (known.parameters, known.precision) == (0, "float16"), "what the config says of the whole"
            assert (known.format, known.architecture) == ("safetensors", "LlamaForCausalLM")
    one = [("m/model.safetensors", header(("F32", 10)))]
    assert gather_facts(one, "m", ModelConfig(), ["m/other.safetensors"]).parameters == 0
    assert gather_facts(one, "m/model.safetensors", ModelConfig(), ["m/other.safetensors"]).parameters == 10
    assert gather_facts(one, "m", ModelConfig(), ["elsewhere/other.safetensors"]).parameters == 10


def test_a_gguf_file() -> None:
    meta = {"general__architecture": "qwen2", "general__file_type": 15, "qwen2__context_length": 32768}
    q4 = header(("Q4_K", 900), ("Q6_K", 90), ("F32", 10), form="gguf", **meta)
    assert facts({"m.gguf": q4}, "m.gguf") == {
        "architecture": "qwen2",
        "family": "qwen2",
        "format": "gguf",
        "quantization": "Q4_K_M",
        "parameters": 1000,
        "contextLength": 32768,
    }
    plain = header(("F16", 900), form="gguf", general__file_type=1)
    assert facts({"m.gguf": plain}, "m.gguf") == {"format": "gguf", "precision": "float16", "parameters": 900}


def test_mixed_precision_names_all_that_count() -> None:
    mixed = header(("F32", 40), ("BF16", 60), ("BOOL", 0))
    assert facts({"m.safetensors": mixed}, "m.safetensors")["precision"] == "bfloat16,float32"
    assert "precision" not in facts({"m.safetensors": header(("F8_E8M0", 9))}, "m.safetensors")


def test_packed_weights_have_no_parameter_count() -> None:
    gptq = header(("I32", 800), ("F16", 100))
    known = facts({"m.safetensors": gptq}, "m.safetensors", quantization_config={"quant_method": "gptq", "bits": 4})
    assert known == {"format": "safetensors", "precision": "int32,float16", "quantization": "gptq"}


def test_the_same_weights_twice_have_no_count_but_several_models_have_a_sum() -> None:
    one = header(("F32", 10))
    assert facts({"m/model.safetensors": one, "m/model.fp16.safetensors": header(("F16", 10))}, "m") == {}
    assert facts({"m/a.safetensors": one, "m/b/c.gguf": header(("F32", 10), form="gguf")}, "m") == {}
    pipeline = {"m/unet/model.safetensors": one, "m/vae/model.safetensors": one}
    assert facts(pipeline, "m")["parameters"] == 20
    assert facts(pipeline, ".")["parameters"] == 20
    assert facts(pipeline, "elsewhere.bin") == {}


def test_without_headers_the_config_tells_the_precision() -> None:
    assert facts({}, "m.bin", **LLAMA)["precision"] == "float16"
    assert facts({}, "m.bin", dtype="torch.bfloat16") == {"precision": "bfloat16"}
    assert facts({}, "m.bin", torch_dtype="auto") == {}


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b'{"architectures": "x", "model_type": 3, "torch_dtype": ["x"], "quantization_config": 4}',
        b'{"architectures": [7], "max_position_embeddings": true, "quantization_config": {"quant_method": {}}}',
        b'{"architectures": ["\\u0007"], "model_type": "' + b"x" * 200 + b'", "max_position_embeddings": -1}',
        b" " * ((1 << 20) + 1),
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_a_config_of_another_program_says_nothing(text: bytes) -> None:
    assert parse_model_config(text) == ModelConfig()


def test_the_config_is_in_the_directory_or_beside_it() -> None:
    inside, beside = ModelConfig(model_type="in"), ModelConfig(model_type="by")
    assert find_config({"m/config.json": inside, "config.json": beside}, "m") is inside
    assert find_config({"config.json": beside, "x/config.json": inside}, "m") is beside
    assert find_config({"m/config.json": inside}, "m/w.safetensors") is inside
    assert find_config({"config.json": beside}, ".") is beside
    assert find_config({"x/config.json": inside}, "m") == ModelConfig()


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, ""), (49, ""), (50, "0.1K"), (999, "1.0K"), (124_439_808, "124.4M"), (999_949_999, "999.9M"),
        (999_950_000, "1.0B"), (6_738_415_616, "6.7B"), (10**12, "1.0T"), (10**18, "1000.0Q"),
    ],
)  # fmt: skip
def test_parameters_in_the_grammar_of_the_specification(count: int, text: str) -> None:
    assert format_parameters(count) == text


def test_nothing_is_known_of_nothing() -> None:
    assert gather_facts([], "", ModelConfig()) == Facts()
    assert Facts().to_json() == {}
