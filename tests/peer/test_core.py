"""The core of a peer alone: bytes and times in, effects out, without a transport or callbacks."""

import itertools
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from lbcproxy.endpoint import Endpoint
from lbcproxy.peer import NonceCache, PeerConfig, Policy, StallMode
from lbcproxy.peer.core import PeerCore
from lbcproxy.peer.effects import (
    Deliver,
    Disconnect,
    Effect,
    Log,
    RawFrame,
    Read,
    Ready,
    Resolve,
    Write,
)
from lbcproxy.peer.handshake import Phase
from lbcproxy.session import EndCause, Message
from lbcproxy.wire.envelope import frame
from lbcproxy.wire.messages.addresses import GetAddr
from lbcproxy.wire.messages.bloom import FilterClear
from lbcproxy.wire.messages.handshake import SendAddrV2, VerAck, Version, WtxidRelay
from lbcproxy.wire.messages.headers import GetHeaders
from lbcproxy.wire.messages.inventory import Inv, InventoryVector, InvType
from lbcproxy.wire.messages.keepalive import Ping, Pong
from lbcproxy.wire.messages.reject import Reject, RejectCode
from lbcproxy.wire.record import MessageRecord
from tests.peer.builders import CONFIG, MAINNET, NOW, REGTEST, encoded, version

BLOOM = 1 << 2
REMOTE = Endpoint("10.0.0.1", 9246)
TX, BLOCK = (InventoryVector(kind, bytes(32)) for kind in (InvType.TX, InvType.BLOCK))


class Tried(PeerCore):
    """A core whose callbacks return at once, and a node that sends to it.

    The node's messages arrive at `now`, a time that only a test changes.
    """

    def __init__(
        self,
        *,
        inbound: bool = True,
        nonces: NonceCache | None = None,
        remote: Endpoint = REMOTE,
        opened: bool = True,
        **fields: Any,
    ) -> None:
        super().__init__(
            msgspec.structs.replace(CONFIG, **fields),
            inbound=inbound,
            nonces=NonceCache() if nonces is None else nonces,
            new_id=itertools.count(7).__next__,
            wall=lambda: NOW,
        )
        self.now = 0.0
        self.answer: object = None
        """What each callback returns."""
        self.opening = self.open(0.0, remote) if opened else []

    def arrive(self, *things: MessageRecord | bytes) -> list[Effect]:
        """Receive messages in one read, and do what follows."""
        raws = [each if isinstance(each, bytes) else self.encode(each) for each in things]
        self.feed(b"".join(raws))
        effects = []
        while self.pending:
            effects += self.step(self.now)
            if any(isinstance(each, Deliver) for each in effects[-1:]):
                effects += self.delivered(self.answer, self.now)
        return effects

    def encode(self, record: MessageRecord) -> bytes:
        """Return a message as the node sends it."""
        at = 70016 if isinstance(record, Version) else self.protocol_version
        return encoded(record, at, network=self.config.network)

    def shaken(self, number: int = 70013, **fields: Any) -> "Tried":
        """Complete the handshake."""
        self.arrive(version(number, **fields), VerAck())
        assert self.ready
        return self


def written(effects: Sequence[Effect]) -> list[MessageRecord | RawFrame]:
    """Return what is sent."""
    return [each.record for each in effects if isinstance(each, Write)]


def logged(effects: Sequence[Effect]) -> list[str]:
    """Return the lines that are logged."""
    return [each.text for each in effects if isinstance(each, Log)]


def kinds(effects: Sequence[Effect]) -> list[type]:
    """Return the types of effects."""
    return [type(each) for each in effects]


# The handshake.


def test_an_inbound_peer_waits_for_the_version_and_an_outbound_one_sends_its_own():
    """Its nonce is remembered before it is sent (J1)."""
    assert Tried().opening == []
    nonces = NonceCache()
    outbound = Tried(inbound=False, nonces=nonces)
    [sent] = written(outbound.opening)
    assert isinstance(sent, Version)
    assert sent.nonce in nonces
    assert sent.timestamp == int(NOW)
    assert (outbound.deadline, outbound.ready, outbound.pending) == (30, False, False)


