"""Loading the session of a capture that a command replays."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from lbcproxy.cli.options import the_network

if TYPE_CHECKING:
    from lbcproxy.replay import Conversation

__all__ = ["load_conversation"]


def load_conversation(file: Path, session: int | None, network: str | None) -> Conversation:
    """Load one session of a capture.

    Args:
        file: The capture.
        session: The number of the session; None for the first one with a handshake.
        network: The id of its network; None to recognise it.

    Raises:
        ClickException: The capture cannot be read.
        NoConversation: It has no such session.
    """
    from lbcproxy.capture import UnknownNetwork
    from lbcproxy.replay import load

    chain = None if network is None else the_network(network)
    try:
        return load(file, session=session, network=chain)
    except UnknownNetwork as error:
        raise click.UsageError(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"cannot read {file}: {error.strerror}") from None
