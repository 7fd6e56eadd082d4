"""The packets that a recorder writes, in a pcap: what is said of them is left out."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable

from lbcproxy import networks
from lbcproxy.capture.events import SectionHeader
from lbcproxy.capture.formats import pcapng
from lbcproxy.capture.ip.segments import LINK_RAW
from lbcproxy.capture.ip.synthetic import host_name_annotations
from lbcproxy.capture.packet import Packet
from lbcproxy.capture.writing.pcapng import PcapngWriter
from lbcproxy.capture.writing.recorder import Recorder
from lbcproxy.capture.writing.writer import FormatWriter
from lbcproxy.session import Delivery, EndCause, Lost, SessionInfo
from lbcproxy.session.events import (
    Delivered,
    SessionEnding,
    SessionEvent,
    SessionStarted,
    UpstreamConnected,
)
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

    def header(self, header: SectionHeader) -> None:
        """Begin a section, of which a pcap shows nothing."""
        super().header(header)
        self.lacking("comments of the file", len(header.comments))

    def recorder(self, header: SectionHeader, network: str) -> Recorder:
        """Make what records a section."""
        return Recorder(
            self.write,
            network=network,
            legs="both" if header.changes and header.legs == "both" else "client",
            changes=header.changes,
        )

    def session_event(self, event: SessionEvent) -> None:
        """Write the packets of what happened, and count what they do not show."""
        match event:
            case Delivered():
                for delivery in event.deliveries:
                    if delivery.run is None:
                        self._count_notes(delivery)
            case SessionStarted():
                self._start(event)
                return
            case UpstreamConnected():
                self._count_upstream()
            case SessionEnding():
                shown = event.end.cause in (EndCause.CLOSED, EndCause.RESET)
                self.lacking("why sessions ended", not shown)
        super().session_event(event)

    def not_recorded(self, lost: Lost, time_ns: int) -> None:
        """Count it: a pcap has no place for it."""
        self.lacking("counts of what was not recorded")

    def _start(self, event: SessionStarted) -> None:
        """Open the client leg; without a SYN if the beginning of the session is missing.

        If the ports do not show who connected, the SYN has to: messages in the wrong direction
        would be worse than a beginning that never was.
        """
        self._count(event.info)
        if not event.from_start:
            self.lacking("versions agreed on before", event.protocol_version is not None)
            self._silent = _is_told_by_ports(event.info)
            self.lacking("missing beginnings", not self._silent)
        super().session_event(event)
        self._silent = False

    def _count_upstream(self) -> None:
        if self._header.changes and self._header.legs == "both":
            self.lacking("which connections are the legs of one session")
        elif self._header.legs == "both":
            self.lacking("upstream legs that are the same bytes again")

    def _count_notes(self, delivery: Delivery) -> None:
        judged = sum(each.verdict != EntryVerdict.PASS for each in delivery.entries)
        self.lacking(VERDICTS, judged)
        self.lacking(COMMENTS, sum(len(each.comments) for each in delivery.entries))

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
