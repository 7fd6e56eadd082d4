"""Tests of the handshake: its order, and how it may fail (docs/peer-lbcd.md B, J)."""

from typing import Any

import msgspec
import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from lbcproxy.peer import NonceCache, Peer, PeerClosed, PeerConfig, Policy
from lbcproxy.peer.caches import PROCESS_NONCES
from lbcproxy.wire.envelope import frame
from lbcproxy.wire.messages.addresses import Addr, GetAddr
from lbcproxy.wire.messages.compact_blocks import SendCmpct
from lbcproxy.wire.messages.handshake import SendAddrV2, SendTxRcncl, VerAck, Version, WtxidRelay
from lbcproxy.wire.messages.keepalive import Ping, SendHeaders
from lbcproxy.wire.messages.reject import Reject, RejectCode
from lbcproxy.wire.record import MessageRecord
from tests.peer.builders import BITCOIN, CONFIG, NOW, Callbacks, Wired, connect, encoded, version
from tests.peer.conversations import talk

STRICT, TOLERANT = Policy.STRICT, Policy.TOLERANT
BOTH = pytest.mark.parametrize("policy", [STRICT, TOLERANT], ids=lambda policy: policy.value)
EITHER_WAY = pytest.mark.parametrize("inbound", [True, False], ids=["inbound", "outbound"])
MAGIC = CONFIG.network.magic


def pair(inbound: PeerConfig, outbound: PeerConfig, **options: Any) -> tuple[Wired, Wired]:
    """An inbound and an outbound peer that have talked to each other."""
    one = connect(inbound, inbound=True, port=50_000, **options)
    other = connect(outbound, inbound=False, host="10.0.0.2", **options)
    talk(one, other)
    return one, other


# Two of our own peers.


@BOTH
def test_two_peers_agree_on_the_lower_version(policy: Policy):
    """The scenario of lbcd's own test: each side knows of the other what it said."""
    agent = b"/btcwire:0.5.0/peer:1.0(comment)/"
    services = 1 << 3 | 1
    low = PeerConfig(
        network=CONFIG.network,
        policy=policy,
        user_agent=agent,
        services=services,
        protocol_version=70002,
        newest_block=lambda: (bytes(32), 234_439),
    )
    high = msgspec.structs.replace(low, protocol_version=None, services=0, newest_block=None)
    one, other = pair(low, high)
    highest = 70013 if policy is Policy.STRICT else 70016
    for wired, heard in ((one, (0, 0, highest)), (other, (services, 234_439, 70002))):
        seen = wired.peer.snapshot()
        assert wired.peer.is_ready
        assert wired.peer.is_connected
        assert (seen.services, seen.starting_height, seen.version) == heard
        assert seen.protocol_version == 70002
        assert seen.user_agent == agent
        assert seen.last_block == seen.starting_height
        assert (seen.time_offset, seen.ping_nonce, seen.ping_seconds) == (0, 0, None)
        assert (seen.bytes_sent, seen.bytes_received) == (167, 167)
        assert len(wired.bytes_sent) == 167
        assert seen.connected_at == NOW
    assert one.peer.snapshot().inbound
    assert str(one.peer) == "10.0.0.1:50000 (inbound)"
    assert str(other.peer) == "10.0.0.2:9246 (outbound)"


def test_a_peer_behind_a_socks_proxy_agrees_too():
    """What the proxy's address is must not be shown; it takes no part otherwise."""
    config = msgspec.structs.replace(CONFIG, proxy="10.0.0.2:9050")
    _, other = pair(CONFIG, config)
    assert other.peer.is_ready
    said = other.sent[0]
    assert isinstance(said, Version)
    assert (said.addr_recv.ip, said.addr_recv.port) == (bytes(10) + b"\xff\xff" + bytes(4), 0)


@pytest.mark.parametrize(
    ("inbound", "outbound", "wanted"),
    [(70016, 70016, True), (70015, 70016, False), (70016, 70015, False)],
)
def test_addrv2_is_agreed_on_if_both_speak_70016(inbound: int, outbound: int, wanted: bool):
    """BIP155: `sendaddrv2` goes out between `version` and `verack`, never to older nodes."""
    configs = [
        PeerConfig(network=BITCOIN, protocol_version=number) for number in (inbound, outbound)
    ]
    for wired in pair(*configs):
        assert wired.peer.is_ready
        assert wired.peer.snapshot().wants_addrv2 is wanted
        between = ["sendaddrv2"] if wanted else []
        assert wired.commands == ["version", *between, "verack"]


