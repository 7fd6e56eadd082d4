"""What a pcapng of others holds besides packets: it is counted by kind, since nobody gets it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

__all__ = ["Besides"]

_BLOCKS = {
    4: "blocks of names",
    10: "blocks of secrets",
    0x0BAD: "custom blocks",
    0x40000BAD: "custom blocks",
}
_COMMENT, _CUSTOM = 1, 2988
_READ = {
    "sections": frozenset({_COMMENT}),
    "interfaces": frozenset({9, 14}),
    "packets": frozenset({_COMMENT, 4}),
}
"""What is read of the options; texts of lbcproxy are told by their number."""


class Besides:
    """Counts blocks and options that are passed over."""

    def __init__(self, counts: Counter[str]) -> None:
        self._counts = counts

    def block(self, kind: int) -> None:
        """Count a block."""
        self._counts[_BLOCKS.get(kind, "blocks of other kinds")] += 1

    def options(self, where: str, found: Iterable[tuple[int, bytes]], own: bytes) -> None:
        """Count options of `sections`, `interfaces` or `packets`; `own` is lbcproxy's number."""
        for code, value in found:
            if code not in _READ[where] and not (code == _CUSTOM and value[:4] == own):
                self._counts[f"options of {where}"] += 1
