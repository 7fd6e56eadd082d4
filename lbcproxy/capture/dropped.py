"""What a pass over a capture read but did not pass on, counted by reason.

Code that drops something calls `Dropped.add`. Text for people is made only here: to add a reason,
add it to `DropReason` and to `_SENTENCES`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple, TypedDict

__all__ = ["DropReason", "Dropped", "DroppedCount"]


class DropReason(StrEnum):
    """Why something was not passed on."""

    LINK_TYPE = "link-type"
    """The packet has an unsupported link type; the detail names it."""
    NOT_TCP = "not-tcp"
    """The packet is of another protocol, such as ARP or UDP; the detail names it."""
    ENCAPSULATION = "encapsulation"
    """The packet belongs to an unsupported tunnel, which may hold TCP; the detail names it."""
    HEADER_CUT = "header-cut"
    """The capture holds only part of a header; the detail names the protocol."""
    HEADER_MALFORMED = "header-malformed"
    """A header contradicts itself; the detail names the protocol."""
    FRAGMENT_UNUSABLE = "fragment-unusable"
    """The capture holds only part of an IP fragment, or its offset is impossible."""
    FRAGMENTS_MISSING = "fragments-missing"
    """Some fragments of the IP packet are not in the capture."""
    OUTSIDE_WINDOW = "outside-window"
    """The segment has sequence numbers that no receiver accepts (RFC 9293, 3.10.7.4).

    Or its bytes come after they were given up: the receiver had them before.
    """
    OLDER_CONNECTION = "older-connection"
    """The segment repeats bytes of an earlier connection with the same addresses and ports."""
    AFTER_END = "after-end"
    """The segment has bytes after the FIN or RST of its connection."""
    CONFLICT = "conflict"
    """The segment repeats bytes with other values; those that came first are passed on."""
    IGNORED_RESET = "ignored-reset"
    """The receiver ignores the RST (RFC 5961, 3.2), or the connection continued."""
    IGNORED_SYN = "ignored-syn"
    """The SYN is in an open connection, which continued (RFC 5961, 4.2)."""
    TOO_MUCH_HELD = "too-much-held"
    """An incomplete message was cut off because all connections together buffered too much."""
    ENCRYPTED = "encrypted"
    """Bytes before it are missing, so this part of an encrypted connection cannot be decrypted."""


class _Sentence(NamedTuple):
    """The text for one packet, and for several; the details and their counts follow it."""

    singular: str
    plural: str


_NO_TCP = _Sentence("packet holds no TCP that is read", "packets hold no TCP that is read")

_SENTENCES: dict[DropReason, _Sentence] = {
    DropReason.LINK_TYPE: _Sentence(
        "packet has a link type that is not read", "packets have a link type that is not read"
    ),
    DropReason.NOT_TCP: _NO_TCP,
    DropReason.ENCAPSULATION: _NO_TCP,
    DropReason.HEADER_CUT: _Sentence(
        "packet is not read since a header is cut", "packets are not read since a header is cut"
    ),
    DropReason.HEADER_MALFORMED: _Sentence(
        "packet is not read since a header is malformed",
        "packets are not read since a header is malformed",
    ),
    DropReason.FRAGMENT_UNUSABLE: _Sentence(
        "IP fragment is not read since it is cut or malformed",
        "IP fragments are not read since they are cut or malformed",
    ),
    DropReason.FRAGMENTS_MISSING: _Sentence(
        "IP packet is not read since some of its fragments are missing",
        "IP packets are not read since some of their fragments are missing",
    ),
    DropReason.OUTSIDE_WINDOW: _Sentence(
        "TCP segment has sequence numbers that no receiver could take",
        "TCP segments have sequence numbers that no receiver could take",
    ),
    DropReason.OLDER_CONNECTION: _Sentence(
        "TCP segment is a late one of an earlier connection on the same ports",
        "TCP segments are late ones of earlier connections on the same ports",
    ),
    DropReason.AFTER_END: _Sentence(
        "TCP segment came after the end of its connection",
        "TCP segments came after the end of their connection",
    ),
    DropReason.CONFLICT: _Sentence(
        "TCP segment repeats bytes with other values; those that came first are shown",
        "TCP segments repeat bytes with other values; those that came first are shown",
    ),
    DropReason.IGNORED_RESET: _Sentence(
        "TCP reset did not end its connection", "TCP resets did not end their connection"
    ),
    DropReason.IGNORED_SYN: _Sentence(
        "TCP SYN in an open connection did not end it",
        "TCP SYNs in open connections did not end them",
    ),
    DropReason.TOO_MUCH_HELD: _Sentence(
        "message is cut off here, since all connections together held more than 256 MiB",
        "messages are cut off here, since all connections together held more than 256 MiB",
    ),
    DropReason.ENCRYPTED: _Sentence(
        "segment of an encrypted connection cannot be decrypted since bytes before it are missing",
        "segments of encrypted connections cannot be decrypted since bytes before them are missing",
    ),
}

_ORDINARY = frozenset({DropReason.NOT_TCP})
"""Found in any capture of a network card; not worth a warning if there is TCP as well."""

_MAX_DETAILS = 1_000
"""Details come from the file, so their number is bounded."""
_OTHER_DETAILS = "others"


class DroppedCount(TypedDict):
    """What was dropped for one reason and detail, as `info -T json` prints it."""

    reason: str
    detail: str
    packets: int
    bytes: int


class Dropped:
    """Counts what was dropped: packets, and the bytes of their payload if these are known."""

    def __init__(self) -> None:
        self._packets: Counter[tuple[DropReason, str]] = Counter()
        self._bytes: Counter[tuple[DropReason, str]] = Counter()

    def __bool__(self) -> bool:
        return bool(self._packets)

    def add(
        self, reason: DropReason, detail: str = "", *, packets: int = 1, payload: int = 0
    ) -> None:
        """Count packets.

        Args:
            reason: Why they were dropped.
            detail: More about the reason, such as the name of a protocol.
            packets: How many packets.
            payload: How many bytes of payload they have together.
        """
        key = reason, detail
        if key not in self._packets and len(self._packets) >= _MAX_DETAILS:
            key = reason, _OTHER_DETAILS
        self._packets[key] += packets
        self._bytes[key] += payload

    def copy(self) -> Dropped:
        """Return the counts as they are now."""
        other = Dropped()
        other._packets.update(self._packets)
        other._bytes.update(self._bytes)
        return other

    def packets(self, *reasons: DropReason) -> int:
        """Return how many packets were dropped for these reasons; without arguments, for any."""
        wanted = reasons or tuple(DropReason)
        return sum(count for (reason, _), count in self._packets.items() if reason in wanted)

    def to_list(self) -> list[DroppedCount]:
        """Return all counts as data."""
        return [
            DroppedCount(
                reason=reason.value, detail=detail, packets=count, bytes=self._bytes[reason, detail]
            )
            for (reason, detail), count in sorted(self._packets.items())
        ]

    def sentences(self, *, ordinary: bool = True) -> list[str]:
        """Return what was dropped in words: `40 packets hold no TCP that is read: GRE 40`.

        Reasons with the same text share a sentence. If `ordinary` is false, protocols that any
        network card sees (ARP, UDP, ...) are left out.
        """
        return list(self._sentences(ordinary))

    def _sentences(self, ordinary: bool) -> Iterator[str]:
        groups: dict[_Sentence, list[tuple[DropReason, str]]] = {}
        for reason, sentence in _SENTENCES.items():
            if ordinary or reason not in _ORDINARY:
                keys = [key for key in self._packets if key[0] is reason]
                groups.setdefault(sentence, []).extend(keys)
        for sentence, keys in groups.items():
            if not keys:
                continue
            count = sum(self._packets[key] for key in keys)
            size = sum(self._bytes[key] for key in keys)
            text = f"{count:,} {sentence.singular if count == 1 else sentence.plural}"
            if size:
                text += f" ({size:,} bytes)"
            # The most frequent details first, then by name.
            keys.sort(key=lambda key: (-self._packets[key], key[1]))
            details = [f"{key[1]} {self._packets[key]:,}" for key in keys if key[1]]
            yield text + (": " + ", ".join(details) if details else "")
