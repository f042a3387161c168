"""``kit import``."""

from __future__ import annotations

import json
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import click

from kitops.cli._importing import check_writable, describe_import, make_editor, read_kitfile, write_result
from kitops.cli._options import file_path, kit_command, network_options, option, result_format, switch
from kitops.cli._values import quiet_mlflow, read_hub, read_token

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
@option("--token", help="Access token of the source; - reads stdin. Better: HF_TOKEN, KITOPS_GIT_TOKEN, or a login.")
@option("-t", "--tag", "tags", multiple=True, metavar="REF", help="What it is called; org/repo:latest without it.")
@option("--to", "targets", multiple=True, metavar="REF", help="Straight into a registry; nothing large is kept here.")
@option("-f", "--file", "kitfile", metavar="FILE", type=file_path(), help="Use this Kitfile; - reads it from stdin.")
@option("--include", multiple=True, metavar="GLOB", help="Only files that match; can be repeated.")
@option("--exclude", multiple=True, metavar="GLOB", help="No files that match; can be repeated.")
@option(
    "--prefer", default="", metavar="FORMAT", help="Of weights in several formats take this one: safetensors, gguf …"
)
@option("--tool", type=click.Choice(["hf", "git"]), help="How to fetch from Hugging Face; hf without it.")
@switch("--edit", help="Edit the generated Kitfile in $EDITOR first; on a terminal you are asked, but for =false.")
@switch("--submodules", help="Of git: take in submodules, which are refused otherwise.")
@option("--symlinks", type=click.Choice(["refuse", "follow", "skip"]), default="refuse", show_default=True,
        help="Of a directory: what to do with symbolic links.")  # fmt: skip
@option("--depth", type=int, default=0, metavar="N", show_default=True,
        help="Directories deep that files are listed one by one; 0 chooses, -1 is all the way.")  # fmt: skip
@option("--attestation-output", metavar="FILE", type=file_path(),
        help="Write the SLSA provenance predicate there; - prints it.")  # fmt: skip
@network_options
@result_format
@click.pass_obj
def command(session: Session, /, *, source: str, kitfile: str | None, network: NetworkFlags, **given: Any) -> None:
    """Import a model or dataset from where it lives into the local store.

    SOURCE is a repository of Hugging Face (org/model, datasets/org/data, or its URL), the URL of any git repository, or
    a URI of MLflow (models:/name/version, models:/name@alias, runs:/id/path); or a plain directory (./path), which is
    described and packed in one.
    """
    from kitops import __version__
    from kitops.importers.location import parse_location
    from kitops.oci.reference import Reference
    from kitops.ops.import_ import ImportOptions
    from kitops.ops.import_source import import_source
    from kitops.ops.sources import SourceOptions

    quiet_mlflow()
    location = parse_location(source, hub=read_hub(), tool=given["tool"] or "")
    editor = make_editor(session)
    options = ImportOptions(
        references=tuple(ref for tag in given["tags"] for ref in Reference.parse_tags(tag)),
        kitfile_text=read_kitfile(kitfile),
        include=given["include"],
        exclude=given["exclude"],
        prefer=given["prefer"],
        depth=given["depth"],
        symlinks=given["symlinks"],
        edit=editor,
        version=__version__,
    )
    targets = [ref for target in given["targets"] for ref in Reference.parse_tags(target)]
    reach = SourceOptions(
        revision=given["revision"],
        token=read_token(given["token"], location.kind),
        submodules=given["submodules"],
        user_agent=f"kitops/{__version__}",
    )
    if given["attestation_output"]:
        check_writable(given["attestation_output"])
    with session.place(network) as place, editor.keeping() if editor else nullcontext():
        imported = import_source(place, location, reach, options, targets)
    if given["attestation_output"]:
        write_result(given["attestation_output"], json.dumps(imported.predicate, indent=2) + "\n")
    if given["attestation_output"] != "-":  # which has stdout for itself
        done = "Pushed" if targets else "Model saved:"
        session.result(f"{done} {imported.desc.digest}", describe_import(imported))
