"""Tests of `version`: what we send, and what a node's means (docs/peer-lbcd.md B21, F, H, I)."""

from typing import Any

import msgspec
import pytest

from lbcproxy import __version__
from lbcproxy.peer import PeerConfig, Policy
from lbcproxy.wire.envelope import frame
from lbcproxy.wire.messages.handshake import NetAddress, VerAck, Version
from lbcproxy.wire.messages.keepalive import FeeFilter, MemPool, Ping, SendHeaders
from lbcproxy.wire.messages.reject import Reject, RejectCode
from tests.peer.builders import CONFIG, NOW, Callbacks, Wired, connect, encoded, version

STRICT, TOLERANT = Policy.STRICT, Policy.TOLERANT
BOTH = pytest.mark.parametrize("policy", [STRICT, TOLERANT], ids=lambda policy: policy.value)
EITHER_WAY = pytest.mark.parametrize("inbound", [True, False], ids=["inbound", "outbound"])
MAGIC = CONFIG.network.magic
OLDEST = 209
HIGHEST = {Policy.STRICT: 70013, Policy.TOLERANT: 70016}
"""lbcd v0.22.119 speaks the former, Core, btcd and the newer line of lbcd the latter."""


def ours(config: PeerConfig = CONFIG, **options: Any) -> Version:
    """The version that a peer sends."""
    wired = connect(config, **{"inbound": False, **options})
    if not wired.bytes_sent:
        wired.feed(version())
    sent = wired.sent[0]
    assert isinstance(sent, Version)
    return sent


def changed(**changes: Any) -> PeerConfig:
    """The config with changes."""
    return msgspec.structs.replace(CONFIG, **changes)


# What a node's version means.

VERSIONS = [0, 1, 100, 208, 209, 31402, 60000, 60001, 60002, 70000, 70001, 70002, 70011]
VERSIONS += [70012, 70013, 70016, 80000, 2**31 - 1, -1, -(2**31)]


@BOTH
@EITHER_WAY
@pytest.mark.parametrize("number", VERSIONS)
def test_the_lower_version_is_agreed_on(number: int, inbound: bool, policy: Policy):
    """Below 209 nobody is spoken to, and neither is a negative number: not one byte (B5, B6)."""
    wired = connect(policy=policy, inbound=inbound)
    before = wired.bytes_sent
    wired.feed(version(number), VerAck())
    assert wired.closed is (number < OLDEST)
    assert wired.peer.is_ready is (number >= OLDEST)
    seen = wired.peer.snapshot()
    if number >= OLDEST:
        agreed = min(number, HIGHEST[policy])
        assert seen.protocol_version == wired.peer.core.protocol_version == agreed
        offered = ["sendaddrv2"] * (agreed == 70016)
        assert wired.commands == ["version", *offered, "verack"]
    else:
        assert wired.bytes_sent == before
    assert seen.version == (None if number < 0 else number)
    assert (seen.id > 0) is (number >= 0)
    assert len(wired.callbacks.of("on_version")) == int(number >= 0)


@BOTH
@pytest.mark.parametrize("configured", [None, 0])
def test_the_highest_version_is_that_of_the_policy(configured: int | None, policy: Policy):
    """Nobody has to know the number of lbcd's last version."""
    config = changed(protocol_version=configured, policy=policy)
    wired = connect(config, inbound=False)
    assert wired.peer.core.protocol_version == HIGHEST[policy]
    assert ours(config).version == HIGHEST[policy]


@pytest.mark.parametrize(
    ("since", "record", "raw"),
    [
        (60002, MemPool(), None),
        (70012, SendHeaders(), None),
        (70013, FeeFilter(1), None),
        (70001, None, frame(MAGIC, "filterclear", b"")),
        (70002, None, encoded(Reject(b"x", 1, b"y"))),
        (60001, None, frame(MAGIC, "pong", bytes(8))),
    ],
    ids=["mempool", "sendheaders", "feefilter", "filterclear", "reject", "pong"],
)
def test_a_command_is_malformed_below_its_version(since: int, record: Any, raw: bytes | None):
    """The negotiated version decides what may be sent; above it is accepted."""
    raw = encoded(record) if raw is None else raw
    config = changed(services=1 << 2)
    for policy in Policy:
        if policy is not Policy.TRANSPARENT:
            before = connect(config, policy=policy).shake_hands(since - 1).feed(raw)
            assert before.closed is (policy is Policy.STRICT)
            [(_, _, error)] = before.callbacks.of("on_read")
            assert error is not None
            assert not connect(config, policy=policy).shake_hands(since).feed(raw).closed


