"""What happens on connections: what TCP makes of packets, or what a file of messages tells.

Nothing here computes.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec

from lbcproxy.endpoint import Endpoint

__all__ = ["MAX_OPEN", "Closed", "Data", "Forgotten", "Gap", "Happened", "Opened", "StreamEvent"]


MAX_OPEN = 16_384
"""Connections that may be open at once; of more, those that were silent for longest are let go."""


class Opened(msgspec.Struct, frozen=True, gc=False):
    """A connection was seen for the first time; connections count from 1."""

    connection: int
    client: Endpoint
    server: Endpoint
    time_ns: int
    begun: bool = True
    """Whether its beginning was captured."""


class Data(msgspec.Struct, frozen=True, gc=False):
    """The next bytes of one direction; the time is that of the packet that completed them."""

    connection: int
    from_client: bool
    data: bytes
    time_ns: int


class Gap(msgspec.Struct, frozen=True, gc=False):
    """So many bytes of one direction were not captured; what comes next is from after them.

    `missing` is `UNKNOWN_SIZE` where sequence numbers do not tell how many.
    """

    connection: int
    from_client: bool
    missing: int
    time_ns: int


class Closed(msgspec.Struct, frozen=True, gc=False):
    """One side sends no more; after a reset neither does, and nothing follows.

    A reset may come after the same side's orderly end. A connection that was still open when a
    new one took its addresses counts as reset.
    """

    connection: int
    from_client: bool
    reset: bool
    time_ns: int


class Forgotten(msgspec.Struct, frozen=True, gc=False):
    """A connection was silent for longer than many others were open; nothing follows."""

    connection: int
    time_ns: int


StreamEvent: TypeAlias = Opened | Data | Gap | Closed | Forgotten


class Happened(msgspec.Struct, frozen=True, gc=False):
    """Something on a connection, with what the file says of it.

    The facts are those of docs/capture-format.md. Formats that hold messages and no packets give
    these.
    """

    event: StreamEvent
    facts: Mapping[str, Any] = {}
    whole: bool = True
    """Whether a piece that a note is about ends with these bytes."""
