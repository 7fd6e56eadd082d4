"""Counts of one pass over a capture: its sessions, and what was not read, with the reason."""

from __future__ import annotations

from collections import Counter

from lbcproxy import networks
from lbcproxy.capture.dropped import Dropped, DroppedCount, DropReason
from lbcproxy.capture.ip.fragments import Fragments
from lbcproxy.capture.reading.losses import LossTotals
from lbcproxy.capture.tcp.silent import SilentConnections
from lbcproxy.networks import Network
from lbcproxy.session import SessionInfo

__all__ = ["ReadStats"]

MAX_COMMENTS = 16


class ReadStats:
    """Counts of one pass over a file; they are correct at any moment of it."""

    def __init__(self) -> None:
        self.format = ""
        self.packets = 0
        self.sections = 0
        self.comments: list[str] = []
        """Comments on sections; each text once."""
        self.first_ns: int | None = None
        """The earliest time of a packet, in nanoseconds since 1970."""
        self.last_ns: int | None = None
        """The latest time of a packet, likewise."""
        self.open_sessions: dict[int, SessionInfo] = {}
        """The sessions that are open now, by number."""
        self.sessions = 0
        self.skipped = 0
        """Connections that were skipped because they belong to no known network."""
        self.assumed: dict[str, Network] = {}
        """Networks that were assumed although others have the same magic, by id."""
        self.dropped = Dropped()
        """What was read but not passed on, by reason."""
        self.lost = LossTotals()
        """What the file itself says that it lacks."""
        self.silent = SilentConnections()
        """Connections on which no byte was sent."""
        self.not_kept: Counter[str] = Counter()
        """What else the file holds besides messages, by description; none of it is kept."""
        self.segments = 0
        """TCP segments."""
        self.fragments = Fragments()

    def add_comment(self, text: str) -> None:
        """Record the comment on a section."""
        if text not in self.comments and len(self.comments) < MAX_COMMENTS:
            self.comments.append(text)

    def count_packet(self, time_ns: int) -> None:
        """Count a packet."""
        self.packets += 1
        self.record_time(time_ns)

    def record_time(self, time_ns: int) -> None:
        """Extend the time covered by the capture; 0 means that a block has no time."""
        if time_ns:
            self.first_ns = time_ns if self.first_ns is None else min(self.first_ns, time_ns)
            self.last_ns = time_ns if self.last_ns is None else max(self.last_ns, time_ns)

    def assume(self, network: Network) -> None:
        """Record that the magic of a connection was taken for this network's."""
        if network.assumed:
            self.assumed[network.id] = network

    @property
    def assumptions(self) -> list[str]:
        """What was assumed, in words."""
        found = []
        for network in self.assumed.values():
            others = [each.id for each in networks.with_magic(network.magic) if each != network]
            found.append(
                f"magic {network.magic.hex()} is taken for that of {network.id}; it is that of "
                f"{' and '.join(others)} too: --network says which"
            )
        return found

    @property
    def is_unreadable(self) -> bool:
        """Whether no TCP could be read although the file may hold some."""
        hidden = self.dropped.packets(DropReason.LINK_TYPE, DropReason.ENCAPSULATION)
        return hidden > 0 and not self.segments

    @property
    def notices(self) -> list[str]:
        """What every command reports about data that was not read, in words.

        If there was TCP, protocols that any network card sees are left out. An unreadable file
        has no notices: reading it raises them as an error.
        """
        found = [] if self.is_unreadable else self._sentences(ordinary=not self.segments)
        return [str(self.lost), *found] if self.lost else found

    @property
    def all_notices(self) -> list[str]:
        """What was not read, in words, including ordinary protocols; empty if all was read."""
        return self._sentences(ordinary=True)

    @property
    def dropped_counts(self) -> list[DroppedCount]:
        """What was not read, as data."""
        return self._all_dropped().to_list()

    def _sentences(self, *, ordinary: bool) -> list[str]:
        found = self.assumptions + self._all_dropped().sentences(ordinary=ordinary)
        found += self.silent.sentences()
        if self.skipped and self.sessions:
            found.append(
                "connections that are passed over, since no magic of a known network is in them: "
                f"{self.skipped:,}; --network reads all as one's"
            )
        return found

    def _all_dropped(self) -> Dropped:
        """Return what was dropped, including IP packets that still wait for fragments."""
        dropped = self.dropped.copy()
        if self.fragments.incomplete:
            dropped.add(DropReason.FRAGMENTS_MISSING, packets=self.fragments.incomplete)
        return dropped