def test_the_handshake_of_an_inbound_peer():
    """Each message is delivered before it is answered."""
    core = Tried()
    effects = core.arrive(version(70013), VerAck())
    assert kinds(effects) == [Read, Deliver, Log, Write, Write, Read, Deliver, Log, Ready]
    assert [type(each) for each in written(effects)] == [Version, VerAck]
    assert logged(effects) == ["negotiated protocol version 70013", "connected"]
    assert (core.remote.id, core.remote.time_offset, core.ready) == (7, 0, True)
    assert core.protocol_version == 70013
    assert core.cause is None
    assert core.closed == ""


def test_the_handshake_of_an_outbound_peer():
    """A strict one sends its `verack` last."""
    for policy, expected in (
        (Policy.TOLERANT, [[VerAck()], []]),
        (Policy.STRICT, [[], [VerAck()]]),
    ):
        core = Tried(inbound=False, policy=policy)
        assert [written(core.arrive(each)) for each in (version(70013), VerAck())] == expected
        assert core.ready


def test_a_version_of_our_own_is_noticed_unless_that_is_allowed():
    """By its nonce."""
    for allowed in (False, True):
        nonces = NonceCache()
        [ours] = written(Tried(inbound=False, nonces=nonces).opening)
        core = Tried(nonces=nonces, allow_self_connections=allowed)
        effects = core.arrive(ours)
        if allowed:
            assert core.handshake.phase is Phase.AWAIT_VERACK
        else:
            assert logged(effects)[0] == ("cannot start peer: disconnecting peer connected to self")
            assert core.closed == "disconnecting peer connected to self"
            assert core.remote.version is None


@pytest.mark.parametrize(
    ("number", "why"),
    [(-1, "protocol version -1 is negative"), (0, "209 or"), (208, "209 or"), (209, "")],
)
def test_a_version_that_is_too_old_ends_the_connection(number: int, why: str):
    """Without a reject: such a node does not know it (B5)."""
    core = Tried()
    effects = core.arrive(version(number))
    assert why in core.closed
    assert bool(core.closed) is bool(why)
    if why:
        assert written(effects) == []
        assert core.cause is EndCause.PROTOCOL


def test_the_answer_to_a_version_may_be_a_reject():
    """Its reason is that of the end; a message without one has another."""
    for reason, why in ((b"no \xff", "no \ufffd"), (b"", "refused by us")):
        core = Tried()
        core.answer = Reject(b"version", RejectCode.OBSOLETE, reason)
        effects = core.arrive(version(70013))
        assert written(effects) == [core.answer]
        assert core.closed == why


def test_a_version_that_cannot_be_made_ends_the_connection():
    """It is a failure of ours; an inbound peer then sends nothing at all."""

    def fails() -> tuple[bytes, int]:
        raise ValueError("no block")

    for inbound in (True, False):
        core = Tried(inbound=inbound, newest_block=fails)
        effects = core.arrive(version(70013)) if inbound else core.opening
        assert core.closed == "no version can be made: no block"
        assert core.cause is EndCause.FAILURE
        assert written(effects) == []
        assert effects[-1] == Disconnect()


def test_a_version_that_cannot_be_encoded_ends_the_connection_too():
    """The user's function has returned what does not fit."""
    core = Tried(inbound=False, newest_block=lambda: (bytes(32), 2**40))
    assert core.closed.startswith("no version can be made: start_height")
    assert written(core.opening) == []


def test_a_connection_that_ends_in_a_callback_goes_no_further():
    """Nor does one whose callback returns twice."""
    core = Tried()
    assert core.delivered(None, 0) == []
    core.feed(encoded(version(70013)))
    core.step(0)
    core.close("over")
    assert core.delivered(None, 0) == []


