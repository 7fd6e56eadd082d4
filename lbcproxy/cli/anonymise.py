"""`lbcproxy anonymise`: a capture without what tells who spoke."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from lbcproxy.cli.output import output_options, the_captures, write_events

__all__ = ["command"]


@click.command(name="anonymise", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("source", metavar="IN", type=click.Path(path_type=Path, allow_dash=True))
@click.argument("target", metavar="OUT", type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "--seed",
    metavar="TEXT",
    help="What the other values are made of, so that several captures get the same. Keep it secret:"
    " with it they can be told. Else nobody can, and each capture gets its own.",
)
@output_options
def command(
    source: Path,
    target: Path,
    seed: str | None,
    form: str | None,
    network: str | None,
    force: bool,
    in_place: bool,
) -> int:
    """Write the capture IN without what tells who spoke into OUT: addresses, user agents, nonces.

    The same value becomes the same other value, so the conversation can still be followed; messages
    stay decodable. What cannot be read is left out. Transactions and blocks stay as they are. What
    was changed, left out and kept is said; docs/captures.md says it of each message.
    """
    import hashlib
    import secrets

    from lbcproxy.capture.tools.anonymise import Anonymiser

    key = secrets.token_bytes(32) if seed is None else hashlib.sha256(seed.encode()).digest()
    [capture] = the_captures([source], network)
    made = Anonymiser(key)
    return write_events(
        [capture],
        made.of(capture.events()),
        target,
        form=form,
        force=force,
        in_place=in_place,
        done=lambda messages: _words(made, messages, target),
    )


def _words(made: Any, messages: int, target: Path) -> Iterator[str]:
    yield f"Wrote {messages:,} messages to {target}."
    for name, counts in (
        ("changed", made.changed),
        ("left out", made.left_out),
        ("as it was", made.as_it_is),
    ):
        found = ", ".join(f"{what} {count:,}" for what, count in sorted(counts.items()) if count)
        yield f"  {name:<9} {found or 'nothing'}"