@pytest.mark.parametrize(
    ("offers", "agreed", "between"),
    [
        (None, 70016, ["sendaddrv2"]),
        ((), 70016, []),
        ((WtxidRelay(), SendAddrV2()), 70016, ["wtxidrelay", "sendaddrv2"]),
        ((WtxidRelay(), SendHeaders()), 70015, ["sendheaders"]),
        ((SendHeaders(),), 70011, []),
    ],
)
def test_what_is_offered_can_be_chosen(offers, agreed: int, between: list[str]):
    """As far as the agreed version has it (BIP339 and BIP155 came with 70016)."""
    config = PeerConfig(network=BITCOIN, protocol_version=70016, offers=offers)
    wired = connect(config).feed(version(agreed), VerAck())
    assert wired.commands == ["version", *between, "verack"]
    assert wired.peer.is_ready


# Order.


@BOTH
def test_an_inbound_peer_is_silent_until_the_node_has_spoken(policy: Policy):
    """A port scanner learns nothing; then both of our messages go out at once."""
    wired = connect(policy=policy)
    raw = encoded(version())
    wired.feed(raw[:-1])
    assert wired.bytes_sent == b""
    wired.feed(raw[-1:])
    assert wired.commands == ["version", "verack"]
    assert not wired.peer.is_ready
    wired.feed(VerAck())
    assert wired.peer.is_ready
    assert wired.commands == ["version", "verack"]


@pytest.mark.parametrize(
    ("policy", "before_verack"),
    [(STRICT, ["version"]), (TOLERANT, ["version", "verack"])],
    ids=["strict", "tolerant"],
)
def test_an_outbound_peer_speaks_first(policy: Policy, before_verack: list[str]):
    """A strict peer sends `verack` last, as lbcd; a tolerant one answers at once, as btcd now."""
    wired = connect(policy=policy, inbound=False)
    assert wired.commands == ["version"]
    wired.feed(version())
    assert wired.commands == before_verack
    wired.feed(VerAck())
    assert wired.commands == ["version", "verack"]
    assert wired.peer.is_ready


@pytest.mark.parametrize(
    ("policy", "inbound", "sent"),
    [(STRICT, False, 1), (STRICT, True, 2), (TOLERANT, False, 2), (TOLERANT, True, 2)],
)
def test_on_verack_is_called_as_lbcd_calls_it(policy: Policy, inbound: bool, sent: int):
    """A strict outbound peer's own `verack` is not out yet: what it queues comes after it."""
    counts = []
    callbacks = Callbacks(on_verack=lambda peer, record: counts.append(len(wired.commands)))
    wired = connect(policy=policy, inbound=inbound, callbacks=callbacks)
    wired.feed(version(), VerAck())
    assert counts == [sent]


@BOTH
@EITHER_WAY
def test_nothing_goes_out_before_our_verack(policy: Policy, inbound: bool):
    """Nodes drop a peer that sends anything else (Core's p2p_leak); queued messages wait."""

    def queue(number: int) -> Any:
        return lambda peer, *_: peer.send(Ping(number))

    callbacks = Callbacks(on_version=queue(2), on_verack=queue(3), on_ready=queue(4))
    wired = connect(policy=policy, inbound=inbound, callbacks=callbacks, opened=False)
    wired.peer.send(Ping(1))
    wired.open()
    assert "ping" not in wired.commands
    wired.feed(version())
    wired.pass_time(5)
    assert "ping" not in wired.commands
    wired.feed(VerAck())
    assert wired.commands == ["version", "verack", *["ping"] * 4]
    assert [each.nonce for each in wired.sent[2:]] == [1, 2, 3, 4]


def test_what_is_ready_is_reported_before_later_messages():
    """A user who sets up at `on_ready` must not see a message before, however it arrived."""
    waiting: Deferred[None] = Deferred()
    callbacks = Callbacks(on_verack=lambda peer, record: waiting)
    wired = connect(callbacks=callbacks).feed(version(), VerAck(), Ping(1))
    assert wired.callbacks.of("on_ready") == []
    waiting.callback(None)
    names = wired.callbacks.names("on_read", "on_write", "on_message")
    assert names == ["on_version", "on_verack", "on_ready", "on_ping"]


# What is not taken.


FIRST = [VerAck(), Ping(1), GetAddr(), SendAddrV2()]