def test_before_the_version_everything_is_ignored_or_refused():
    """A strict peer says so."""
    core = Tried()
    effects = core.arrive(Ping(1))
    assert kinds(effects) == [Read, Log]
    assert logged(effects) == ["ignoring ping before version"]
    strict = Tried(policy=Policy.STRICT)
    effects = strict.arrive(Ping(1))
    assert [type(each) for each in written(effects)] == [Reject]
    assert "must precede" in strict.closed


def test_offers_before_the_verack_are_delivered():
    """Others are ignored."""
    core = Tried(protocol_version=70016)
    core.arrive(version(70016))
    assert kinds(core.arrive(SendAddrV2())) == [Read, Deliver]
    assert core.handshake.wants_addrv2
    assert logged(core.arrive(GetAddr())) == ["ignoring getaddr before verack"]
    core.arrive(VerAck())
    assert core.ready


def test_a_verack_may_be_held():
    """It is sent when the user says so, once; or with the node's at the latest."""
    core = Tried(hold_verack=True)
    assert [type(each) for each in written(core.arrive(version(70013)))] == [Version]
    assert written(core.send_verack(0)) == [VerAck()]
    assert core.send_verack(0) == []
    late = Tried(hold_verack=True)
    late.arrive(version(70013))
    assert written(late.arrive(VerAck())) == [VerAck()]
    closed = Tried(hold_verack=True)
    closed.arrive(version(70013))
    closed.close("over")
    assert closed.send_verack(0) == []


def test_a_feature_may_be_offered_until_our_verack():
    """As a frame that is sent as it is."""
    core = Tried(hold_verack=True, protocol_version=70016)
    core.arrive(version(70016))
    assert written(core.offer("sendaddrv2", b"raw", 0)) == [RawFrame("sendaddrv2")]
    assert core.offer("feature", b"raw", 0) == []  # not before 70017
    core.send_verack(0)
    assert core.offer("sendaddrv2", b"raw", 0) == []
    closed = Tried(hold_verack=True, protocol_version=70016)
    closed.arrive(version(70016))
    closed.close("over")
    assert closed.offer("sendaddrv2", b"raw", 0) == []


def test_a_message_of_the_handshake_that_cannot_be_decoded():
    """A `version` ends the connection, another is ignored; junk counts as a `version`."""
    core = Tried()
    core.arrive(version(70013))
    bad = frame(MAINNET.magic, "feefilter", b"x")
    effects = core.arrive(bad)
    assert kinds(effects) == [Read, Log]
    assert not core.closed
    assert logged(core.arrive(frame(MAINNET.magic, "zebra", b""))) == [
        "ignoring unknown command 'zebra'"
    ]
    for what in (frame(MAINNET.magic, "version", b"x"), b"GET / HTTP/1.1\r\n" * 4):
        core = Tried()
        [read, *_] = core.arrive(what)
        assert isinstance(read, Read)
        assert core.closed == read.error
        assert read.junk == (b"" if read.message else what)
        assert read.size == len(what)


def test_a_verack_with_bytes_after_it_is_one():
    """As Bitcoin Core accepts it."""
    core = Tried()
    core.arrive(version(70013), frame(MAINNET.magic, "verack", b"more"))
    assert core.ready


def test_our_version_can_be_changed_until_it_is_sent():
    """And later, for what is negotiated."""
    core = Tried(opened=False)
    core.configure(msgspec.structs.replace(core.config, protocol_version=70002))
    assert core.config.protocol_version == 70002
    core.open(0, REMOTE)
    core.arrive(version(70013))
    core.configure(msgspec.structs.replace(core.config, protocol_version=60001))
    assert core.protocol_version == 60001
    core.configure(msgspec.structs.replace(core.config, protocol_version=70016))
    assert core.protocol_version == 70013
    core.arrive(VerAck())
    assert core.ready


# Messages.