def test_a_ping_has_no_nonce_at_version_60000():
    """What is written follows what was agreed on, not what we speak at most."""
    wired = connect().shake_hands(60000)
    wired.pass_time(120)
    assert wired.sent == [Ping()]
    assert not wired.feed(frame(MAGIC, "ping", b"")).closed
    assert wired.sent == [Ping()]


# Short versions.

FIELDS = ["addr_from", "nonce", "user_agent", "start_height", "relay"]


@BOTH
@pytest.mark.parametrize("last", range(len(FIELDS) + 1), ids=["addr_recv", *FIELDS])
def test_a_version_may_end_after_any_optional_field(last: int, policy: Policy):
    """Old nodes end there; what is missing is unknown, and the handshake continues (B26)."""
    missing: dict[str, Any] = dict.fromkeys(FIELDS[last:])
    wired = connect(policy=policy).feed(version(**missing), VerAck())
    assert wired.peer.is_ready
    seen = wired.peer.snapshot()
    assert seen.user_agent == (b"/node:1.0/" if last >= 3 else None)
    assert seen.starting_height == (100 if last >= 4 else None)
    ((record,),) = wired.callbacks.of("on_version")
    assert record.relay is (True if last == 5 else None)
    wired.peer.update_last_block(7)
    assert wired.peer.snapshot().last_block == (100 if last >= 4 else 7)


@pytest.mark.parametrize("size", [0, 45, 47, 71, 73, 79, 90])
def test_a_version_cut_inside_a_field_is_malformed(size: int):
    """It ends without a word, as everything unreadable in the handshake."""
    payload = encoded(version())[24:]
    wired = connect().feed(frame(MAGIC, "version", payload[:size]))
    assert wired.closed
    assert wired.bytes_sent == b""


@pytest.mark.parametrize(("length", "taken"), [(0, True), (256, True), (257, False)])
def test_a_user_agent_has_at_most_256_bytes(length: int, taken: bool):
    """One byte more is malformed."""
    payload = encoded(version(user_agent=b"", start_height=None, relay=None))[24:-1]
    prefix = bytes([length]) if length < 253 else b"\xfd" + length.to_bytes(2, "little")
    wired = connect().feed(frame(MAGIC, "version", payload + prefix + b"a" * length))
    assert wired.closed is not taken
    assert wired.peer.snapshot().user_agent == (b"a" * length if taken else None)


@pytest.mark.parametrize(("byte", "relay"), [(0, False), (1, True), (2, True), (255, True)])
def test_any_relay_byte_but_zero_is_a_yes(byte: int, relay: bool):
    """As Go and C read a bool."""
    payload = encoded(version())[24:-1] + bytes([byte])
    wired = connect().feed(frame(MAGIC, "version", payload))
    ((record,),) = wired.callbacks.of("on_version")
    assert record.relay is relay


def test_bytes_after_the_relay_byte_are_taken():
    """A later protocol may add fields; up to the cap of `version` they are passed over."""
    payload = encoded(version())[24:] + bytes(8)
    wired = connect().feed(frame(MAGIC, "version", payload), VerAck())
    assert wired.peer.is_ready


# What is learned.


@pytest.mark.parametrize("offset", [-3600, 0, 7])
def test_the_time_offset_is_the_nodes_clock_less_ours(offset: int):
    """Negative is behind; the fraction of our own second does not count."""
    wired = connect(wall=lambda: NOW + 0.9).feed(version(timestamp=int(NOW) + offset))
    assert wired.peer.snapshot().time_offset == offset


def test_the_last_block_never_falls():
    """It starts as what the node claims, and its user raises it (A5)."""
    wired = connect().shake_hands(start_height=100)
    assert wired.peer.snapshot().starting_height == 100
    for height, last in ((99, 100), (100, 100), (101, 101), (50, 101)):
        wired.peer.update_last_block(height)
        assert wired.peer.snapshot().last_block == last
    assert wired.peer.snapshot().starting_height == 100


def test_the_last_announced_block_is_kept_as_given():
    """It may be reset to None."""
    wired = connect().shake_hands()
    assert wired.peer.core.remote.last_announced is None
    for block in (b"a" * 32, b"b" * 32, None):
        wired.peer.update_last_announced(block)
        assert wired.peer.core.remote.last_announced == block


