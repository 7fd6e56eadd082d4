"""Messages as two nodes send them, for the tests of sessions."""

from typing import Any

from lbcproxy import networks
from lbcproxy.endpoint import Endpoint
from lbcproxy.session import (
    Delivery,
    Direction,
    End,
    EndCause,
    Entry,
    NodeState,
    Session,
    SessionInfo,
    SessionSummary,
)
from lbcproxy.session.events import SessionEnded
from lbcproxy.wire import Codec
from lbcproxy.wire.envelope import frame
from lbcproxy.wire.messages.handshake import NetAddress, VerAck, Version
from lbcproxy.wire.messages.keepalive import Ping

__all__ = [
    "DOWN",
    "INFO",
    "NETWORK",
    "NOW",
    "UP",
    "broken",
    "entries",
    "framed",
    "ping",
    "raw",
    "session",
    "session_ended",
    "verack",
    "version",
]

NETWORK = networks.get("lbry-regtest")
UP, DOWN = Direction.TO_UPSTREAM, Direction.TO_CLIENT
NOW = 1_700_000_000_000_000_000
NODE = Endpoint("10.0.0.1", 1)
INFO = SessionInfo(number=1, network=NETWORK.id, client=NODE, listen=NODE, upstream=NODE)
NOWHERE = NetAddress(services=0, ip=bytes(10) + b"\xff\xff" + bytes(4), port=0)


def framed(record: Any) -> bytes:
    """A record as a frame."""
    return frame(NETWORK.magic, record.command, Codec(NETWORK).encode(record))


def version(number: int = 70013, **fields: Any) -> bytes:
    """A version message as a frame."""
    values: dict[str, Any] = {
        "services": 5,
        "timestamp": 1_700_000_000,
        "addr_recv": NOWHERE,
        "addr_from": NOWHERE,
        "nonce": 7,
        "user_agent": b"/test:1/",
        "start_height": 300,
        "relay": True,
    }
    return framed(Version(version=number, **(values | fields)))


def verack() -> bytes:
    """A verack message as a frame."""
    return framed(VerAck())


def ping(nonce: int = 1) -> bytes:
    """A ping message as a frame."""
    return framed(Ping(nonce=nonce))


def broken(data: bytes) -> bytes:
    """A frame whose checksum is wrong."""
    return data[:20] + bytes(4) + data[24:]


def entries(deliveries: list[Delivery]) -> list[Entry]:
    """The entries that some bytes completed."""
    return [entry for each in deliveries for entry in each.entries]


def raw(deliveries: list[Delivery]) -> bytes:
    """All bytes that passed."""
    return b"".join(each.raw for each in deliveries)


def session(stream_above: int | None = None, **rest: Any) -> Session:
    """A session that reads messages whole, unless `stream_above` says otherwise."""
    return Session(1, NETWORK, stream_above=stream_above, **rest)


def session_ended(info: SessionInfo, time_ns: int) -> SessionEnded:
    """Return the end of a session in which nothing was said."""
    nothing = NodeState().statistics()
    summary = SessionSummary(
        info=info,
        end=End(EndCause.CLOSED, UP),
        protocol_version=None,
        client=nothing,
        upstream=nothing,
    )
    return SessionEnded(summary, time_ns)