def test_a_ping_is_answered_before_it_is_delivered():
    """Unless the user answers, or it has no nonce."""
    core = Tried().shaken()
    effects = core.arrive(Ping(5))
    assert kinds(effects) == [Read, Deliver]
    assert written(core.flush(0)) == [Pong(5)]
    assert core.flush(0) == []
    own = Tried(keepalive=False).shaken()
    own.arrive(Ping(5))
    assert own.flush(0) == []
    old = Tried().shaken(60000)
    assert kinds(old.arrive(Ping(None))) == [Read, Deliver]  # it is decoded for that version
    assert old.flush(0) == []


def test_a_pong_ends_the_ping_of_its_nonce():
    """Its time is measured."""
    core = Tried().shaken()
    core.queue(Ping(5), 0)
    core.flush(1)
    core.now = 3
    core.arrive(Pong(4))
    assert core.liveness.keepalive.nonce == 5
    core.arrive(Pong(5))
    assert (core.liveness.keepalive.nonce, core.liveness.keepalive.seconds) == (0, 2)


def test_one_message_is_delivered_at_a_time():
    """The next one is processed after the callback."""
    core = Tried().shaken()
    core.feed(core.encode(Ping(1)) + core.encode(Ping(2)))
    [read, deliver] = core.step(0)
    assert isinstance(read, Read)
    assert isinstance(deliver, Deliver)
    assert (read.size, read.message, read.error) == (32, deliver.message, None)
    assert not core.pending
    assert core.delivered(None, 0) == []
    assert core.pending
    core.step(0)
    assert not core.pending
    assert core.delivered(None, 0) == []
    assert core.delivered(None, 0) == []  # nothing is being delivered


def test_a_callback_has_an_hour_and_the_node_is_not_blamed_for_it():
    """Its own deadlines stand still."""
    core = Tried().shaken()
    core.feed(core.encode(GetAddr()))
    core.step(10)
    while (deadline := core.deadline) is not None and deadline < 3610:
        core.tick(deadline)
        core.flush(deadline)
    assert core.deadline == 3610
    assert core.liveness.timers.due(3609) == []
    core.delivered(None, 3600)
    assert core.liveness.timers.due(3600 + 299) != ["idle"]
    other = Tried().shaken()
    other.feed(other.encode(GetAddr()))
    other.step(10)
    for name in ("ping", "trickle"):
        other.liveness.timers.cancel(name)
    effects = other.tick(3610)
    assert other.closed == "a callback has not ended in 3600 s"
    assert other.cause is EndCause.TIMEOUT
    assert other.delivered(None, 3611) == []
    assert effects[-1] == Disconnect()


def test_what_a_node_asks_for_is_remembered():
    """`sendheaders`, as soon as it arrives."""
    core = Tried().shaken()
    assert not core.remote.wants_headers
    core.arrive(frame(MAINNET.magic, "sendheaders", b""))
    assert core.remote.wants_headers


@pytest.mark.parametrize(("number", "ends"), [(70010, False), (70011, True), (70012, True)])
def test_a_bloom_filter_that_is_not_offered_ends_the_connection_from_70011_on(
    number: int, ends: bool
):
    """One that is offered is delivered (BIP111)."""
    core = Tried().shaken(number)
    effects = core.arrive(FilterClear())
    assert bool(core.closed) is ends
    assert kinds(effects)[:2] == [Read, Log]
    offering = Tried(services=BLOOM).shaken(number)
    assert kinds(offering.arrive(FilterClear())) == [Read, Deliver]


def test_a_second_version_or_verack_is_ignored_or_rejected():
    """By the policy."""
    for record in (version(70013), VerAck()):
        core = Tried().shaken()
        assert logged(core.arrive(record)) == [f"ignoring duplicate {record.command} message"]
        strict = Tried(policy=Policy.STRICT).shaken()
        effects = strict.arrive(record)
        [reject] = written(effects)
        assert isinstance(reject, Reject)
        assert reject.code == RejectCode.DUPLICATE
        assert strict.closed == f"duplicate {record.command} message"


