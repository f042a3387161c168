"""``kit pack``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kitops.cli._options import file_path, kit_command, network_options, option, result_format, switch
from kitops.cli._packing import check_options, names_registry, tell, work
from kitops.cli._values import parse_annotations, parse_created, read_stdin

if TYPE_CHECKING:
    from kitops.cli._session import Session
    from kitops.cli._settings import NetworkFlags

_REMOTE: dict[str, Any] = {"pin_remote": "pin", "pin_remote_content": "pin-content", "skip_remote_check": "skip"}
_CODECS = ["none", "gzip", "gzip-fastest", "zstd"]


@kit_command(
    "pack",
    examples=[
        ("kit pack . -t registry.example.com/team/model:v1", "pack what ./Kitfile names"),
        ("kit pack . -t registry.example.com/team/model:v1,latest --push", "with two tags, and push it"),
        ("kit pack . --push registry.example.com/team/model:v1", "straight to the registry, nothing is kept here"),
        ("kit pack . -f other.yaml --symlinks follow", "another Kitfile; links become what they lead to"),
    ],
)
@click.argument("directory", type=file_path(file_okay=False))
@option("-f", "--file", "kitfile", metavar="FILE", type=file_path(), help="The Kitfile; - reads it from stdin.")
@option("-t", "--tag", "tags", multiple=True, metavar="REF", help="What it is called: repository:tag[,tag…].")
@option("--compression", type=click.Choice(_CODECS), default="none", show_default=True, help="Of the layers.")
@option("--layer-format", type=click.Choice(["tar", "raw"]), default="tar", show_default=True,
        help="raw: a path is one file, packed as it is; directories only with --use-model-pack.")  # fmt: skip
@switch("--use-model-pack", help="Write a CNCF ModelPack artifact.")
@switch("--push", instead=("--push-to", names_registry),
        help="Push it to its registry afterwards; --push REF, with a registry in REF, is --push-to REF.")  # fmt: skip
@option("--push-to", "targets", multiple=True, metavar="REF", help="Straight to a registry; nothing is kept here.")
@switch("--keep", help="Of --push REF and --push-to: keep it in the local store too.")
@option("--symlinks", type=click.Choice(["refuse", "follow", "skip"]), default="refuse", show_default=True,
        help="What to do with symbolic links.")  # fmt: skip
@switch("--no-cache", help="Read every file, also those that look unchanged, and write every layer again.")
@option("--annotation", "annotations", multiple=True, metavar="KEY=VALUE", help="Annotation of the manifest.")
@option("--created", metavar="now|TIME", help="Note a time of creation (RFC 3339); the digest depends on it.")
@switch("--pin-remote", help="Fill in missing remoteHash of remote datasets: ETag and version, else SHA-256.")
@switch("--pin-remote-content", help="The same by SHA-256; reads what is there once.")
@switch("--skip-remote-check", help="Do not look whether remote datasets are there and unchanged.")
@network_options
@result_format
@click.pass_obj
def command(session: Session, /, *, directory: str, kitfile: str | None, network: NetworkFlags, **given: Any) -> None:
    """Pack DIRECTORY into a ModelKit in the local store."""
    from kitops.oci.reference import Reference
    from kitops.ops.pack import PackOptions

    how = [name for name in _REMOTE if given[name]]
    if len(how) > 1:
        raise click.UsageError("--pin-remote, --pin-remote-content and --skip-remote-check exclude one another")
    options = PackOptions(
        references=tuple(ref for tag in given["tags"] for ref in Reference.parse_tags(tag)),
        kitfile_path=Path(kitfile) if kitfile and kitfile != "-" else None,
        kitfile_text=read_stdin() if kitfile == "-" else None,
        compression=given["compression"],
        layer_format=given["layer_format"],
        modelpack=given["use_model_pack"],
        symlinks=given["symlinks"],
        cache=not given["no_cache"],
        annotations=parse_annotations(given["annotations"]) | parse_created(given["created"]),
        remote_data=_REMOTE[how[0]] if how else "check",
    )
    targets = [ref for target in given["targets"] for ref in Reference.parse_tags(target)]
    asked = {"push": given["push"], "keep": given["keep"]}
    check_options(options, targets, **asked)
    with session.place(network) as place:
        packed = work(place, Path(directory), targets, options, **asked)
    tell(session, packed, pushed=given["push"] or bool(targets))
