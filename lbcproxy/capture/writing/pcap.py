"""Writes pcap: the packets of a recorder, without the notes about them."""

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
    TransportsAgreed,
    UpstreamConnected,
)
from lbcproxy.session.verdict import EntryVerdict

__all__ = ["WRITER", "PcapWriter"]

_FILE_HEADER = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262_144, LINK_RAW)
_RECORD_HEADER = struct.Struct("<IIII")
_MAX_SECONDS = 2**32 - 1
_CLIENT_PORTS = 32_768
"""The first port that systems assign to clients; lower ones belong to servers."""
VERDICTS = "verdicts and what decided them"
COMMENTS = "comments of messages"
TRANSPORTS = "transports of sessions"
FORMS = "how messages came in encrypted packets"


class PcapWriter(PcapngWriter):
    """Writes a pcap. If both legs have the same bytes, it only has the client leg."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._out = write
        super().__init__(self._blocks)
        self._sessions = 0
        self._head = b""  # the start of the section, for reading its packets
        self._silent = False
        write(_FILE_HEADER)

    def header(self, header: SectionHeader) -> None:
        """Begin a section, which a pcap does not show."""
        super().header(header)
        self.count_unsupported("comments of the file", len(header.comments))

    def recorder(self, header: SectionHeader, network: str) -> Recorder:
        """Return the recorder of a section."""
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
            case TransportsAgreed():
                self.count_unsupported(TRANSPORTS)
                return
            case SessionEnding():
                shown = event.end.cause in (EndCause.CLOSED, EndCause.RESET)
                self.count_unsupported("why sessions ended", not shown)
        super().session_event(event)

    def not_recorded(self, lost: Lost, time_ns: int) -> None:
        """Count the loss: a pcap cannot hold it."""
        self.count_unsupported("counts of what was not recorded")

    def _start(self, event: SessionStarted) -> None:
        """Open the client leg, without a SYN if the start of the session is missing.

        If the ports do not show who connected, the SYN has to: messages in the wrong direction
        would be worse than a false start.
        """
        self._count_info(event.info)
        if not event.from_start:
            self.count_unsupported("versions agreed on before", event.protocol_version is not None)
            self._silent = _ports_show_server(event.info)
            self.count_unsupported("missing beginnings", not self._silent)
        super().session_event(event)
        self._silent = False

    def _count_upstream(self) -> None:
        if self._header.changes and self._header.legs == "both":
            self.count_unsupported("which connections are the legs of one session")
        elif self._header.legs == "both":
            self.count_unsupported("upstream legs that are the same bytes again")

    def _count_notes(self, delivery: Delivery) -> None:
        judged = sum(each.verdict != EntryVerdict.PASS for each in delivery.entries)
        self.count_unsupported(VERDICTS, judged)
        self.count_unsupported(COMMENTS, sum(len(each.comments) for each in delivery.entries))
        self.count_unsupported(FORMS, sum(bool(each.form) for each in delivery.entries))

    def _count_info(self, info: SessionInfo) -> None:
        self._sessions += 1
        self.count_unsupported("addresses of upstreams", info.upstream != info.listen)
        ends = info.client, info.listen
        self.count_unsupported("names of hosts", len(host_name_annotations(*ends, ends)))
        self.count_unsupported("numbers of sessions", info.number != self._sessions)
        try:
            network = networks.get(info.network)
            is_implied = networks.meant_by(network.magic) == network
        except KeyError:
            is_implied = True
        self.count_unsupported(
            "networks that their magic does not tell: say --network", not is_implied
        )

    def _blocks(self, data: bytes) -> None:
        """Write the packets in the blocks of one call of the recorder's writer."""
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
        if seconds > _MAX_SECONDS:
            self.count_unsupported("times after 2106")
            seconds, nanoseconds = _MAX_SECONDS, 999_999_999
        size = len(packet.data)
        return _RECORD_HEADER.pack(seconds, nanoseconds, size, size), packet.data


def _ports_show_server(info: SessionInfo) -> bool:
    """Return whether the ports of a session show which side connected."""
    known = {network.port for network in networks.all_networks().values()}
    client, server = info.client.port, info.listen.port
    if (client in known) is not (server in known):
        return server in known
    return server < _CLIENT_PORTS <= client


WRITER = FormatWriter("pcap", to_file=PcapWriter)
