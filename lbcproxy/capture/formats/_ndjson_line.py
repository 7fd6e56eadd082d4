"""A line of ndjson: the keys that are read."""

from __future__ import annotations

from typing import Annotated

import msgspec

from lbcproxy.session import UNKNOWN_SIZE
from lbcproxy.session.verdict import EntryVerdict

__all__ = ["JsonLine"]

Count = Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)]
Large = Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)]
Lost = Annotated[int, msgspec.Meta(ge=UNKNOWN_SIZE, lt=1 << 31)]


class JsonLine(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The keys of a line that are read; bytes are in hexadecimal."""

    event: str | None = None
    time: str | None = None
    number: int | None = None
    session: Count | None = None
    direction: str | None = None
    command: str | None = None
    length: Count | None = None
    verdict: str = EntryVerdict.PASS
    trail: tuple[str, ...] = ()
    missing: Lost = 0
    payload: str | None = None
    header: str | None = None
    """Of the frame, if command and payload imply another one."""
    form: dict[str, object] = {}
    """How it came in an encrypted packet, if that was unusual."""
    sent: str | None = None
    """What was sent in place of a rewritten message."""
    network: str | None = None
    client: str | None = None
    listen: str | None = None
    upstream: str | None = None
    local: str | None = None
    end: dict[str, object] = {}
    """Why a session ended."""
    transports: dict[str, object] = {}
    """How its legs carry messages."""
    begun: bool = True
    protocol_version: Count | None = None
    legs: str = "client"
    changes: bool = False
    metadata: dict[str, msgspec.Raw] = {}
    comments: tuple[str, ...] = ()
    messages: Large = 0
    bytes: Large = 0
    packets: Large = 0
    """How much is missing."""
    why: str = ""
