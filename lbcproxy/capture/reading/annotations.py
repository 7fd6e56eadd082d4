"""The annotations that lbcproxy left on a section, packet or session of a capture.

Anybody may have written a file, so every value is checked before it is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TypeAlias, TypedDict, cast

import msgspec

from lbcproxy import networks
from lbcproxy.capture.events import SectionHeader
from lbcproxy.capture.formats.pcapng import SCHEMA
from lbcproxy.capture.packet import Section
from lbcproxy.capture.tcp.stream_events import Opened
from lbcproxy.endpoint import Endpoint
from lbcproxy.networks import Network
from lbcproxy.session import Direction, PacketForm, Transports

__all__ = [
    "NO_ANNOTATIONS",
    "Annotations",
    "StreamOffsets",
    "agreed_version",
    "form_of",
    "network_of",
    "parse_annotations",
    "section_header",
    "stream_offsets",
    "trail_of",
    "transports_of",
    "with_host_names",
]


class Annotations(TypedDict, total=False):
    """The keys of docs/capture-format.md that readers use; a file may have others."""

    network: str
    legs: str
    changes: bool
    session: int
    leg: str
    upstream: str
    source: object
    target: object
    continued: bool
    unrecorded: bool
    protocol_version: object
    position: dict[str, object]
    number: int
    verdict: str
    trail: list[object]
    comments: list[object]
    missing: int
    end: object
    transports: object
    form: object


NO_ANNOTATIONS: Annotations = {}

StreamOffsets: TypeAlias = dict[Direction, int]
"""How many bytes of each direction come before a point in a connection."""

_HEADER_KEYS = ("schema", "network", "legs", "changes")

_TYPES: dict[str, type] = {
    **dict.fromkeys(("network", "legs", "leg", "upstream", "verdict"), str),
    **dict.fromkeys(("changes", "continued", "unrecorded"), bool),
    **dict.fromkeys(("session", "number", "missing"), int),
    **dict.fromkeys(("trail", "comments"), list),
    "position": dict,
}


def parse_annotations(texts: tuple[str, ...]) -> Annotations:
    """Return what lbcproxy left on a packet or section; values of a wrong type are left out."""
    for text in texts:
        with suppress(msgspec.DecodeError, RecursionError):
            found = msgspec.json.decode(text)
            if isinstance(found, dict) and found.get("schema") == SCHEMA:
                checked = {
                    key: value
                    for key, value in found.items()
                    if isinstance(value, _TYPES.get(key, object))
                }
                return cast("Annotations", checked)
    return {}


def section_header(section: Section) -> SectionHeader:
    """Return what a section says about everything that follows it."""
    found = parse_annotations(section.custom)
    return SectionHeader(
        network=found.get("network"),
        legs="both" if found.get("legs") == "both" else "client",
        changes=found.get("changes", False),
        metadata={key: value for key, value in found.items() if key not in _HEADER_KEYS},
        comments=section.comments,
    )


def agreed_version(annotations: Annotations) -> int | None:
    """Return the protocol version that was agreed before a session was continued in this file."""
    version = annotations.get("protocol_version")
    if not isinstance(version, int) or not 0 <= version < 1 << 32:
        return None
    return version if annotations.get("continued") else None


def stream_offsets(annotations: Annotations) -> StreamOffsets:
    """Return how many bytes of each direction of a continued leg came before this file."""
    found = dict.fromkeys(Direction, 0)
    for direction, offset in annotations.get("position", {}).items():
        if direction in found and isinstance(offset, int) and 0 <= offset < 1 << 63:
            found[Direction(direction)] = offset
    return found


def network_of(annotations: Annotations) -> Network | None:
    """Return the network that the file names for a session."""
    with suppress(KeyError):
        return networks.get(annotations.get("network", ""))
    return None


def trail_of(annotations: Annotations) -> tuple[str, ...]:
    """Return who decided what about a message, in order."""
    return tuple(map(str, annotations.get("trail", ())))


def transports_of(annotations: Annotations) -> Transports | None:
    """Return how the legs of a session carry messages, if that is worth a word."""
    return Transports.from_dict(annotations.get("transports")) or None


def form_of(annotations: Annotations) -> PacketForm | None:
    """Return how a message came in an encrypted packet, if that was unusual."""
    with suppress(msgspec.ValidationError):
        return msgspec.convert(annotations.get("form"), PacketForm) or None
    return None


def with_host_names(opened: Opened, annotations: Mapping[str, object]) -> Opened:
    """Return the connection with the host names that its first packet is annotated with, if any."""
    if "source" not in annotations and "target" not in annotations:
        return opened
    return msgspec.structs.replace(
        opened,
        client=_endpoint(annotations.get("source")) or opened.client,
        server=_endpoint(annotations.get("target")) or opened.server,
    )


def _endpoint(value: object) -> Endpoint | None:
    """Return the endpoint that `[HOST, PORT]` stands for; None if the value is anything else."""
    try:
        host, port = msgspec.convert(value, tuple[str, int])
        return Endpoint(host, port) if 0 <= port <= 0xFFFF else None
    except ValueError:
        return None
