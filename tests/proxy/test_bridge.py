"""Tests of the bridge: what a message of one leg looks like on another that agreed on less."""

from typing import Any

import msgspec
import pytest

from lbcproxy.peer import Peer
from lbcproxy.proxy.bridge import bridge
from lbcproxy.session import Direction, Message
from lbcproxy.wire import Codec
from lbcproxy.wire.envelope import frame
from lbcproxy.wire.messages.addresses import Addr, AddressV2, AddrV2, TimedAddress
from lbcproxy.wire.messages.blocks import Block
from lbcproxy.wire.messages.handshake import SendAddrV2, VerAck
from lbcproxy.wire.messages.headers import BlockHeader
from lbcproxy.wire.messages.inventory import Inv, InventoryVector
from lbcproxy.wire.messages.keepalive import Ping, Pong
from lbcproxy.wire.messages.transactions import Tx, TxIn, TxOut
from lbcproxy.wire.record import MessageRecord
from tests.peer.builders import BITCOIN, CONFIG, connect, version

NETWORK = BITCOIN
NODE, WITNESS = 1, 1 << 3
V4 = bytes(10) + b"\xff\xff" + bytes((10, 0, 0, 1))
V6 = bytes.fromhex("20010db8000000000000000000000001")


def leg(number: int = 70016, services: int = NODE | WITNESS, *, addrv2: bool = False) -> Peer:
    """One of the two peers of a session, its handshake done with a node that says this."""
    config = msgspec.structs.replace(CONFIG, network=NETWORK)
    wired = connect(config)
    wishes = [SendAddrV2()] if addrv2 else []
    wired.feed(version(number, services=services), *wishes, VerAck())
    assert wired.peer.is_ready
    assert wired.peer.core.protocol_version == min(number, NETWORK.protocol_version)
    return wired.peer


def came(source: Peer, record: MessageRecord, *, encoding: str = "witness") -> Message:
    """A message as it is read from a leg."""
    at = source.core.protocol_version
    raw = frame(NETWORK.magic, record.command, Codec(NETWORK, at, encoding).encode(record))
    return came_raw(source, record.command, raw)


def came_raw(source: Peer, command: str, raw: bytes) -> Message:
    """The same of a frame."""
    codec = Codec(NETWORK, source.core.protocol_version, "auto")
    return Message(command, Direction.TO_UPSTREAM, raw, codec)


def read(raw: bytes, at: int, encoding: str = "witness") -> Any:
    """The record of a frame that went out, read as its target does."""
    command = raw[4:16].rstrip(b"\0").decode()
    return Codec(NETWORK, at, encoding).decode(command, raw[24:])


def transaction(*witness: bytes) -> Tx:
    """A transaction with one input; without any argument it has no witness."""
    spent = TxIn(
        prev_hash=bytes(range(32)),
        prev_index=1,
        script_sig=b"\x51",
        sequence=7,
        witness=tuple(witness),
    )
    return Tx(
        version=2, inputs=(spent,), outputs=(TxOut(value=5, script_pubkey=b"\x6a"),), lock_time=9
    )


def block(*transactions: Tx) -> Block:
    """A block; its header means nothing."""
    header = BlockHeader(
        version=1,
        prev_block=bytes(32),
        merkle_root=bytes(32),
        claim_trie=None,
        timestamp=1,
        bits=2,
        nonce=3,
    )
    return Block(header=header, transactions=transactions)


def old_address() -> TimedAddress:
    return TimedAddress(timestamp=1_700_000_000, services=1, ip=V4, port=8333)


# Nothing to do.


@pytest.mark.parametrize(
    "record",
    [Ping(nonce=5), Inv((InventoryVector(1, bytes(32)),)), transaction(b"signature")],
    ids=lambda record: record.command,
)
def test_what_both_agreed_on_passes_as_the_very_bytes(record: MessageRecord):
    """A message that need not be encoded again is not even copied."""
    source = leg()
    message = came(source, record)
    bridged = bridge(message, source, leg())
    assert bridged.raw is message.raw
    assert (bridged.verdict, bridged.trail) == ("pass", ())


