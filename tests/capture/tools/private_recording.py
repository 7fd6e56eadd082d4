"""A recording full of what nobody should see: addresses, agents, nonces, comments."""

import ipaddress
import itertools

import msgspec

from lbcproxy import networks
from lbcproxy.capture import Recorder
from lbcproxy.endpoint import Endpoint
from lbcproxy.session import Delivery, Direction, Session, SessionInfo
from lbcproxy.wire import Codec
from lbcproxy.wire.envelope import frame
from lbcproxy.wire.messages.addresses import Addr, AddressV2, AddrV2, TimedAddress
from lbcproxy.wire.messages.handshake import NetAddress, SendTxRcncl, Version
from lbcproxy.wire.messages.keepalive import Ping, Pong
from lbcproxy.wire.messages.reject import Reject
from tests.session.feed import Feed

UP, DOWN = Direction


NETWORK = networks.get("bitcoin-regtest")


CLIENT, LISTEN = "203.0.113.77", "198.51.100.9"


UPSTREAM = "2a00:1450:4001:81b::200e"


SECRET_AGENT = b"/Satoshi:25.1.0(joes-node)/"


NONCE = 0x1122334455667788


ONION = bytes(range(100, 132))


CODEC = Codec(NETWORK, 70016, encoding="auto")


INFO = SessionInfo(
    number=3,
    network=NETWORK.id,
    client=Endpoint(CLIENT, 40_001),
    listen=Endpoint(LISTEN, 18_444),
    upstream=Endpoint(UPSTREAM, 18_445),
    local=Endpoint("192.168.7.23", 50_001),
)


def mapped(address):
    """Return the 16 bytes of an address, as old messages have them."""
    packed = ipaddress.ip_address(address).packed
    return packed if len(packed) == 16 else bytes(10) + b"\xff\xff" + packed


def framed(record):
    return frame(NETWORK.magic, record.command, CODEC.encode(record))


def version(agent=SECRET_AGENT, nonce=NONCE):
    return Version(
        version=70016,
        services=9,
        timestamp=1_700_000_000,
        addr_recv=NetAddress(services=1, ip=mapped(LISTEN), port=18_444),
        addr_from=NetAddress(services=9, ip=mapped("10.11.12.13"), port=8333),
        nonce=nonce,
        user_agent=agent,
        start_height=7,
        relay=True,
    )


PEERS = AddrV2(
    addresses=tuple(
        AddressV2(timestamp=1, services=9, network_id=network, addr=address, port=8333)
        for network, address in (
            (1, ipaddress.ip_address("198.51.100.23").packed),
            (2, ipaddress.ip_address(UPSTREAM).packed),
            (4, ONION),
            (5, ONION[::-1]),
            (6, b"\xfc" + ONION[:15]),
            (9, ONION + ONION + ONION),
        )
    )
)


OLD_PEERS = Addr(
    addresses=tuple(
        TimedAddress(timestamp=1, services=9, ip=mapped(address), port=8333)
        for address in ("198.51.100.23", UPSTREAM, CLIENT)
    )
)


TALK = [
    (UP, framed(version())),
    (DOWN, framed(version(b"/other node/", 0x99AABBCCDDEEFF00))),
    (UP, framed(PEERS)),
    (DOWN, framed(OLD_PEERS)),
    (UP, framed(Ping(nonce=NONCE + 1)) + framed(Ping(nonce=NONCE + 2))),
    (DOWN, framed(Pong(nonce=NONCE + 2)) + framed(Pong(nonce=NONCE + 1))),
    (UP, framed(SendTxRcncl(version=1, salt=NONCE + 3))),
    (
        DOWN,
        framed(Reject(message=b"tx", code=16, reason=f"from {CLIENT}".encode(), hash=bytes(32))),
    ),
    (DOWN, framed(Reject(message=b"block", code=16, reason=b"bad-prevblk", hash=bytes(32)))),
    (DOWN, framed(Reject(message=CLIENT.encode(), code=16, reason=b"bad"))),
    (UP, b"GET / HTTP/1.1\r\nHost: " + LISTEN.encode() + b"\r\nUser-Agent: curl/7.1\r\n\r\n"),
    (UP, frame(NETWORK.magic, "whoami", CLIENT.encode())),
    (UP, frame(NETWORK.magic, "ping", SECRET_AGENT)),
    (UP, frame(NETWORK.magic, "alert", b"\x05" + SECRET_AGENT[:5] + b"\x00")),
    (UP, framed(Ping(nonce=5))[:20] + b"oops" + bytes(8)),
    (DOWN, frame(NETWORK.magic, "verack", CLIENT.encode())),
    (DOWN, frame(NETWORK.magic, "sendheaders", b"")),
    (DOWN, frame(NETWORK.magic, "sendcmpct", b"\x01" + bytes(8) + CLIENT.encode())),
]


PRIVATE = {
    *(each.encode() for each in (CLIENT, LISTEN, UPSTREAM, "10.11.12.13", "192.168.7.23")),
    *(
        ipaddress.ip_address(each).packed
        for each in (CLIENT, LISTEN, UPSTREAM, "10.11.12.13", "192.168.7.23", "198.51.100.23")
    ),
    *(SECRET_AGENT, b"Satoshi", b"joes", b"other node", b"curl", b"198.51.100.23"),
    *(ONION, ONION[::-1], ONION[:15]),
    *((NONCE + each).to_bytes(8, "little") for each in range(4)),
    (0x99AABBCCDDEEFF00).to_bytes(8, "little"),
    b"1122334455667788",
    b"joe's listener",
}


def record_private(path, talk=TALK, trail=(f"quiet: drop 1: from {CLIENT}", "because of joes")):
    """Record the talk, and a message with verdicts whose trail and results tell too."""
    times = itertools.count(1_700_000_000_000_000_000, 1_000_000)
    with path.open("wb") as file:
        recorder = Feed(
            Recorder(
                file.write,
                network=NETWORK.id,
                changes=True,
                metadata={"name": "joe's listener"},
                comments=[f"record_private at {CLIENT}"],
            )
        )
        session = Session(3, NETWORK, stream_above=None)
        recorder.started(INFO, next(times))
        recorder.upstream_connected(INFO, next(times))
        for direction, data in talk:
            time = next(times)
            recorder.passed(INFO, direction, session.receive(direction, data, time), time)
        for verdict in ("drop", "rewrite", "inject"):
            time = next(times)
            [delivery] = session.receive(UP, framed(Ping(nonce=NONCE + 1)), time)
            changes = {"verdict": verdict, "trail": trail}
            entry = msgspec.structs.replace(delivery.entries[0], **changes)
            sent = b"" if verdict == "drop" else framed(OLD_PEERS) + SECRET_AGENT
            if verdict == "inject":
                sent = delivery.raw
            raw = b"" if verdict == "inject" else delivery.raw
            recorder.passed(INFO, UP, [Delivery(raw, (entry,), sent)], time)
        recorder.reset(INFO, DOWN, next(times))
    return path
