"""Recordings of a session in which nothing is changed, and pcap files of TCP segments."""

import msgspec

from lbcproxy import networks
from lbcproxy.capture import Recorder
from lbcproxy.capture.ip.segments import build
from lbcproxy.capture.packet import ACK, PSH, Segment
from lbcproxy.endpoint import Endpoint
from lbcproxy.session import Direction, Session, SessionInfo
from lbcproxy.wire.envelope import frame
from tests.session.feed import Feed

REGTEST = networks.get("lbry-regtest")


UP, DOWN = Direction.TO_UPSTREAM, Direction.TO_CLIENT


INFO = SessionInfo(
    number=1,
    network="lbry-regtest",
    client=Endpoint("127.0.0.1", 40000),
    listen=Endpoint("127.0.0.1", 29246),
    upstream=Endpoint("127.0.0.1", 29247),
)


def recorded(tmp_path, session_data, legs="auto", network="lbry-regtest"):
    """Record some data as a proxy would, and return the file."""
    path = tmp_path / "own.pcapng"
    with path.open("ab") as file:
        recorder = Feed(Recorder(file.write, network=network, legs=legs))
        session = Session(1, networks.get(network), stream_above=65_536)
        recorder.started(msgspec.structs.replace(INFO, network=network), 1_000)
        recorder.upstream_connected(INFO_WITH_LOCAL, 1_500)
        for time, (direction, data) in enumerate(session_data, 2_000):
            recorder.passed(INFO, direction, session.receive(direction, data, time), time)
        for direction in Direction:
            recorder.passed(INFO, direction, session.end(direction, 9_000), 9_000)
            recorder.finished(INFO, direction, 9_001)
    return path


INFO_WITH_LOCAL = msgspec.structs.replace(INFO, local=Endpoint("127.0.0.1", 50000))


PING = frame(REGTEST.magic, "ping", b"12345678")


PONG = frame(REGTEST.magic, "pong", b"12345678")


TALK = [
    (UP, PING + PING[:10]),
    (UP, PING[10:]),
    (DOWN, PONG),
    (UP, b"rubbish" * 5),
    (UP, PING[:20] + bytes(4) + PING[24:]),
    (DOWN, frame(REGTEST.magic, "block", bytes(100_000))),
]


def pcap_of(segments, tmp_path):
    """Write segments as tcpdump's classic format, raw IP, little endian, microseconds."""
    path = tmp_path / "other.pcap"
    blocks = [bytes.fromhex("d4c3b2a10200040000000000000000000000040065000000")]
    for number, segment in enumerate(segments):
        packet = build(segment)
        sizes = len(packet).to_bytes(4, "little") * 2
        blocks.append((number).to_bytes(4, "little") + bytes(4) + sizes + packet)
    path.write_bytes(b"".join(blocks))
    return path


CLIENT, NODE = Endpoint("10.0.0.1", 50000), Endpoint("10.0.0.2", 9246)


def segments_of(data, size, *, start=1000, source=CLIENT, target=NODE):
    """Cut bytes into segments of a size."""
    return [
        Segment(source, target, start + at, 1, PSH | ACK, data[at : at + size])
        for at in range(0, len(data), size)
    ]


def record_pings(path, number, times, network="lbry-regtest"):
    """Record a ping at each time."""
    chain = networks.get(network)
    info = SessionInfo(
        number=number,
        network=network,
        client=Endpoint("127.0.0.1", 40_000),
        listen=Endpoint("127.0.0.1", 29_246),
        upstream=Endpoint("127.0.0.1", 29_247),
    )
    with path.open("wb") as file:
        recorder = Feed(Recorder(file.write, network=network))
        session = Session(number, chain)
        recorder.started(info, times[0])
        for time in times:
            data = frame(chain.magic, "ping", time.to_bytes(8, "little"))
            recorder.passed(info, UP, session.receive(UP, data, time), time)
        for direction in Direction:
            recorder.finished(info, direction, times[-1])
    return path