def test_an_offer_after_the_handshake_ends_the_connection():
    """As with Bitcoin Core."""
    core = Tried(protocol_version=70016).shaken(70016)
    core.arrive(WtxidRelay())
    assert core.closed == "wtxidrelay after verack"
    assert core.cause is EndCause.PROTOCOL


def test_an_unknown_command_is_read_and_ignored_or_rejected():
    """A strict peer does not know commands that lbcd does not."""
    zebra = frame(MAINNET.magic, "zebra", b"")
    core = Tried().shaken()
    [read, log] = core.arrive(zebra)
    assert isinstance(read, Read)
    assert isinstance(read.message, Message)
    assert (read.size, read.error) == (24, "unknown command 'zebra'")
    assert log == Log("debug", "ignoring unknown command 'zebra'")
    for raw in (zebra, frame(MAINNET.magic, "cmpctblock", b"")):
        strict = Tried(policy=Policy.STRICT).shaken()
        effects = strict.arrive(raw)
        assert [type(each) for each in written(effects)] == [Reject]
        assert strict.closed.startswith("can't read message from 10.0.0.1:9246: unknown command")


def test_a_malformed_message_is_ignored_or_rejected():
    """Bytes that are not a message end the connection under any policy."""
    bad = frame(MAINNET.magic, "ping", b"x")
    core = Tried().shaken()
    [read, log] = core.arrive(bad)
    assert isinstance(read, Read)
    assert read.error
    assert log == Log("debug", f"ignoring ping: {read.error}")
    for what, policy in ((bad, Policy.STRICT), (b"GET / HTTP/1.1\r\n" * 4, Policy.TOLERANT)):
        core = Tried(policy=policy).shaken()
        effects = core.arrive(what)
        [reject] = written(effects)
        assert isinstance(reject, Reject)
        assert reject.code == RejectCode.MALFORMED
        assert core.closed.startswith("can't read message from 10.0.0.1:9246: ")
        assert kinds(effects)[:3] == [Read, Log, Write]


@pytest.mark.parametrize(("number", "sent"), [(70001, 0), (70002, 1), (70015, 1), (70016, 0)])
def test_a_reject_is_sent_to_nodes_that_know_it(number: int, sent: int):
    """After everything that is queued."""
    core = Tried(protocol_version=number).shaken(number)
    core.queue(Ping(1), 0)
    effects = core.arrive(b"GET / HTTP/1.1\r\n" * 4)
    assert [type(each) for each in written(effects)] == [Ping, Reject] * sent
    assert core.closed


def local(**fields: Any) -> Tried:
    """Return a strict core of regtest whose node is on this machine."""
    return Tried(
        network=REGTEST, policy=Policy.STRICT, remote=Endpoint("127.0.0.1", 9246), **fields
    )


def test_a_local_node_of_regtest_is_forgiven_after_the_handshake():
    """Except for a message that is cut short (M3)."""
    core = local().shaken()
    effects = core.arrive(b"GET / HTTP/1.1\r\n" * 4, core.encode(Ping(1)))
    assert not core.closed
    assert any(text.startswith("allowed test error: ") for text in logged(effects))
    checksum = bytearray(core.encode(Ping(1)))
    checksum[20] ^= 1
    core.arrive(bytes(checksum))
    checksum = bytearray(frame(REGTEST.magic, "ping", bytes(3)))
    checksum[20] ^= 1
    core.arrive(bytes(checksum))  # it is not even looked at whether that is cut short
    assert not core.closed
    core.arrive(frame(REGTEST.magic, "ping", bytes(3)))
    assert core.closed
    early = local()
    early.arrive(b"GET / HTTP/1.1\r\n" * 4)
    assert early.closed