@EITHER_WAY
@pytest.mark.parametrize("first", FIRST, ids=lambda record: record.command)
def test_a_first_message_that_is_not_a_version_is_rejected(first: MessageRecord, inbound: bool):
    """One `reject` that names `version`, whatever came, and the end."""
    wired = connect(policy=STRICT, inbound=inbound).feed(first, version())
    reason = b"a version message must precede all others"
    assert wired.sent[-1] == Reject(b"version", RejectCode.MALFORMED, reason)
    assert wired.commands == [*([] if inbound else ["version"]), "reject"]
    assert wired.closed
    assert wired.callbacks.of("on_version") == []


@EITHER_WAY
@pytest.mark.parametrize(
    "first",
    [*FIRST, frame(MAGIC, "nonsense", b""), frame(MAGIC, "ping", b"1")],
    ids=["verack", "ping", "getaddr", "sendaddrv2", "unknown", "malformed"],
)
def test_what_comes_before_version_means_nothing_to_a_tolerant_peer(first: Any, inbound: bool):
    """Core waits for the `version`, as long as a handshake may take."""
    wired = connect(policy=TOLERANT, inbound=inbound)
    before = wired.commands
    wired.feed(first)
    assert wired.commands == before
    wired.feed(version(), VerAck())
    assert wired.peer.is_ready
    assert "reject" not in wired.commands


UNREADABLE = {
    "unknown": frame(MAGIC, "nonsense", b""),
    "checksum": encoded(version())[:20] + b"abcd" + encoded(version())[24:],
    "magic": b"\0\0\0\0" + encoded(version())[4:],
    "oversized": MAGIC + b"version\0\0\0\0\0" + b"\xff\xff\xff\xff" + bytes(4),
    "payload": frame(MAGIC, "version", bytes(10)),
    "too long": frame(MAGIC, "version", encoded(version())[24:] + bytes(300)),
}


@BOTH
@EITHER_WAY
@pytest.mark.parametrize("raw", UNREADABLE.values(), ids=UNREADABLE)
def test_an_unreadable_first_message_ends_it_without_a_word(
    raw: bytes, inbound: bool, policy: Policy
):
    """No reject before the other side is known to speak the protocol; `on_read` sees the error."""
    wired = connect(policy=policy, inbound=inbound)
    before = wired.bytes_sent
    wired.feed(raw)
    assert wired.closed is (policy is STRICT or raw != UNREADABLE["unknown"])
    assert wired.bytes_sent == before
    (size, _, error), *more = wired.callbacks.of("on_read")
    assert (size > 0, bool(error), more) == (True, True, [])


@EITHER_WAY
def test_regtest_forgives_nothing_in_the_handshake(inbound: bool):
    """The exemption for lbcd's test tools begins after the handshake (B3)."""
    config = msgspec.structs.replace(CONFIG, network=BITCOIN)
    wired = connect(config, inbound=inbound, host="127.0.0.1").feed(bytes(100))
    assert wired.closed


FEATURE = frame(MAGIC, "feature", b"\x04bip\x00\x00")
UNKNOWN = frame(MAGIC, "nonsense", b"12")
BETWEEN = {
    "ping": (Ping(1), "reject", "go on"),
    "addr": (Addr(()), "reject", "go on"),
    "a second version": (version(), "reject", "go on"),
    "sendheaders": (SendHeaders(), "reject", "go on"),
    "sendaddrv2": (SendAddrV2(), "reject", "go on"),
    "wtxidrelay": (WtxidRelay(), "close", "go on"),
    "sendtxrcncl": (SendTxRcncl(1, 2), "close", "go on"),
    "sendcmpct": (SendCmpct(True, 2), "close", "go on"),
    "feature": (FEATURE, "close", "go on"),
    "unknown": (UNKNOWN, "close", "go on"),
    "a malformed one": (frame(MAGIC, "sendtxrcncl", b"1"), "close", "go on"),
    "a wrong checksum": (encoded(VerAck())[:-1] + b"x", "close", "go on"),
    "no message": (b"junk" * 6, "close", "close"),
}


@EITHER_WAY
@BOTH
@pytest.mark.parametrize("name", BETWEEN)
def test_between_version_and_verack_the_policy_says_what_may_come(
    name: str, policy: Policy, inbound: bool
):
    """To lbcd only `verack` may come; btcd and Core negotiate there, ever more."""
    thing, strict, tolerant = BETWEEN[name]
    expected = strict if policy is STRICT else tolerant
    wired = connect(policy=policy, inbound=inbound).feed(version())
    before = wired.commands
    wired.feed(thing)
    assert wired.closed is (expected != "go on")
    if expected == "reject":
        reason = b"a verack message must follow version"
        assert wired.sent[-1] == Reject(b"verack", RejectCode.MALFORMED, reason)
        before = [*before, "reject"]
    assert wired.commands == before
    wired.feed(VerAck())
    assert wired.peer.is_ready is (expected == "go on")