def test_ids_are_counted_where_a_version_was_taken():
    """A refused node has one too; ourselves and negative versions do not (A6)."""
    first = connect().shake_hands().peer.core.remote.id
    refusal = Reject(b"version", RejectCode.NONSTANDARD, b"no")
    refused = connect(callbacks=Callbacks(on_version=lambda *_: refusal)).feed(version())
    negative = connect().feed(version(-1))
    obsolete = connect().feed(version(1))
    last = connect().shake_hands()
    assert connect().peer.core.remote.id == 0
    seen = [each.peer.core.remote.id for each in (refused, negative, obsolete, last)]
    assert seen == [first + 1, 0, first + 2, first + 3]


def test_services_are_unknown_before_the_version():
    """It is not our own until then, as in lbcd; None cannot be mistaken."""
    wired = connect(changed(services=13))
    assert wired.peer.snapshot().services is None
    wired.feed(version(services=77))
    assert wired.peer.snapshot().services == 77


def test_a_node_without_services_is_not_a_reason_to_end():
    """That is for `on_version` to decide (H4)."""
    assert connect().feed(version(services=0), VerAck()).peer.is_ready


# What ours says.


def test_our_version_says_what_is_configured():
    """Every field, and of our own address nothing."""
    config = changed(services=77, relay=False, newest_block=lambda: (bytes(32), 1_234_567))
    said = ours(config, wall=lambda: NOW + 0.9)
    assert said == Version(
        version=HIGHEST[Policy.TOLERANT],
        services=77,
        timestamp=int(NOW),
        addr_recv=NetAddress(0, bytes(10) + b"\xff\xff\x0a\0\0\x01", 9246),
        addr_from=NetAddress(77, bytes(16), 0),
        nonce=said.nonce,
        user_agent=f"/lbcproxy:{__version__}/test:1/".encode(),
        start_height=1_234_567,
        relay=False,
    )


@EITHER_WAY
@pytest.mark.parametrize("number", [209, 60000, 70002])
def test_our_version_shows_the_highest_we_speak(number: int, inbound: bool):
    """Not what was agreed on (B21)."""
    wired = connect(inbound=inbound).feed(version(number))
    said = wired.sent[0]
    assert isinstance(said, Version)
    assert said.version == HIGHEST[Policy.TOLERANT]


@pytest.mark.parametrize(
    ("name", "number", "comments", "agent"),
    [
        ("", "", (), "/lbcproxy:V/"),
        ("peer", "1.0", (), "/lbcproxy:V/peer:1.0/"),
        ("peer", "1.0", ("one",), "/lbcproxy:V/peer:1.0(one)/"),
        ("peer", "1.0", ("one", "two"), "/lbcproxy:V/peer:1.0(one; two)/"),
        ("peer", "1.0", ("x" * 300,), "/lbcproxy:V/"),
        ("a/b", "(1)", (":",), "/lbcproxy:V/a/b:(1)(:)/"),
    ],
)
def test_the_user_agent_follows_bip14(
    name: str, number: str, comments: tuple[str, ...], agent: str
):
    """Ours first, as lbcd has btcwire's; one that is too long is ours alone."""
    config = changed(user_agent_name=name, user_agent_version=number, user_agent_comments=comments)
    assert ours(config).user_agent == agent.replace("V", __version__).encode()


@pytest.mark.parametrize(("length", "kept"), [(256, True), (257, False)])
def test_a_user_agent_of_256_bytes_is_sent(length: int, kept: bool):
    """The limit is of the whole."""
    begin = len(f"/lbcproxy:{__version__}/")
    config = changed(user_agent_name="a", user_agent_version="b" * (length - begin - 3))
    assert len(ours(config).user_agent or b"") == (length if kept else begin)


def test_a_whole_user_agent_can_be_given():
    """To look like another node."""
    assert ours(changed(user_agent=b"/LBRY:0.17/")).user_agent == b"/LBRY:0.17/"


@pytest.mark.parametrize(("number", "relay"), [(70000, None), (70001, True), (60000, None)])
def test_the_relay_byte_is_there_if_the_version_in_use_has_it(number: int, relay: bool | None):
    """An outbound peer goes by its own version, an inbound one by what was agreed on (B23)."""
    assert ours(changed(protocol_version=number)).relay is relay
    wired = connect().feed(version(number))
    said = wired.sent[0]
    assert isinstance(said, Version)
    assert said.relay is relay
    outbound = connect(inbound=False).feed(version(number)).sent[0]
    assert isinstance(outbound, Version)
    assert outbound.relay is True


