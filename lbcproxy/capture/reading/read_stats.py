"""What a pass over a capture met beside its entries: sessions, and what was not read and why."""

from __future__ import annotations

from collections import Counter

import msgspec

from lbcproxy import networks
from lbcproxy.capture.ip.fragments import Fragments
from lbcproxy.capture.reading.dropped import Dropped, DroppedCount, DropReason
from lbcproxy.capture.reading.lost import LostTotals
from lbcproxy.capture.tcp.silent import SilentConnections
from lbcproxy.endpoint import Endpoint
from lbcproxy.networks import Network
from lbcproxy.session import End, NodeStatistics, SessionInfo

__all__ = ["Met", "SessionReport"]

_MOST_COMMENTS = 16


class SessionReport(msgspec.Struct, frozen=True, kw_only=True):
    """One session of a capture, when it is over or the capture is."""

    number: int
    network: str
    client: Endpoint
    server: Endpoint
    """Where the client connected to; in captures of ours that is the proxy."""
    upstream: str | None
    """In captures of ours: the node behind the proxy, HOST:PORT."""
    begun: bool
    """Whether its beginning was captured."""
    begun_ns: int
    ended_ns: int
    end: End
    """Why it ended: what a capture of ours says of it, otherwise what TCP shows."""
    missing: int
    """Bytes that the capture lacks, of both directions."""
    to_upstream: NodeStatistics
    """The client, as what it sent shows it."""
    to_client: NodeStatistics
    """The node, likewise."""

    @property
    def how(self) -> str:
        """The end in words, as `client closed` or `server reset`."""
        return self.end.describe("server")


class Met:
    """Counts of one pass over a file, right at any moment of it."""

    def __init__(self) -> None:
        self.format = ""
        self.packets = 0
        self.sections = 0
        self.comments: list[str] = []
        """What the writers of the sections say of them, each once."""
        self.first_ns: int | None = None
        self.last_ns: int | None = None
        """The earliest and latest time of a packet."""
        self.between: dict[int, SessionInfo] = {}
        """Of the sessions that are open now: between whom they are."""
        self.sessions = 0
        self.skipped = 0
        """Connections passed over because they are of no known network."""
        self.assumed: dict[str, Network] = {}
        """Networks that were taken for those of a magic which others have too, by id."""
        self.dropped = Dropped()
        """What was read but not given out, by reason."""
        self.lost = LostTotals()
        """What the file itself says that it lacks."""
        self.silent = SilentConnections()
        """Connections on which no byte was sent."""
        self.not_kept: Counter[str] = Counter()
        """What stands in the file beside messages and is given to nobody, in words."""
        self.segments = 0
        """TCP segments."""
        self.fragments = Fragments()

    def comment(self, text: str) -> None:
        """Take note of what a section says of itself."""
        if text not in self.comments and len(self.comments) < _MOST_COMMENTS:
            self.comments.append(text)

    def packet(self, time_ns: int) -> None:
        """Count a packet."""
        self.packets += 1
        self.time(time_ns)

    def time(self, time_ns: int) -> None:
        """Take note of when something was; some blocks have no time."""
        if time_ns:
            self.first_ns = time_ns if self.first_ns is None else min(self.first_ns, time_ns)
            self.last_ns = time_ns if self.last_ns is None else max(self.last_ns, time_ns)

    def assume(self, network: Network) -> None:
        """Take note that the magic of a connection was taken for this network's."""
        if network.assumed:
            self.assumed[network.id] = network

    @property
    def assumptions(self) -> list[str]:
        """What was taken for granted, in words."""
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
        """Whether no TCP could be read although there may be some in the file."""
        hidden = self.dropped.packets(DropReason.LINK_TYPE, DropReason.ENCAPSULATION)
        return hidden > 0 and not self.segments

    @property
    def notices(self) -> list[str]:
        """What every command says of what was not read, in words.

        Protocols that every network card sees are left out, as long as there is TCP as well. A
        file that is unreadable has none: reading it raises them as an error.
        """
        found = [] if self.is_unreadable else self._sentences(ordinary=not self.segments)
        return [str(self.lost), *found] if self.lost else found

    @property
    def all_notices(self) -> list[str]:
        """What was not read, in words, ordinary protocols too; nothing where all was read."""
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
        """Return what was dropped, with the IP packets that still wait for fragments."""
        dropped = self.dropped.copy()
        if self.fragments.incomplete:
            dropped.add(DropReason.FRAGMENTS_MISSING, packets=self.fragments.incomplete)
        return dropped