def test_a_frame_of_the_handshake_is_small_and_a_later_one_is_not():
    """64 KiB may be held before the node is known."""
    big = frame(MAINNET.magic, "tx", bytes(100_000))[:65_537]
    core = Tried()
    core.arrive(big)
    assert "a frame of more than 65536 bytes in the handshake" in core.closed
    ready = Tried().shaken()
    ready.arrive(big)
    assert not ready.closed


# Requests of the user.


def test_a_queued_message_is_sent_after_the_handshake():
    """A frame as it is, too; in the order in which they were queued."""
    core = Tried()
    assert core.queue(Ping(1), 0, ticket=3) == []
    assert core.queue_raw("tx", b"raw") == []
    assert core.flush(0) == []
    core.shaken()
    assert core.flush(0) == [Write(encoded(Ping(1)), Ping(1)), Resolve(3, True)]
    assert core.flush(0) == [Write(b"raw", RawFrame("tx"))]


def test_more_than_may_wait_ends_the_connection():
    """Records and raw frames alike: each counts its bytes and 450 more."""
    for queue in ("record", "raw"):
        core = Tried(most_queued=2 * (32 + 450)).shaken()

        def put(core: PeerCore = core, queue: str = queue) -> list[Effect]:
            if queue == "record":
                return core.queue(Ping(1), 0)
            return core.queue_raw("ping", bytes(32))

        assert put() == []
        assert put() == []
        effects = put()
        assert core.closed == "3 messages of 96 bytes wait to be sent"
        assert core.cause is EndCause.LIMIT
        assert effects[-1] == Disconnect()


def test_a_block_is_announced_at_once_and_a_transaction_with_the_next_batch():
    """What is announced is known from then on."""
    core = Tried().shaken()
    assert core.queue_inventory(TX, 0) == []
    assert core.flush(0) == []
    assert core.queue_inventory(BLOCK, 0) == []
    assert written(core.flush(0)) == [Inv((BLOCK,))]
    core.tick(9.9)
    assert core.flush(9.9) == []
    core.tick(10)
    assert written(core.flush(10)) == [Inv((TX,))]
    core.queue_inventory(TX, 10)
    core.tick(20)
    assert core.flush(20) == []


def test_after_the_end_nothing_is_done():
    """A ticket is resolved: the message was not sent."""
    core = Tried().shaken()
    core.queue(Ping(1), 0, ticket=1)
    core.queue_inventory(TX, 0)
    core.feed(core.encode(Ping(1)))
    assert core.close("", EndCause.STOPPED) == [
        Log("trace", "disconnecting: "),
        Resolve(1, False),
        Disconnect(),
    ]
    assert (core.closed, core.cause) == ("no reason given", EndCause.STOPPED)
    assert (core.ready, core.pending, core.deadline, len(core.inventory)) == (False, False, None, 0)
    assert core.receiver.buffered_bytes == 0
    assert core.close("again", EndCause.LIMIT) == []
    assert core.cause is EndCause.STOPPED
    assert core.queue(Ping(1), 0, ticket=2) == [Resolve(2, False)]
    assert core.queue(Ping(1), 0) == []
    assert core.queue_raw("tx", b"raw") == []
    assert core.queue_inventory(BLOCK, 0) == []
    assert len(core.sender.outbox) == 0
    assert core.flush(0) == []
    assert core.tick(1000) == []
    assert Tried().shaken().close("why")[0] == Log("trace", "disconnecting: why")


# Time.


def test_the_handshake_has_30_seconds():
    """More if the process was stopped and something has arrived."""
    core = Tried()
    assert core.tick(29.9) == []
    assert core.tick(30, late=True) == []
    assert core.deadline == 60
    effects = core.tick(60)
    assert logged(effects)[0] == "cannot start peer: protocol negotiation timeout"
    assert core.closed == "protocol negotiation timeout"
    assert core.cause is EndCause.TIMEOUT
    ready = Tried().shaken()
    before = ready.liveness.timers.next
    ready.tick(1, late=True)
    assert ready.liveness.timers.next == before


