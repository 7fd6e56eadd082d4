"""`lbcproxy anonymise`: remove everything that identifies the peers from a capture."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import click

from lbcproxy.cli.captures import open_inputs
from lbcproxy.cli.output import OutputOptions, output_options, write_events

if TYPE_CHECKING:
    from lbcproxy.capture.tools.anonymise import Anonymiser

__all__ = ["command"]


@click.command(name="anonymise", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("source", metavar="IN", type=click.Path(path_type=Path, allow_dash=True))
@click.argument("target", metavar="OUT", type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "--seed",
    metavar="TEXT",
    help="Derive the replacement values from this secret, so that several captures get the same "
    "ones. Anyone who knows it can guess the original values. Without it, each capture gets its "
    "own values, and nobody can.",
)
@output_options
def command(
    source: Path,
    target: Path,
    seed: str | None,
    network: str | None,
    **options: Unpack[OutputOptions],
) -> int:
    """Copy the capture IN to OUT without anything that identifies the peers.

    Addresses, user agents and nonces are replaced, always by the same value, so the conversation
    can still be followed and messages can still be decoded. What cannot be read is left out.
    Transactions and blocks are kept as they are. A summary says what was changed, left out and
    kept; docs/captures.md lists it for each message.
    """
    import hashlib
    import secrets

    from lbcproxy.capture.tools.anonymise import Anonymiser

    key = secrets.token_bytes(32) if seed is None else hashlib.sha256(seed.encode()).digest()
    [capture] = open_inputs([source], network)
    anonymiser = Anonymiser(key)
    return write_events(
        [capture],
        anonymiser.apply(capture.events()),
        target,
        options,
        lambda messages: _summary(anonymiser, messages, target),
    )


def _summary(anonymiser: Anonymiser, messages: int, target: Path) -> Iterator[str]:
    yield f"Wrote {messages:,} messages to {target}."
    for name, counts in (
        ("changed", anonymiser.changed),
        ("left out", anonymiser.left_out),
        ("as it was", anonymiser.kept),
    ):
        found = ", ".join(f"{what} {count:,}" for what, count in sorted(counts.items()) if count)
        yield f"  {name:<9} {found or 'nothing'}"
