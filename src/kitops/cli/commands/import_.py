"""``kit import``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kitops.cli._importing import describe_import, edit_kitfile, read_kitfile, write_result
from kitops.cli._options import kit_command, network_options, option, result_format, switch
from kitops.cli._values import can_ask, hub_host, quiet_mlflow

if TYPE_CHECKING:
    from kitops.cli._session import Session
    from kitops.cli._settings import NetworkFlags


@kit_command(
    "import",
    examples=[
        ("kit import org/model", "a model of Hugging Face, as org/model:latest"),
        ("kit import datasets/org/data --ref v1.0 -t registry.example.com/team/data:v1", "a dataset, at a tag"),
        ("kit import https://git.example.com/team/model.git --ref main", "any git repository, with git-lfs"),
        ("kit import org/model --to registry.example.com/team/model:v1", "from hub to registry, not through this disk"),
        ("kit import org/model --prefer safetensors --exclude '*.onnx'", "one format of the weights"),
    ],
)
@click.argument("source")
@option("--ref", "revision", default="", metavar="REVISION", help="Branch, tag or commit; main without it.")
@option("--token", help="Access token of the source; it is better kept in HF_TOKEN or the source's own login.")
@option("-t", "--tag", "tags", multiple=True, metavar="REF", help="What it is called; org/repo:latest without it.")
@option("--to", "targets", multiple=True, metavar="REF", help="Straight into a registry; nothing large is kept here.")
@option("-f", "--file", "kitfile", metavar="FILE", type=click.Path(), help="Use this Kitfile; - reads it from stdin.")
@option("--include", multiple=True, metavar="GLOB", help="Only files that match; can be repeated.")
@option("--exclude", multiple=True, metavar="GLOB", help="No files that match; can be repeated.")
@option(
    "--prefer", default="", metavar="FORMAT", help="Of weights in several formats take this one: safetensors, gguf …"
)
@option("--tool", type=click.Choice(["hf", "git"]), help="How to fetch a URL of Hugging Face; hf without it.")
@switch("--edit", help="Edit the generated Kitfile in $EDITOR first; on a terminal you are asked.")
@switch("--submodules", help="Of git: take in submodules, which are refused otherwise.")
@option("--depth", type=int, default=0, metavar="N", show_default=True,
        help="Directories deep that files are listed one by one; 0 chooses, -1 is all the way.")  # fmt: skip
@option("--attestation-output", metavar="FILE", type=click.Path(),
        help="Write the SLSA provenance predicate there; - prints it.")  # fmt: skip
@network_options
@result_format
@click.pass_obj
def command(session: Session, /, *, source: str, kitfile: str | None, network: NetworkFlags, **given: Any) -> None:
    """Import a model or dataset from where it lives into the local store.

    SOURCE is a repository of Hugging Face (org/model, datasets/org/data, or its URL), the URL of any git repository, or
    a URI of MLflow (models:/name/version, models:/name@alias, runs:/id/path); or a plain directory (./path), which is
    `kit init` and `kit pack` in one.
    """
    from kitops import __version__
    from kitops.importers.location import parse_location
    from kitops.oci.reference import Reference
    from kitops.ops.import_ import ImportOptions, import_, import_directory, import_to
    from kitops.ops.sources import SourceOptions, open_source

    quiet_mlflow()
    location = parse_location(source, hub_host=hub_host(), tool=given["tool"] or "")
    options = ImportOptions(
        references=tuple(ref for tag in given["tags"] for ref in Reference.parse_tags(tag)),
        kitfile_text=read_kitfile(kitfile),
        include=given["include"],
        exclude=given["exclude"],
        prefer=given["prefer"],
        depth=given["depth"],
        edit=edit_kitfile if given["edit"] or can_ask() else None,
        version=__version__,
    )
    targets = [ref for target in given["targets"] for ref in Reference.parse_tags(target)]
    if targets and (options.references or location.kind == "directory"):
        raise click.UsageError("--to takes neither --tag nor a directory: `kit pack --push` pushes one")
    reach = SourceOptions(
        revision=given["revision"],
        token=given["token"],
        submodules=given["submodules"],
        user_agent=f"kitops/{__version__}",
    )
    with session.place(network) as place:
        if location.kind == "directory":
            imported = import_directory(place, Path(location.where).expanduser(), options)
        else:
            with open_source(place, location, reach) as tree:
                imported = import_to(place, tree, targets, options) if targets else import_(place, tree, options)
    if given["attestation_output"]:
        write_result(given["attestation_output"], json.dumps(imported.predicate, indent=2) + "\n")
    if given["attestation_output"] != "-":  # which has stdout for itself
        done = "Pushed" if targets else "Model saved:"
        session.result(f"{done} {imported.desc.digest}", describe_import(imported))
