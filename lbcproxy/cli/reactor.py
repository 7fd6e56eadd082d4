"""The reactor of the process, for the commands that need a network."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from lbcproxy.reactor import Reactor

__all__ = ["the_reactor"]


def the_reactor() -> Reactor:
    """Return Twisted's reactor; everything else gets it as an argument."""
    from twisted.internet import reactor  # noqa: TID251  # the edge of the program

    return cast("Reactor", reactor)
