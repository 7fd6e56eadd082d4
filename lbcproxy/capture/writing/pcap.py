"""The packets that a recorder writes, in a pcap: what is said of them is left out."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Sequence

from lbcproxy import networks
from lbcproxy.capture.events import Header
from lbcproxy.capture.formats import pcapng
from lbcproxy.capture.ip.segments import LINK_RAW
from lbcproxy.capture.ip.synthetic import host_name_annotations
from lbcproxy.capture.packet import Packet
from lbcproxy.capture.writing.pcapng import PcapngWriter
from lbcproxy.capture.writing.recorder import Recorder
from lbcproxy.capture.writing.writer import FormatWriter
from lbcproxy.session import Delivery, Direction, End, EndCause, Lost, SessionInfo
from lbcproxy.session.verdict import EntryVerdict

__all__ = ["WRITER", "PcapWriter"]

_FILE = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262_144, LINK_RAW)
_RECORD = struct.Struct("<IIII")
_LAST = 2**32 - 1
_CLIENT_PORTS = 32_768
"""Where the ports begin that systems give to clients; below it a port is a server's."""
VERDICTS = "verdicts and who decided"
COMMENTS = "comments of messages"


class PcapWriter(PcapngWriter):
    """Writes a pcap. Where both legs are the same bytes, it has the client's alone."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._out = write
        super().__init__(self._blocks)
        self._sessions = 0
        self._head = b""  # of the sections: packets are read as being of it
        self._silent = False
        write(_FILE)

    def header(self, header: Header) -> None:
        """Begin a section, of which a pcap shows nothing."""
        super().header(header)
        self.lacking("comments of the file", len(header.comments))

    def recorder(self, header: Header, network: str) -> Recorder:
        """Make what records a section."""
        return Recorder(
            self.write,
            network=network,
            legs="both" if header.changes and header.legs == "both" else "client",
            changes=header.changes,
        )

    def started(self, facts: SessionInfo, time_ns: int) -> None:
        """Open the client leg."""
        self._count(facts)
        super().started(facts, time_ns)

    def continued(self, facts: SessionInfo, protocol_version: int | None, time_ns: int) -> None:
        """Open it without a SYN: that is what a missing beginning looks like.

        Where ports do not tell who connected, the SYN has to: messages in the wrong direction would
        be worse than a beginning that was not.
        """
        self._count(facts)
        self.lacking("versions agreed on before", protocol_version is not None)
        self._silent = _is_told_by_ports(facts)
        self.lacking("missing beginnings", not self._silent)
        super().continued(facts, protocol_version, time_ns)
        self._silent = False

    def upstream_connected(self, facts: SessionInfo, time_ns: int) -> None:
        """Open the upstream leg, if it is another."""
        if self._header.changes and self._header.legs == "both":
            self.lacking("which connections are the legs of one session")
        elif self._header.legs == "both":
            self.lacking("upstream legs that are the same bytes again")
        super().upstream_connected(facts, time_ns)

    def passed(
        self, facts: SessionInfo, direction: Direction, deliveries: Sequence[Delivery], time_ns: int
    ) -> None:
        """Write what passed."""
        for delivery in deliveries:
            if delivery.run is None:
                judged = sum(each.verdict != EntryVerdict.PASS for each in delivery.entries)
                self.lacking(VERDICTS, judged)
                self.lacking(COMMENTS, sum(len(each.comments) for each in delivery.entries))
        super().passed(facts, direction, deliveries, time_ns)

    def ending(self, facts: SessionInfo, end: End, time_ns: int) -> None:
        """Count what a FIN or a reset does not show."""
        self.lacking("why sessions ended", end.cause not in (EndCause.CLOSED, EndCause.RESET))
        super().ending(facts, end, time_ns)

    def missed(self, facts: SessionInfo | None, lost: Lost, time_ns: int) -> None:
        """Count it: a pcap has no place for it."""
        self.lacking("counts of what was not recorded")

    def _count(self, facts: SessionInfo) -> None:
        self._sessions += 1
        self.lacking("addresses of upstreams", facts.upstream != facts.listen)
        ends = facts.client, facts.listen
        self.lacking("names of hosts", len(host_name_annotations(*ends, ends)))
        self.lacking("numbers of sessions", facts.number != self._sessions)
        try:
            network = networks.get(facts.network)
            told = networks.meant_by(network.magic) == network
        except KeyError:
            told = True
        self.lacking("networks that their magic does not tell: say --network", not told)

    def _blocks(self, data: bytes) -> None:
        """Take the blocks of one call of the recorder's writer, and write their packets."""
        if pcapng.matches(data[:4]):
            self._head = data
            return
        parts: list[bytes] = []
        for packet in pcapng.read(io.BytesIO(self._head + data)):
            if not isinstance(packet, Packet) or self._silent:
                continue
            parts += self._record(packet)
        self._out(b"".join(parts))

    def _record(self, packet: Packet) -> tuple[bytes, bytes]:
        seconds, nanoseconds = divmod(packet.time_ns, 1_000_000_000)
        if seconds > _LAST:
            self.lacking("times after 2106")
            seconds, nanoseconds = _LAST, 999_999_999
        size = len(packet.data)
        return _RECORD.pack(seconds, nanoseconds, size, size), packet.data


def _is_told_by_ports(facts: SessionInfo) -> bool:
    """Whether readers know by its ports which side of a session connected."""
    known = {network.port for network in networks.all_networks().values()}
    client, server = facts.client.port, facts.listen.port
    if (client in known) is not (server in known):
        return server in known
    return server < _CLIENT_PORTS <= client


WRITER = FormatWriter("pcap", to_file=PcapWriter)
