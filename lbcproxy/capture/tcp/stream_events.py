"""The events of TCP connections, assembled from packets or read from a file of messages.

These are plain values without behaviour.
"""

from collections.abc import Mapping
from typing import TypeAlias

import msgspec

from lbcproxy.endpoint import Endpoint

__all__ = [
    "MAX_OPEN",
    "AnnotatedEvent",
    "Closed",
    "Data",
    "Forgotten",
    "Gap",
    "Noted",
    "Opened",
    "StreamEvent",
]


MAX_OPEN = 16_384
"""Connections that may be open at once; beyond that, those silent longest are forgotten."""


class Opened(msgspec.Struct, frozen=True, gc=False):
    """A connection was seen for the first time; connections are numbered from 1."""

    connection: int
    client: Endpoint
    server: Endpoint
    time_ns: int
    begun: bool = True
    """Whether its start was captured."""


class Data(msgspec.Struct, frozen=True, gc=False):
    """The next bytes of one direction, with the time of the packet that completed them."""

    connection: int
    from_client: bool
    data: bytes
    time_ns: int


class Gap(msgspec.Struct, frozen=True, gc=False):
    """Bytes of one direction were not captured; the next ones come after them.

    `missing` is their number, or `UNKNOWN_SIZE` if sequence numbers do not determine it.
    """

    connection: int
    from_client: bool
    missing: int
    time_ns: int


class Closed(msgspec.Struct, frozen=True, gc=False):
    """One side sends no more; after a reset, neither side does and nothing follows.

    A reset may come after a FIN of the same side. If a new connection takes the addresses and ports
    of one that is still open, the old one counts as reset.
    """

    connection: int
    from_client: bool
    reset: bool
    time_ns: int


class Forgotten(msgspec.Struct, frozen=True, gc=False):
    """A connection was forgotten because too many were open; nothing follows."""

    connection: int
    time_ns: int


class Noted(msgspec.Struct, frozen=True, gc=False):
    """The file says something of a connection at this point, though nothing happens on it."""

    connection: int
    time_ns: int


StreamEvent: TypeAlias = Opened | Data | Gap | Closed | Forgotten | Noted


class AnnotatedEvent(msgspec.Struct, frozen=True, gc=False):
    """An event of a connection, with the annotations that the file has for it.

    Formats that hold messages instead of packets return these. docs/capture-format.md describes
    the annotations.
    """

    event: StreamEvent
    annotations: Mapping[str, object] = {}
    complete: bool = True
    """Whether the bytes end what the annotations are about."""