def test_the_relay_byte_costs_one_byte():
    """A node of version 60000 gets 104 bytes for what is 105 to a newer one, as from lbcd."""
    config = changed(user_agent=b"/btcwire:0.5.0/p:1/")
    sizes = [
        len(connect(config).feed(version(number)).read().wire.got) for number in (60000, 70013)
    ]
    assert sizes == [24 + 104 + 24, 24 + 105 + 24]


@pytest.mark.parametrize(("inbound", "services"), [(True, 77), (False, 0)])
def test_the_nodes_address_has_our_services_if_it_came_to_us(inbound: bool, services: int):
    """As lbcd writes it (B24)."""
    said = ours(changed(services=77), inbound=inbound)
    assert said.addr_recv.services == services


@pytest.mark.parametrize(
    ("host", "packed"),
    [
        ("1.2.3.4", bytes(10) + b"\xff\xff\x01\x02\x03\x04"),
        ("2001:db8::1", bytes.fromhex("20010db8000000000000000000000001")),
    ],
)
def test_the_nodes_address_is_written_into_our_version(host: str, packed: bytes):
    """IPv4 in its mapped form."""
    said = ours(host=host, port=1234)
    assert (said.addr_recv.ip, said.addr_recv.port) == (packed, 1234)


def test_a_given_address_is_shown_in_place_of_the_transports():
    """Behind a proxy the transport knows the proxy alone; a name cannot be shown and is not."""
    said = ours(address="[2001:db8::1]:77")
    assert (said.addr_recv.ip[:2], said.addr_recv.port) == (b"\x20\x01", 77)
    said = ours(address="node.example:77")
    assert (said.addr_recv.ip, said.addr_recv.port) == (bytes(16), 77)


def test_a_name_may_be_looked_up_by_the_user():
    """`host_to_address` is asked, so that the peer needs no DNS."""
    asked: list[Any] = []

    def find(*question: Any) -> NetAddress:
        asked.append(question)
        return NetAddress(5, b"\1" * 16, 6)

    said = ours(changed(host_to_address=find), address="node.example:77")
    assert said.addr_recv == NetAddress(5, b"\1" * 16, 6)
    assert asked == [("node.example", 77, 0)]


@pytest.mark.parametrize(
    ("proxy", "hidden"),
    [("10.0.0.1:9050", True), ("10.0.0.9:9050", False), ("10.0.0.9", True), ("", False)],
)
def test_the_proxys_address_is_not_shown(proxy: str, hidden: bool):
    """Neither that of one which cannot be distinguished, having no port (B25)."""
    said = ours(changed(proxy=proxy, services=7), inbound=True)
    shown = (said.addr_recv.ip[-4:], said.addr_recv.port)
    assert shown == ((bytes(4), 0) if hidden else (b"\x0a\0\0\x01", 9246))
    assert said.addr_recv.services == 7


def test_a_config_cannot_be_changed():
    """What a peer was made with is what it is (D1)."""
    with pytest.raises(AttributeError):
        CONFIG.services = 1  # type: ignore[misc]


@pytest.mark.parametrize("interval", [0.0, -1.0])
def test_an_interval_that_is_not_positive_is_the_default(interval: float):
    """D2."""
    assert changed(trickle_interval=interval).trickle == 10.0


def test_a_network_must_be_chosen():
    """By default lbcd takes a test network, which nobody meant."""
    with pytest.raises(TypeError):
        PeerConfig()  # type: ignore[call-arg]


# Encodings.


@pytest.mark.parametrize(
    ("policy", "services", "encoding"),
    [
        (STRICT, 8, "witness"),
        (STRICT, 1, "base"),
        (TOLERANT, 8, "auto"),
        (TOLERANT, 1, "auto"),
    ],
)
def test_what_is_read_with_witnesses(policy: Policy, services: int, encoding: str):
    """A strict peer believes the service bit, as lbcd; a tolerant one the bytes (A7, H3)."""
    seen: list[str] = []
    callbacks = Callbacks(on_message=lambda peer, message: seen.append(message.codec.encoding))
    wired: Wired = connect(policy=policy, callbacks=callbacks)
    wired.feed(version(services=services), VerAck(), Ping(1))
    assert seen == ["witness", encoding, encoding]
