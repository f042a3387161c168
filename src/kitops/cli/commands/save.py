"""``kit save``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from kitops.cli._options import file_path, kit_command, network_options, option, reference, result_format, switch
from kitops.cli._output import bytes_to_stdout, counted, format_size, is_terminal

if TYPE_CHECKING:
    from kitops.cli._session import Session
    from kitops.cli._settings import NetworkFlags


@kit_command(
    "save",
    examples=[
        ("kit save team/m:v1 team/n:v2 -o models.tar", "two ModelKits in one file"),
        ("kit save -r registry.example.com/team/m:v1 -o m.tar", "straight from the registry, with its signatures"),
        ("kit save team/m:v1 -o - | ssh inside kit load -i -", "through a pipe"),
    ],
)
@reference("refs", "REF...", nargs=-1, required=True)
@option("-o", "--output", required=True, type=file_path(), metavar="FILE", help="Where to; - is stdout.")
@switch("-r", "--remote", help="From the registries, even where the local store has it.")
@switch("--referrers", default=True, help="With what refers to them: signatures, attestations.")
@switch("--parents", default=True, help="With the ModelKits that they take their models from.")
@network_options
@result_format
@click.pass_obj
def command(
    session: Session,
    /,
    *,
    refs: tuple[str, ...],
    output: str,
    remote: bool,
    referrers: bool,
    parents: bool,
    network: NetworkFlags,
) -> None:
    """Write ModelKits into one file, an OCI image layout in a tar, for `kit load`; REF may name several tags."""
    from kitops.oci.reference import Reference
    from kitops.ops.save import SaveOptions, save

    if output == "-" and is_terminal(sys.stdout):
        raise click.UsageError("an archive is not for a terminal: name a file or a pipe", click.get_current_context())
    references = [ref for text in refs for ref in Reference.parse_tags(text)]
    options = SaveOptions(remote=remote, referrers=referrers, parents=parents)
    with session.place(network) as place:
        saved = save(place, references, bytes_to_stdout if output == "-" else output, options)
    what = f"{counted(len(saved.kits), 'ModelKit')} and {counted(len(saved.referrers), 'referrer')}"
    session.say(f"Saved {what}, {format_size(saved.size)}")
    kits = [{"reference": name, "digest": str(desc.digest)} for name, desc in saved.kits]
    value = {"kits": kits, "referrers": [str(desc.digest) for desc in saved.referrers], "size": saved.size}
    if output != "-":
        session.result("\n".join(f"Saved {name or desc.digest}" for name, desc in saved.kits), value)