def test_what_is_offered_in_the_handshake_reaches_its_callbacks():
    """Negotiation is for the user too; what the node wishes is kept."""
    offers = (SendHeaders(), WtxidRelay(), SendAddrV2())
    wired = connect(PeerConfig(network=BITCOIN)).feed(version(70016), *offers, VerAck())
    names = wired.callbacks.names("on_read", "on_write", "on_message")
    offered = ["on_sendheaders", "on_wtxidrelay", "on_sendaddrv2"]
    assert names == ["on_version", *offered, "on_verack", "on_ready"]
    known = wired.peer.snapshot()
    assert (known.wants_headers, known.wants_wtxids, known.wants_addrv2) == (True, True, True)


def test_sendaddrv2_after_verack_ends_a_tolerant_peer():
    """As btcd and Core do; lbcd only notes it."""
    assert connect().shake_hands().feed(SendAddrV2()).closed
    assert not connect(policy=STRICT).shake_hands().feed(SendAddrV2()).closed


def test_wtxidrelay_after_verack_ends_a_tolerant_peer():
    """As with Core (BIP339)."""
    assert connect().shake_hands().feed(WtxidRelay()).closed


def test_a_verack_with_a_payload_is_a_verack_to_a_tolerant_peer():
    """Core does not look at what comes after a message's fields."""
    wired = connect().feed(version(), frame(MAGIC, "verack", b"1"))
    assert wired.peer.is_ready


# A `verack` that is held.


@EITHER_WAY
@BOTH
def test_a_held_verack_is_sent_on_request(policy: Policy, inbound: bool):
    """Once, and what is offered goes out before it."""
    config = PeerConfig(
        network=BITCOIN, policy=policy, protocol_version=70016, offers=(), hold_verack=True
    )
    wired = connect(config, inbound=inbound).feed(version(70016))
    assert wired.commands == ["version"]
    raw = encoded(WtxidRelay(), network=BITCOIN)
    wired.peer.offer("wtxidrelay", raw)
    wired.peer.send_verack()
    wired.peer.send_verack()
    wired.peer.offer("sendaddrv2", encoded(SendAddrV2(), network=BITCOIN))
    assert wired.commands == ["version", "wtxidrelay", "verack"]
    wired.feed(VerAck())
    assert wired.peer.is_ready
    assert wired.commands == ["version", "wtxidrelay", "verack"]


def test_a_held_verack_goes_out_before_anything_else():
    """With the node's own at the latest: nothing may come before it."""
    config = msgspec.structs.replace(CONFIG, hold_verack=True)
    wired = connect(config)
    wired.peer.send(Ping(1))
    wired.feed(version(), VerAck())
    assert wired.commands == ["version", "verack", "ping"]


def test_nothing_is_offered_to_a_node_whose_version_does_not_have_it():
    """A node of before 70016 may end the connection for it."""
    config = msgspec.structs.replace(CONFIG, hold_verack=True, protocol_version=70016)
    wired = connect(config).feed(version(70015))
    wired.peer.offer("wtxidrelay", encoded(WtxidRelay()))
    assert wired.commands == ["version"]


# Time.


@BOTH
@EITHER_WAY
@pytest.mark.parametrize("said", [[], [version()]], ids=["silent", "no verack"])
def test_the_whole_handshake_has_thirty_seconds(
    said: list[MessageRecord], inbound: bool, policy: Policy
):
    """Not a moment more, and nothing is said at the end."""
    wired = connect(policy=policy, inbound=inbound).feed(*said)
    before = wired.bytes_sent
    wired.clock.advance(29.9)
    assert not wired.closed
    wired.clock.advance(0.1)
    assert wired.closed
    assert wired.bytes_sent == before
    assert wired.callbacks.of("on_verack") == []
    wired.read()
    assert wired.callbacks.of("on_disconnected") == [("protocol negotiation timeout",)]


@EITHER_WAY
def test_a_byte_now_and_then_gains_no_time(inbound: bool):
    """A node that drips its version in must not hold a connection for hours."""
    wired = connect(inbound=inbound)
    raw = encoded(version())
    for byte in range(29):
        wired.feed(raw[byte : byte + 1])
        wired.pass_time(1)
    assert not wired.closed
    wired.pass_time(1)
    assert wired.closed


