"""The rules of the handshake alone: what is answered, what is sent, and at which versions."""

import secrets
from typing import Any

import msgspec
import pytest

from lbcproxy.endpoint import Endpoint
from lbcproxy.peer import PeerConfig, Policy
from lbcproxy.peer.handshake import (
    MIN_VERSION,
    Handshake,
    Phase,
    Response,
    make_version,
    min_version,
)
from lbcproxy.wire.messages.compact_blocks import SendCmpct
from lbcproxy.wire.messages.handshake import NetAddress, SendAddrV2, VerAck, WtxidRelay
from lbcproxy.wire.messages.reject import Reject, RejectCode
from lbcproxy.wire.record import MessageRecord
from tests.peer.builders import CONFIG, MAINNET, NOW

LBCD_UNKNOWN = ["addrv2", "wtxidrelay", "sendtxrcncl", "sendcmpct", "cmpctblock", "getblocktxn"]
WITNESS = 1 << 3


def handshake(*, strict: bool = False, inbound: bool = True, **fields: Any) -> Handshake:
    """Return one side of a handshake."""
    policy = Policy.STRICT if strict else Policy.TOLERANT
    return Handshake(msgspec.structs.replace(CONFIG, policy=policy, **fields), inbound=inbound)


def awaiting_verack(agreed: int = 70016, **options: Any) -> Handshake:
    """Return a handshake after both sides have sent `version`."""
    some = handshake(**options)
    some.version_accepted(agreed)
    return some


def refused(command: str, reason: str) -> Response:
    """Return the response of a strict peer."""
    reject = Reject(command.encode(), RejectCode.MALFORMED, reason.encode())
    return Response((reject,), failed=reason)


def test_a_new_handshake_has_agreed_on_nothing():
    """Nothing is sent yet."""
    some = handshake()
    assert some.phase is Phase.AWAIT_VERSION
    assert (some.verack_sent, some.wants_addrv2, some.wants_wtxids) == (False, False, False)
    assert some.verack() == ()
    assert not some.may_offer("sendaddrv2")
    assert MIN_VERSION == 209
    assert Response() == Response((), "", "")


def test_what_comes_before_the_version():
    """A strict peer refuses it."""
    assert handshake().refusal("version") is None
    assert handshake(strict=True).refusal("version") is None
    assert handshake().refusal("verack") == Response(ignored="verack before version")
    words = "a version message must precede all others"
    assert handshake(strict=True).refusal("verack") == refused("version", words)


def test_what_comes_between_version_and_verack():
    """Offers are accepted by a tolerant peer, others ignored."""
    some = awaiting_verack()
    assert some.refusal("verack") is None
    assert some.refusal("ping") == Response(ignored="ping before verack")
    for command in ("wtxidrelay", "sendtxrcncl", "sendcmpct", "sendheaders", "feature"):
        assert some.refusal(command) is None
    assert (some.wants_addrv2, some.wants_wtxids) == (False, True)
    assert some.refusal("sendaddrv2") is None
    assert (some.wants_addrv2, some.wants_wtxids) == (True, True)
    strict = awaiting_verack(strict=True)
    words = "a verack message must follow version"
    assert strict.refusal("sendaddrv2") == refused("verack", words)
    assert strict.refusal("verack") is None
    assert not strict.wants_addrv2


def test_addrv2_is_not_wanted_at_a_version_that_does_not_have_it():
    """It came with 70016."""
    some = awaiting_verack(70015)
    assert some.refusal("sendaddrv2") is None
    assert (some.wants_addrv2, some.wants_wtxids) == (False, False)


def test_after_the_handshake_nothing_is_refused_here():
    """But offers are too late for a tolerant peer."""
    some, strict = awaiting_verack(), awaiting_verack(strict=True)
    for each in (some, strict):
        each.verack_accepted()
        assert each.phase is Phase.DONE
        assert each.refusal("ping") is None
        assert each.refusal("version") is None
    assert [some.is_too_late(each) for each in ("sendaddrv2", "wtxidrelay", "feature")] == [
        True,
        True,
        False,
    ]
    assert not strict.is_too_late("sendaddrv2")


def test_what_cannot_be_read():
    """Only a `version` ends the connection to a tolerant peer."""
    assert handshake().unreadable("version", "e") == Response(failed="e")
    assert handshake().unreadable("ping", "e") == Response(ignored="e")
    assert handshake(strict=True).unreadable("ping", "e") == Response(failed="e")


def test_what_a_strict_peer_knows_and_how_it_reads():
    """As lbcd: it believes the service bit."""
    some, strict = handshake(), handshake(strict=True)
    assert all(some.knows(each) for each in (*LBCD_UNKNOWN, "ping"))
    assert not any(strict.knows(each) for each in LBCD_UNKNOWN)
    assert strict.knows("ping")
    assert (some.encoding(0), some.encoding(WITNESS)) == ("auto", "auto")
    assert (strict.encoding(0), strict.encoding(WITNESS | 1)) == ("base", "witness")


