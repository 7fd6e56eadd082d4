"""IP packets in link layers, tunnels and fragments, and capture files of them."""

import struct

from lbcproxy.capture.ip.segments import build
from lbcproxy.capture.packet import Segment


def pcap(link_type, packets, path):
    """Write a classic pcap, little endian, microseconds."""
    data = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, link_type)
    for number, packet in enumerate(packets):
        data += struct.pack("<IIII", 10 + number, 0, len(packet), len(packet)) + packet
    path.write_bytes(data)
    return path


def block(kind, body):
    """One block of a pcapng, little endian."""
    body += bytes(-len(body) % 4)
    size = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + size + body + size


def pcapng(packets, path):
    """Write a pcapng in which each link type has an interface: of pairs of link type and bytes."""
    links = list(dict.fromkeys(link_type for link_type, _ in packets))
    data = block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
    data += b"".join(block(1, struct.pack("<HHI", each, 0, 0)) for each in links)
    for number, (link_type, packet) in enumerate(packets):
        head = (links.index(link_type), 0, number, len(packet), len(packet))
        data += block(6, struct.pack("<5I", *head) + packet)
    path.write_bytes(data)
    return path


def cut(segment: Segment, sizes: list[int], name: int = 77) -> list[bytes]:
    """Cut the IP packet of a segment into fragments, each of so many times 8 bytes."""
    whole = build(segment)
    six = whole[0] >> 4 == 6
    header, content = (whole[:40], whole[40:]) if six else (whole[:20], whole[20:])
    pieces, place = [], 0
    for size in [*sizes, len(content)]:
        piece = content[place : place + size * 8]
        if piece:
            more = place + len(piece) < len(content)
            pieces.append((_six if six else _four)(header, piece, place, more, name))
        place += len(piece)
    return pieces


def _four(header: bytes, piece: bytes, place: int, more: bool, name: int) -> bytes:
    field = place // 8 | (0x2000 if more else 0)
    size = struct.pack(">HHH", 20 + len(piece), name, field)
    return header[:2] + size + header[8:] + piece


def _six(header: bytes, piece: bytes, place: int, more: bool, name: int) -> bytes:
    extension = struct.pack(">BBHI", 6, 0, place | more, name)
    size = struct.pack(">HB", 8 + len(piece), 44)
    return header[:4] + size + header[7:] + extension + piece


def ipv4(protocol: int, content: bytes) -> bytes:
    """An IPv4 packet between two routers."""
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(content), 77, 0, 64, protocol, 0)
    return head + bytes([192, 0, 2, 1, 192, 0, 2, 2]) + content


def ipv6(following: int, content: bytes) -> bytes:
    """An IPv6 packet between two routers."""
    ends = b"\x20\1\x0d\xb8" + bytes(11) + b"\1" + b"\x20\1\x0d\xb8" + bytes(11) + b"\2"
    return struct.pack(">IHBB", 6 << 28, len(content), following, 64) + ends + content


def ethernet(kind: int, content: bytes) -> bytes:
    """An Ethernet frame; tshark tells one by vendors it knows, where nothing else says it."""
    return b"\0\x0c\x29\1\2\3\0\x0c\x29\4\5\6" + kind.to_bytes(2) + content


def gre(kind: int, content: bytes, flags: int = 0) -> bytes:
    """GRE, with a word for each of checksum, key and sequence number that the flags name."""
    words = sum(bool(flags & bit) for bit in (0x8000, 0x2000, 0x1000))
    return struct.pack(">HH", flags, kind) + bytes(4 * words) + content


def pppoe(protocol: bytes, content: bytes, code: int = 0) -> bytes:
    """A PPPoE session with PPP in it."""
    return struct.pack(">BBHH", 0x11, code, 7, len(protocol + content)) + protocol + content


def mpls(content: bytes, *labels: int) -> bytes:
    """Labels, the last of them marked."""
    marks = [
        label << 12 | (index == len(labels) - 1) << 8 | 64 for index, label in enumerate(labels)
    ]
    return b"".join(mark.to_bytes(4) for mark in marks) + content


def udp(port: int, content: bytes) -> bytes:
    """A UDP datagram to a port."""
    return struct.pack(">HHHH", 55555, port, 8 + len(content), 0) + content


def vxlan(content: bytes) -> bytes:
    """VXLAN with an Ethernet frame."""
    return struct.pack(">II", 0x08000000, 5 << 8) + content


def geneve(kind: int, content: bytes, options: bytes = b"") -> bytes:
    """GENEVE, its options in words of four bytes."""
    return struct.pack(">BBHI", len(options) // 4, 0, kind, 5 << 8) + options + content


def authentication(following: int, content: bytes) -> bytes:
    """AH with a check value of 12 bytes."""
    return struct.pack(">BBHII", following, 4, 0, 1, 1) + bytes(12) + content