def test_extra_bytes_after_the_fields_of_a_message_pass_too():
    """Nodes ignore them; that they are there may be why somebody watches."""
    source = leg()
    raw = frame(NETWORK.magic, "ping", bytes(8) + b"more")
    assert bridge(came_raw(source, "ping", raw), source, leg()).raw == raw


def test_extra_bytes_survive_another_encoding():
    """They are the sender's words as well."""
    source = leg()
    payload = Codec(NETWORK, 70016).encode(Addr((old_address(),))) + b"more"
    message = came_raw(source, "addr", frame(NETWORK.magic, "addr", payload))
    bridged = bridge(message, source, leg(30000))
    assert bridged.verdict == "rewrite"
    assert read(bridged.raw, 30000).trailing == b"more"


@pytest.mark.parametrize("target", [70016, 60000, 209])
@pytest.mark.parametrize("command", ["sendpackages", "nobodyknows"])
def test_what_is_not_understood_passes(command: str, target: int):
    """Opaque commands and unknown ones: we cannot judge them, the node can."""
    source = leg()
    raw = frame(NETWORK.magic, command, b"\xff" * 40)
    bridged = bridge(came_raw(source, command, raw), source, leg(target, 0))
    assert bridged.raw is raw
    assert bridged.verdict == "pass"


def test_a_version_that_changes_nothing_leaves_the_bytes():
    """Most messages look the same at any version; encoding them again gives the same bytes."""
    source = leg()
    message = came(source, Inv((InventoryVector(2, bytes(32)),)))
    bridged = bridge(message, source, leg(70012))
    assert bridged.raw is message.raw
    assert (bridged.verdict, bridged.trail) == ("pass", ())


# Witnesses.


@pytest.mark.parametrize("number", [70016, 70013])
@pytest.mark.parametrize("kind", ["tx", "block"])
def test_a_node_without_witness_gets_none(kind: str, number: int):
    """It would misread the marker as "no inputs" (BIP144)."""
    source = leg()
    signed = transaction(b"signature", b"key")
    record = signed if kind == "tx" else block(transaction(), signed)
    message = came(source, record)
    bridged = bridge(message, source, leg(number, NODE))
    assert bridged.verdict == "rewrite"
    assert bridged.trail == ("terminate", "for a node without witness")
    got = read(bridged.raw, number, "base")
    assert got.trailing == b""
    transactions = (got,) if kind == "tx" else got.transactions
    assert not any(each.witness for one in transactions for each in one.inputs)
    wanted = (record,) if kind == "tx" else record.transactions
    assert [each.txid for each in transactions] == [each.txid for each in wanted]
    assert len(bridged.raw) < len(message.raw)


@pytest.mark.parametrize("services", [NODE, 0, NODE | WITNESS])
@pytest.mark.parametrize("record", [transaction(), block(transaction())], ids=["tx", "block"])
def test_what_has_no_witness_passes_to_anybody(record: MessageRecord, services: int):
    """Both encodings are the same bytes then."""
    source = leg(services=NODE)
    message = came(source, record, encoding="base")
    bridged = bridge(message, source, leg(services=services))
    assert bridged.raw is message.raw
    assert bridged.verdict == "pass"


def test_a_witness_passes_between_versions():
    """Another version is not a reason to lose it."""
    source = leg()
    message = came(source, transaction(b"signature"))
    bridged = bridge(message, source, leg(70013))
    assert bridged.raw is message.raw


def test_no_other_message_is_touched_for_want_of_witness():
    """The service bit only concerns transactions."""
    source = leg()
    message = came(source, Inv((InventoryVector(0x40000001, bytes(32)),)))
    assert bridge(message, source, leg(services=NODE)).raw is message.raw


# Versions.