def test_a_slow_on_version_gains_no_time_either():
    """The limit is for the whole handshake, the user's part of it included."""
    waiting: Deferred[None] = Deferred()
    wired = connect(callbacks=Callbacks(on_version=lambda peer, record: waiting)).feed(version())
    wired.pass_time(30)
    assert wired.closed
    waiting.callback(None)
    assert wired.bytes_sent == b""
    assert wired.calls_left == 0


def test_the_negotiation_timer_ends_with_the_handshake():
    """A peer that is ready is not cut off 30 seconds after it connected."""
    wired = connect().feed(version()).pass_time(29)
    wired.feed(VerAck()).pass_time(60)
    assert wired.peer.is_ready


def test_a_handshake_of_many_bytes_is_ended():
    """Nobody who connects may make us hold 32 MiB: no message of a handshake is so long."""
    wired = connect()
    wired.feed(MAGIC + b"tx".ljust(12, b"\0") + (1 << 24).to_bytes(4, "little") + bytes(4))
    for _ in range(100):
        if not wired.closed:
            wired.feed(bytes(1000))
    assert wired.closed
    assert wired.peer.snapshot().bytes_received < 70_000


def test_an_unfinished_frame_of_64_kib_is_the_most_in_the_handshake():
    """One byte more ends it."""
    header = MAGIC + b"tx".ljust(12, b"\0") + (1 << 24).to_bytes(4, "little") + bytes(4)
    wired = connect().feed(header + bytes(65_536 - len(header)))
    assert not wired.closed
    wired.feed(b"\0")
    assert wired.closed


def test_a_long_message_after_verack_in_one_segment_is_not_part_of_the_handshake():
    """The limit must not hit a node that sends its first block at once."""
    header = MAGIC + b"block".ljust(12, b"\0") + (1 << 20).to_bytes(4, "little") + bytes(4)
    wired = connect().feed(version())
    wired.feed(encoded(VerAck()) + header + bytes(70_000))
    wired.feed(bytes(70_000))
    assert wired.peer.is_ready


# The user's say.


@EITHER_WAY
@BOTH
@pytest.mark.parametrize("later", [False, True], ids=["at once", "later"])
@pytest.mark.parametrize("reason", [b"I do not like you", b""], ids=["reason", "no reason"])
def test_on_version_may_refuse_a_node(reason: bytes, later: bool, policy: Policy, inbound: bool):
    """Its `reject` is sent once, and that is the end, whatever the reason says."""
    refusal = Reject(b"version", RejectCode.NONSTANDARD, reason)
    waiting: Deferred[Any] = Deferred()
    callbacks = Callbacks(on_version=lambda peer, record: waiting if later else refusal)
    wired = connect(policy=policy, inbound=inbound, callbacks=callbacks).feed(version(), VerAck())
    if later:
        waiting.callback(refusal)
    assert wired.commands == [*([] if inbound else ["version"]), "reject"]
    assert wired.sent[-1] == refusal
    assert wired.closed
    assert wired.callbacks.of("on_verack") == []
    assert wired.peer.snapshot().version == 70013


def test_a_refusal_does_not_reach_a_node_whose_version_has_no_reject():
    """Below 70002 there is no such message; the connection just ends (B5)."""
    refusal = Reject(b"version", RejectCode.NONSTANDARD, b"no")
    wired = connect(callbacks=Callbacks(on_version=lambda peer, record: refusal))
    wired.feed(version(70001))
    assert wired.bytes_sent == b""
    assert wired.closed


@EITHER_WAY
def test_on_version_may_disconnect(inbound: bool):
    """What would have come next is not sent."""
    callbacks = Callbacks(on_version=lambda peer, record: peer.disconnect("no"))
    wired = connect(inbound=inbound, callbacks=callbacks).feed(version(), VerAck())
    assert wired.commands == ([] if inbound else ["version"])
    assert wired.closed
    assert wired.callbacks.of("on_verack") == []


def boom(*_: object) -> Any:
    """A function with a defect."""
    raise RuntimeError("a defect")


@EITHER_WAY
@pytest.mark.parametrize("name", ["on_version", "on_message", "on_read", "on_verack", "on_write"])
def test_a_callback_that_raises_in_the_handshake_costs_that_peer_alone(name: str, inbound: bool):
    """The next peer does not notice."""
    wired = connect(inbound=inbound, callbacks=Callbacks(**{name: boom}))
    other = connect(inbound=inbound)
    wired.feed(version(), VerAck())
    other.feed(version(), VerAck())
    assert wired.closed
    assert not wired.peer.is_ready
    assert other.peer.is_ready


