"""The front matter of a model or dataset card (README.md): what its authors say about it. Pure.

The keys are those that Hugging Face documents for repository cards. Only what is plainly a text or a list of texts is
taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kitops.kitfile.frontmatter import read_front_matter

if TYPE_CHECKING:
    from collections.abc import Mapping

HEAD: Final = 256 * 1024
"""Bytes of a card that are read at most."""

# Identifiers of licences on cards that SPDX spells otherwise; what is not here is either equal but for case, or
# unknown to SPDX and kept as it is ("llama3.1", "gemma", "openrail").
_SPDX: Final = {
    "apache-2.0": "Apache-2.0",
    "mit": "MIT",
    "bsd": "BSD-3-Clause",
    "bsd-2-clause": "BSD-2-Clause",
    "bsd-3-clause": "BSD-3-Clause",
    "bsd-3-clause-clear": "BSD-3-Clause-Clear",
    "bsl-1.0": "BSL-1.0",
    "cc0-1.0": "CC0-1.0",
    "cc-by-2.0": "CC-BY-2.0",
    "cc-by-3.0": "CC-BY-3.0",
    "cc-by-4.0": "CC-BY-4.0",
    "cc-by-sa-3.0": "CC-BY-SA-3.0",
    "cc-by-sa-4.0": "CC-BY-SA-4.0",
    "cc-by-nc-2.0": "CC-BY-NC-2.0",
    "cc-by-nc-3.0": "CC-BY-NC-3.0",
    "cc-by-nc-4.0": "CC-BY-NC-4.0",
    "cc-by-nd-4.0": "CC-BY-ND-4.0",
    "cc-by-nc-nd-3.0": "CC-BY-NC-ND-3.0",
    "cc-by-nc-nd-4.0": "CC-BY-NC-ND-4.0",
    "cc-by-nc-sa-2.0": "CC-BY-NC-SA-2.0",
    "cc-by-nc-sa-3.0": "CC-BY-NC-SA-3.0",
    "cc-by-nc-sa-4.0": "CC-BY-NC-SA-4.0",
    "cdla-sharing-1.0": "CDLA-Sharing-1.0",
    "cdla-permissive-1.0": "CDLA-Permissive-1.0",
    "cdla-permissive-2.0": "CDLA-Permissive-2.0",
    "wtfpl": "WTFPL",
    "epl-1.0": "EPL-1.0",
    "epl-2.0": "EPL-2.0",
    "eupl-1.1": "EUPL-1.1",
    "eupl-1.2": "EUPL-1.2",
    "agpl-3.0": "AGPL-3.0-only",
    "gpl-2.0": "GPL-2.0-only",
    "gpl-3.0": "GPL-3.0-only",
    "lgpl-2.1": "LGPL-2.1-only",
    "lgpl-3.0": "LGPL-3.0-only",
    "gfdl": "GFDL-1.3-only",
    "artistic-2.0": "Artistic-2.0",
    "afl-3.0": "AFL-3.0",
    "isc": "ISC",
    "lppl-1.3c": "LPPL-1.3c",
    "mpl-2.0": "MPL-2.0",
    "ms-pl": "MS-PL",
    "ncsa": "NCSA",
    "odbl": "ODbL-1.0",
    "odc-by": "ODC-By-1.0",
    "ofl-1.1": "OFL-1.1",
    "osl-3.0": "OSL-3.0",
    "pddl": "PDDL-1.0",
    "postgresql": "PostgreSQL",
    "unlicense": "Unlicense",
    "zlib": "Zlib",
}

_OF_DATASETS: Final = (
    *("dataset_info", "configs", "task_categories", "task_ids", "size_categories", "source_datasets"),
    *("annotations_creators", "language_creators", "multilinguality"),
)
"""Keys that only cards of datasets have."""


@dataclass(frozen=True, slots=True)
class Card:
    """What a card says; empty where it says nothing.

    Args:
        name: the title that the authors gave.
        license: an SPDX identifier where there is one, else the card's own word (``llama3.1``).
        library: of the model (``transformers``).
        task: of the model (``text-generation``).
        base_models: what the model was made from.
        relation: how (``finetune``, ``adapter``, ``quantized``, ``merge``).
        datasets: what it was trained on.
        languages: codes of its languages.
        tags: free words.
        is_dataset: whether it is the card of a dataset.
    """

    name: str = ""
    license: str = ""
    library: str = ""
    task: str = ""
    base_models: tuple[str, ...] = ()
    relation: str = ""
    datasets: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    is_dataset: bool = False

    @property
    def is_model(self) -> bool:
        """Whether it is plainly the card of a model."""
        return not self.is_dataset and bool(self.library or self.task or self.base_models)


def parse_card(text: bytes) -> Card:
    """Read the front matter of a card; one that is not there, cut off, or not YAML is empty."""
    found = read_front_matter(text, "README.md")
    return Card(
        name=_first(found, "model_name", "pretty_name"),
        license=_licence(found),
        library=_first(found, "library_name"),
        task=_first(found, "pipeline_tag"),
        base_models=found.get("base_model", ()),
        relation=_first(found, "base_model_relation"),
        datasets=found.get("datasets", ()),
        languages=found.get("language", ()),
        tags=found.get("tags", ()),
        is_dataset=any(key in found for key in _OF_DATASETS),
    )


def to_spdx(licence: str) -> str:
    """The SPDX identifier of a card's licence, or the word itself where SPDX has none."""
    return _SPDX.get(licence.lower(), licence)


def _licence(found: Mapping[str, tuple[str, ...]]) -> str:
    """The licence where there is exactly one; ``other`` is called by its name where the card has it."""
    named = found.get("license", ())
    if len(named) != 1:
        return ""
    word = named[0]
    if word.lower() in ("other", "unknown"):
        return _first(found, "license_name") if word.lower() == "other" else ""
    return to_spdx(word)


def _first(found: Mapping[str, tuple[str, ...]], *keys: str) -> str:
    return next((found[key][0] for key in keys if found.get(key)), "")