@pytest.mark.parametrize(
    ("agreed", "inbound", "strict", "hold", "sent"),
    [
        (70016, True, False, False, [SendAddrV2(), VerAck()]),
        (70015, True, False, False, [VerAck()]),
        (70016, False, False, False, [SendAddrV2(), VerAck()]),
        (70016, True, True, False, [VerAck()]),
        (70016, False, True, False, []),
        (70016, True, False, True, [SendAddrV2()]),
        (70016, False, True, True, []),
        (70016, True, True, True, []),
    ],
)
def test_what_is_sent_after_the_version(
    agreed: int, inbound: bool, strict: bool, hold: bool, sent: list[MessageRecord]
):
    """Offers, and our `verack` unless it is held. It is sent once, and before the end."""
    some = handshake(strict=strict, inbound=inbound, hold_verack=hold)
    assert some.version_accepted(agreed) == Response(tuple(sent))
    assert some.phase is Phase.AWAIT_VERACK
    was_sent = VerAck() in sent
    assert some.verack_sent is was_sent
    assert some.may_offer("sendaddrv2") is (not was_sent and agreed >= 70016)
    rest = () if was_sent else (VerAck(),)
    assert some.verack_accepted() == Response(rest)
    assert (some.phase, some.verack_sent, some.verack()) == (Phase.DONE, True, ())
    assert not some.may_offer("sendaddrv2")


def test_what_is_offered_can_be_chosen():
    """If the negotiated version has it."""
    offers = (WtxidRelay(), SendCmpct(False, 1))
    some = handshake(offers=offers, hold_verack=True)
    assert some.version_accepted(70016) == Response(offers)
    assert handshake(offers=offers, hold_verack=True).version_accepted(70013) == Response(
        offers[1:]
    )
    assert handshake(offers=(), hold_verack=True).version_accepted(70016) == Response()


@pytest.mark.parametrize(
    ("command", "since"),
    [
        ("feature", 70017),
        ("sendaddrv2", 70016),
        ("wtxidrelay", 70016),
        ("sendtxrcncl", 70016),
        ("sendheaders", 70012),
        ("sendcmpct", 0),
        ("zebra", 70016),
    ],
)
def test_the_lowest_version_of_an_offer(command: str, since: int):
    """That of the record, unless the offer is for the handshake alone."""
    assert min_version(command) == since
    some = awaiting_verack(since, hold_verack=True)
    assert some.may_offer(command)
    assert not awaiting_verack(since - 1, hold_verack=True).may_offer(command)


# Our own `version`.

MAPPED = bytes(10) + b"\xff\xff"


def made(host: str = "1.2.3.4", *, inbound: bool = True, at: int = 70013, **fields: Any) -> Any:
    """Return our `version` for a node."""
    config = PeerConfig(network=MAINNET, **{"services": 5, **fields})
    remote = Endpoint(host, 9246)
    return make_version(config, remote, inbound=inbound, protocol_version=at, wall=NOW + 0.9)


def test_our_version_says_what_we_are(monkeypatch: pytest.MonkeyPatch):
    """Its nonce has 64 random bits."""
    bits: list[int] = []
    monkeypatch.setattr(secrets, "randbits", lambda count: bits.append(count) or 42)
    ours = made(protocol_version=70002, user_agent=b"/x/", newest_block=lambda: (bytes(32), 77))
    assert (ours.version, ours.services, ours.timestamp, ours.nonce) == (70002, 5, int(NOW), 42)
    assert bits == [64]
    assert (ours.user_agent, ours.start_height, ours.relay) == (b"/x/", 77, True)
    assert ours.addr_from == NetAddress(5, bytes(16), 0)
    assert made().start_height == 0


@pytest.mark.parametrize(("at", "relay"), [(70000, None), (70001, False), (70013, False)])
def test_the_relay_byte_came_with_70001(at: int, relay: bool | None):
    """Before that the message ends earlier."""
    assert made(at=at, relay=False).relay is relay


@pytest.mark.parametrize(
    ("host", "packed"),
    [
        ("1.2.3.4", MAPPED + b"\1\2\3\4"),
        ("2001:db8::1", b"\x20\1\x0d\xb8" + bytes(11) + b"\1"),
        ("node.example", bytes(16)),
    ],
)
def test_the_address_of_the_node_is_in_16_bytes(host: str, packed: bytes):
    """With our services if it connected to us."""
    assert made(host).addr_recv == NetAddress(5, packed, 9246)
    assert made(host, inbound=False).addr_recv == NetAddress(0, packed, 9246)


def test_the_address_may_be_given_by_the_user():
    """For hosts that are no IP addresses."""

    def address(host: str, port: int, services: int) -> NetAddress:
        assert (host, port) == ("node.onion", 9246)
        return NetAddress(services, bytes(15) + b"\7", 1)

    ours = made("node.onion", host_to_address=address)
    assert ours.addr_recv == NetAddress(5, bytes(15) + b"\7", 1)


@pytest.mark.parametrize(
    ("proxy", "hidden"),
    [
        ("", False),
        ("1.2.3.4:9050", True),
        ("1.2.3.4", True),
        ("socks", True),
        ("9.9.9.9:9050", False),
    ],
)
def test_the_address_of_a_proxy_is_not_shown(proxy: str, hidden: bool):
    """One without a port is taken to be that of the connection."""
    packed, port = (bytes(4), 0) if hidden else (b"\1\2\3\4", 9246)
    assert made(proxy=proxy).addr_recv == NetAddress(5, MAPPED + packed, port)