@pytest.mark.parametrize(
    "newest", [boom, lambda: None, lambda: (bytes(32), 1 << 40)], ids=["raises", "none", "huge"]
)
@EITHER_WAY
def test_without_a_newest_block_there_is_no_handshake(newest: Any, inbound: bool):
    """An outbound peer then sends not one byte, an inbound one has read the node's version."""
    config = msgspec.structs.replace(CONFIG, newest_block=newest)
    wired = connect(config, inbound=inbound)
    ready = wired.peer.when_ready()
    failures: list[Any] = []
    ready.addErrback(failures.append)
    wired.feed(version())
    wired.read()
    assert wired.bytes_sent == b""
    assert wired.closed
    assert [failure.type for failure in failures] == [PeerClosed]
    assert len(wired.callbacks.of("on_version")) == int(inbound)


def test_a_version_that_cannot_be_encoded_ends_it_at_once():
    """A user agent that is given whole and is too long must not make the node wait 30 seconds."""
    config = msgspec.structs.replace(CONFIG, user_agent=bytes(257))
    wired = connect(config, inbound=False)
    assert wired.bytes_sent == b""
    assert wired.closed


# Ourselves.


@BOTH
def test_a_peer_that_is_connected_to_itself_ends(policy: Policy):
    """Both ends go; nothing was learned of the node, which is nobody."""
    nonces = NonceCache()
    one, other = pair(
        msgspec.structs.replace(CONFIG, policy=policy),
        msgspec.structs.replace(CONFIG, policy=policy),
        nonces=nonces,
    )
    other.wire.finish()
    assert one.closed
    assert other.closed
    assert one.bytes_sent == b""
    seen = one.peer.snapshot()
    assert (seen.id, seen.version, seen.services) == (0, None, None)
    assert one.callbacks.of("on_version") == []


def test_an_outbound_peer_knows_its_own_nonce():
    """The version may come back by another way than an inbound peer of ours."""
    wired = connect(inbound=False)
    wired.feed(wired.sent[0])
    assert wired.closed
    assert wired.commands == ["version"]


def test_self_connections_can_be_allowed():
    """For tests of two peers in one process."""
    config = msgspec.structs.replace(CONFIG, allow_self_connections=True)
    one, other = pair(config, config, nonces=NonceCache())
    assert one.peer.is_ready
    assert other.peer.is_ready


@pytest.mark.parametrize(("newer", "known"), [(49, True), (50, False)])
def test_fifty_nonces_are_remembered(newer: int, known: bool):
    """The 51st pushes the oldest out."""
    nonces = NonceCache()
    ours = connect(inbound=False, nonces=nonces).sent[0]
    for _ in range(newer):
        connect(inbound=False, nonces=nonces)
    assert connect(nonces=nonces).feed(ours).closed is known


def test_peers_share_the_nonces_of_the_process_by_default():
    """Otherwise no peer would ever know another of its process."""
    options = {"clock": Clock(), "inbound": False}
    ours = Peer(CONFIG, **options)
    transport = StringTransport()
    ours.makeConnection(transport)
    wired = connect(nonces=PROCESS_NONCES).feed(transport.value())
    ours.disconnect()
    ours.connectionLost()
    assert wired.closed


@pytest.mark.parametrize("nonce", [0, None, 1])
def test_other_nonces_are_not_ours(nonce: int | None):
    """A nonce of zero, or none, proves nothing."""
    fields: dict[str, Any] = {"nonce": nonce}
    if nonce is None:
        fields |= {"user_agent": None, "start_height": None, "relay": None}
    wired = connect().feed(version(**fields), VerAck())
    assert wired.peer.is_ready


def test_a_nonce_that_was_only_received_is_not_ours():
    """A proxy passes versions of others on: the other leg's nonce is not one that we sent."""
    nonces = NonceCache()
    connect(nonces=nonces).feed(version(nonce=77))
    assert not connect(nonces=nonces).feed(version(nonce=77)).closed


def test_nonces_are_random_and_have_64_bits():
    """A nonce that can be guessed lets others end our connections."""
    sent = [connect(inbound=False).sent[0] for _ in range(64)]
    nonces = [each.nonce for each in sent if isinstance(each, Version)]
    assert len(set(nonces)) == 64
    assert max(nonces) >= 1 << 63
