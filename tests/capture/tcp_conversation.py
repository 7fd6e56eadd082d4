"""A short talk on TCP, and what the reader tells of such segments, in short."""

from lbcproxy.capture.packet import ACK, FIN, SYN, Segment
from lbcproxy.capture.tcp.stream_events import Closed, Data, Gap, Opened
from lbcproxy.endpoint import Endpoint
from tests.capture.tcp_read import read

CLIENT, SERVER = Endpoint("10.0.0.1", 40_000), Endpoint("10.0.0.2", 9246)
MS = 1_000_000
WRAP = 1 << 32


def up(sequence, payload=b"", flags=ACK, ack=0):
    """A segment from the client."""
    return Segment(CLIENT, SERVER, sequence % WRAP, ack % WRAP, flags, payload)


def down(sequence, payload=b"", flags=ACK, ack=0):
    """A segment from the server."""
    return Segment(SERVER, CLIENT, sequence % WRAP, ack % WRAP, flags, payload)


def summarize(*segments, apart=20 * MS):
    """What is told of segments that are so far apart, in short."""
    events, dropped = read((at * apart, each) for at, each in enumerate(segments))
    short = []
    for event in events:
        side = "" if isinstance(event, Opened) else "up" if event.from_client else "down"
        if isinstance(event, Data):
            short.append((event.connection, side, event.data))
        elif isinstance(event, Gap):
            short.append((event.connection, side, event.missing))
        elif isinstance(event, Closed):
            short.append((event.connection, side, "RST" if event.reset else "FIN"))
    return short, dropped


OPEN = (up(99, flags=SYN), down(499, flags=SYN | ACK, ack=100), up(100, ack=500))
END = (up(110, flags=FIN | ACK, ack=510), down(510, flags=FIN | ACK, ack=111))
TALK = (up(100, b"0123456789", ack=500), down(500, b"abcdefghij", ack=110))
TALK_SUMMARY = [
    (1, "up", b"0123456789"),
    (1, "down", b"abcdefghij"),
    (1, "up", "FIN"),
    (1, "down", "FIN"),
]


def _as_another(by):
    """The same talk as another connection, whose numbers are so much higher."""
    return tuple(
        Segment(
            each.source,
            each.target,
            each.sequence + by,
            each.acknowledgment and each.acknowledgment + by,
            each.flags,
            each.payload,
        )
        for each in (*OPEN, *TALK, *END)
    )


SECOND = _as_another(70_000)
THIRD = _as_another(1_900_000_000)


def talk_summary(number):
    """What is told of the same talk as another connection."""
    return [(number, side, what) for _, side, what in TALK_SUMMARY]