def test_addresses_lose_their_times_for_an_old_node():
    """Below 31402 an `addr` is 4 bytes shorter an address."""
    source = leg()
    bridged = bridge(came(source, Addr((old_address(),))), source, leg(31401))
    assert (bridged.verdict, bridged.trail) == (
        "rewrite",
        ("terminate", "for another protocol version"),
    )
    [address] = read(bridged.raw, 31401).addresses
    assert (address.timestamp, address.ip, address.port) == (None, V4, 8333)
    assert len(bridged.raw) == 24 + 1 + 26


def test_a_ping_loses_its_nonce_for_an_old_node():
    """Up to 60000 a ping is empty (BIP31)."""
    source = leg()
    bridged = bridge(came(source, Ping(nonce=5)), source, leg(60000))
    assert bridged.verdict == "rewrite"
    assert bridged.raw[24:] == b""


@pytest.mark.parametrize(
    ("record", "at"),
    [
        (Addr((TimedAddress(timestamp=None, services=1, ip=V4, port=1),)), 31401),
        (Ping(), 60000),
    ],
    ids=["addr", "ping"],
)
def test_what_a_message_does_not_have_is_not_made_up(record: MessageRecord, at: int):
    """We do not make up a time or a nonce."""
    source = leg(at)
    bridged = bridge(came(source, record), source, leg())
    assert bridged.raw == b""
    assert bridged.verdict == "drop"
    assert bridged.trail[0] == "terminate"
    assert bridged.trail[1].startswith("cannot be sent for another protocol version: ")


def test_a_message_that_the_target_does_not_have_is_left_out():
    """A `pong` at 60000 would cost the node's good will; the reason says which version has it."""
    source = leg()
    bridged = bridge(came(source, Pong(5)), source, leg(60000))
    assert (bridged.raw, bridged.verdict) == (b"", "drop")
    assert "needs protocol version 60001, 60000 was agreed" in bridged.trail[1]


# addrv2.

MIXED = (
    AddressV2(timestamp=1, services=9, network_id=1, addr=bytes((10, 0, 0, 1)), port=8333),
    AddressV2(timestamp=2, services=1, network_id=4, addr=bytes(32), port=8334),
    AddressV2(timestamp=3, services=0, network_id=2, addr=V6, port=8335),
    AddressV2(timestamp=4, services=1, network_id=77, addr=b"what", port=8336),
)


def test_addrv2_is_forwarded_to_a_node_that_asked_for_it():
    """`sendaddrv2` said so."""
    source = leg()
    message = came(source, AddrV2(MIXED))
    assert bridge(message, source, leg(addrv2=True)).raw is message.raw


@pytest.mark.parametrize("number", [70016, 70013, 60000])
def test_a_node_that_did_not_ask_gets_the_addresses_that_addr_can_hold(number: int):
    """IPv4 and IPv6; an address of Tor or I2P cannot be said in 16 bytes."""
    source = leg()
    bridged = bridge(came(source, AddrV2(MIXED)), source, leg(number))
    assert (bridged.verdict, bridged.trail) == ("rewrite", ("terminate", "addrv2 to addr"))
    got = read(bridged.raw, number)
    assert isinstance(got, Addr)
    assert [(each.timestamp, each.services, each.ip, each.port) for each in got.addresses] == [
        (1, 9, V4, 8333),
        (3, 0, V6, 8335),
    ]


def test_an_addrv2_with_nothing_for_the_target_is_left_out():
    """Nodes cut whoever sends an `addr` without addresses."""
    source = leg()
    bridged = bridge(came(source, AddrV2(MIXED[1:2])), source, leg(70013))
    assert (bridged.raw, bridged.verdict) == (b"", "drop")
    assert bridged.trail == ("terminate", "addr can hold none of its addresses")


def test_an_empty_addrv2_is_left_out_as_well():
    """A node that did not ask for addrv2 cannot use any of its addresses."""
    source = leg()
    assert bridge(came(source, AddrV2(())), source, leg(70013)).verdict == "drop"
