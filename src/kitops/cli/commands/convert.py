"""``kit convert``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kitops.cli._options import kit_command, network_options, option, reference, result_format, switch

if TYPE_CHECKING:
    from kitops.cli._session import Session
    from kitops.cli._settings import NetworkFlags


@kit_command(
    "convert",
    examples=[
        ("kit convert team/model:v1 --to modelpack", "the same layers as team/model:v1-modelpack"),
        ("kit convert team/model:v1 --to modelpack --layer-format raw", "one layer a file"),
        ("kit convert team/model:v1 reg.example.com/team/car:v1 --to image", "an image with everything in /models"),
        ("kit convert -r reg.example.com/team/model:v1 --to modelpack", "in the registry, without pulling"),
    ],
)
@reference("ref", "REF")
@reference("destination", "[DESTINATION]", required=False)
@option("--to", "to", type=click.Choice(["modelkit", "modelpack", "image"]), required=True, help="What it becomes.")
@option("--layer-format", type=click.Choice(["tar", "raw"]), help="Of the layers.  [default: what they are]")
@option("--compression", type=click.Choice(["none", "gzip", "gzip-fastest", "zstd"]),
        help="Of the layers.  [default: as they are]")  # fmt: skip
@option("--platform", default="linux/amd64", show_default=True, metavar="OS/ARCH[/VARIANT]",
        help="What an image is for.")  # fmt: skip
@switch("--headers", default=None,
        help="Read the headers of the weights, so that a ModelPack's config tells what they say.  "
             "[default: where that takes some KiB; --headers=false: never]")  # fmt: skip
@switch("-r", "--remote", help="Convert in the registry; REF is not pulled.")
@network_options
@result_format
@click.pass_obj
def command(
    session: Session, /, *, ref: str, destination: str | None, to: Any, network: NetworkFlags, **given: Any
) -> None:
    """Convert REF to another format, reusing layers that need not change.

    REF is a ModelKit, a ModelPack artifact, or anything else that `kit unpack` reads. The result is DESTINATION, else
    REF with -modelkit, -modelpack or -image behind its tag.
    """
    from kitops.oci.reference import Reference
    from kitops.ops.convert import ConvertOptions, convert

    target = Reference.parse(destination) if destination else None
    with session.place(network) as place:
        done = convert(place, Reference.parse(ref), to, ConvertOptions(destination=target, **given))
    session.say(f"{done.reference}: {done.reused} layers reused, {done.written} written")
    session.result(
        f"Converted {done.desc.digest}",
        {"source": str(done.source.digest), "digest": str(done.desc.digest), "reference": str(done.reference),
         "format": to, "reused": done.reused, "written": done.written, "newSize": done.new_size,
         "kitfileMade": done.kitfile_made},
    )  # fmt: skip