def deadlines(core: PeerCore) -> dict[str, float]:
    """Return all deadlines of a core."""
    return dict(core.liveness.timers._deadlines)


def test_a_ready_peer_pings_announces_and_checks():
    """Each at its own interval."""
    core = Tried().shaken()
    assert deadlines(core) == {"idle": 300, "ping": 120, "trickle": 10, "stall": 15}
    core.tick(10)
    core.tick(15)
    assert deadlines(core) == {"idle": 300, "ping": 120, "trickle": 20, "stall": 30}
    core.tick(120)
    assert deadlines(core) == {"idle": 300, "ping": 240, "trickle": 130, "stall": 135}
    [ping] = written(core.flush(120))
    assert isinstance(ping, Ping)
    assert ping.nonce
    quiet = Tried(keepalive=False, trickle_interval=3.0).shaken()
    assert deadlines(quiet) == {"idle": 300, "trickle": 3, "stall": 15}
    quiet.tick(3)
    assert deadlines(quiet)["trickle"] == 6


def test_every_message_is_a_sign_of_life_even_one_that_is_ignored():
    """A malformed or unknown one that ends nothing too."""
    for what in (
        Ping(1),
        VerAck(),
        frame(MAINNET.magic, "zebra", b""),
        frame(MAINNET.magic, "ping", b"x"),
    ):
        core = Tried().shaken()
        core.now = 100
        core.arrive(what)
        assert deadlines(core)["idle"] == 400


def test_a_silent_node_is_disconnected():
    """After 300 seconds; what else is due then is not done."""
    core = Tried().shaken()
    for name in ("ping", "trickle", "stall"):
        core.liveness.timers.set(name, 300.5)
    effects = core.tick(301)
    assert effects[0] == Log("warn", "no answer for 300 s -- disconnecting")
    assert (core.closed, core.cause) == ("no answer for 300 s", EndCause.TIMEOUT)
    assert kinds(effects) == [Log, Log, Disconnect]
    assert deadlines(core) == {}


def test_a_node_that_does_not_read_is_disconnected():
    """20 seconds after the transport was full."""
    core = Tried().shaken()
    core.sender.filled(0)
    core.tick(20)
    assert core.closed == "the node does not read what is sent to it"
    assert core.cause is EndCause.TIMEOUT


REQUEST = GetHeaders(70013, (bytes(32),), bytes(32))


@pytest.mark.parametrize("mode", StallMode)
def test_a_node_that_owes_an_answer(mode: StallMode):
    """It is disconnected, or named, or nothing is done."""
    core = Tried(stall=mode).shaken()
    core.queue(REQUEST, 0)
    core.flush(0)
    for name in ("ping", "trickle"):
        core.liveness.timers.cancel(name)
    assert core.tick(89) == []
    assert deadlines(core)["stall"] == 104
    effects = core.tick(104)
    words = "appears to be stalled or misbehaving, headers timeout"
    assert (
        logged(effects)[:1]
        == {
            StallMode.ENFORCE: [f"{words} -- disconnecting"],
            StallMode.LOG: [words],
            StallMode.OFF: [],
        }[mode]
    )
    assert core.closed == (words if mode is StallMode.ENFORCE else "")
    assert core.cause is (EndCause.TIMEOUT if mode is StallMode.ENFORCE else None)
    answered = Tried().shaken()
    answered.queue(REQUEST, 0)
    answered.flush(0)
    answered.arrive(frame(MAINNET.magic, "headers", b"\0"))
    for name in ("ping", "trickle"):
        answered.liveness.timers.cancel(name)
    assert answered.tick(104) == []


def test_a_config_can_be_replaced_before_there_is_a_version():
    """What is negotiated depends on both."""
    core = Tried(opened=False)
    other = PeerConfig(network=MAINNET, services=9)
    core.configure(other)
    assert core.config is other
    assert core.protocol_version == CONFIG.highest_version
