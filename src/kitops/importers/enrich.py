"""A generated Kitfile with what the source says of the model: its card, its configuration, its weights. Pure.

Nothing is invented: a field that is already there stays, and what nobody says stays empty.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kitops.importers.card import Card
    from kitops.importers.tree import Origin
    from kitops.kitfile.schema import Dataset, Kitfile, Model, Part
    from kitops.oci.gojson import Json

_FORMATS: Final = {
    ".safetensors": "safetensors",
    ".gguf": "gguf",
    ".onnx": "onnx",
    ".bin": "pytorch",
    ".pt": "pytorch",
    ".pth": "pytorch",
    ".ckpt": "pytorch",
    ".h5": "keras",
    ".keras": "keras",
    ".tflite": "tflite",
    ".joblib": "joblib",
    ".pkl": "pickle",
}
_TYPES: Final = {
    "tokenizer.json": "tokenizer",
    "tokenizer_config.json": "tokenizer",
    "tokenizer.model": "tokenizer",
    "vocab.json": "tokenizer",
    "vocab.txt": "tokenizer",
    "merges.txt": "tokenizer",
    "special_tokens_map.json": "tokenizer",
    "added_tokens.json": "tokenizer",
    "sentencepiece.bpe.model": "tokenizer",
    "spiece.model": "tokenizer",
    "config.json": "config",
    "generation_config.json": "config",
    "preprocessor_config.json": "config",
    "processor_config.json": "config",
    "adapter_config.json": "config",
    "adapter_model.safetensors": "lora-adapter",
    "adapter_model.bin": "lora-adapter",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of a model beside its files.

    Args:
        card: its card.
        facts: of its configuration and weights, in the order in which they are to be written
            (``{"architecture": …, "parameterCount": …}``): JSON-compatible.
        framework: of the model, where the card does not say it.
        is_lora: whether ``adapter_config.json`` says that the weights are a LoRA.
    """

    card: Card
    facts: Mapping[str, Json] = field(default_factory=dict)
    framework: str = ""
    is_lora: bool = False


def enrich(kitfile: Kitfile, origin: Origin, known: Known) -> Kitfile:
    """The Kitfile with the package's name and authors, the licence, and what is known of the model."""
    owner, _, name = origin.name.rpartition("/")
    package = replace(
        kitfile.package,
        name=kitfile.package.name or name,
        authors=kitfile.package.authors or ((owner,) if owner else ()),
    )
    card = known.card
    model = kitfile.model
    datasets = kitfile.datasets
    if model is not None:
        model = _enrich_model(model, name, known)
    elif origin.is_dataset:
        datasets = tuple(_enrich_dataset(dataset, card) for dataset in datasets)
    if card.license and not package.license and model is None:
        package = replace(package, license=card.license)
    return replace(kitfile, package=package, model=model, datasets=datasets)


def _enrich_model(model: Model, name: str, known: Known) -> Model:
    card = known.card
    parameters = {
        **known.facts,
        **_some(
            task=card.task,
            baseModels=list(card.base_models),
            baseModelRelation=card.relation,
            datasets=list(card.datasets),
            languages=list(card.languages),
        ),
    }
    return replace(
        model,
        name=name or model.name,
        # the card speaks for the model; a licence text beside it may be that of the code
        license=card.license or model.license,
        framework=model.framework or card.library or known.framework,
        format=model.format or _format_of(model.path),
        parts=tuple(_typed(part, is_lora=known.is_lora) for part in model.parts),
        parameters=parameters or None if model.parameters is None else model.parameters,
    )


def _enrich_dataset(dataset: Dataset, card: Card) -> Dataset:
    parameters = _some(task=card.task, languages=list(card.languages))
    return replace(
        dataset,
        license=dataset.license or card.license,
        parameters=dataset.parameters if dataset.parameters is not None else parameters or None,
    )


def _typed(part: Part, *, is_lora: bool) -> Part:
    """A part with the type that its name stands for."""
    kind = _TYPES.get(part.path.rpartition("/")[2], "")
    if part.type or not kind or (kind == "lora-adapter" and not is_lora):
        return part
    return replace(part, type=kind)


def _format_of(path: str) -> str:
    return next((name for suffix, name in _FORMATS.items() if path.lower().endswith(suffix)), "")


def _some(**values: Json) -> dict[str, Json]:
    """Those that say something."""
    return {key: value for key, value in values.items() if value}
