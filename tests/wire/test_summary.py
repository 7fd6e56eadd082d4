"""Summaries: a few words on a message, as lbcd logs them (`peer/log.go`)."""

import pytest

from lbcproxy import networks, wire
from lbcproxy.wire.messages.addresses import Addr
from lbcproxy.wire.messages.handshake import NetAddress, Version, service_names
from lbcproxy.wire.messages.headers import BlockHeader, GetBlocks
from lbcproxy.wire.messages.inventory import Inv, InventoryVector
from lbcproxy.wire.messages.reject import Reject
from lbcproxy.wire.messages.transactions import Tx
from tests.vector_files import load, payload_of

HASH = bytes(range(32))
SHOWN = HASH[::-1].hex()
ADDRESS = NetAddress(0, bytes(16), 0)


def inv(*types):
    return Inv(tuple(InventoryVector(each, HASH) for each in types))


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (
            Version(70013, 1, 0, ADDRESS, ADDRESS, 1, b"/me:1/", 7),
            "agent /me:1/, pver 70013, block 7",
        ),
        (
            Version(1, 1, 0, ADDRESS, ADDRESS, 1, b"\x1b[31m\n", 7),
            r"agent \x1b[31m\n, pver 1, block 7",
        ),
        (Addr(()), "0 addr"),
        (inv(), "empty"),
        (inv(0), f"error {SHOWN}"),
        (inv(1), f"tx {SHOWN}"),
        (inv(2), f"block {SHOWN}"),
        (inv(0x40000001), f"witness tx {SHOWN}"),
        (inv(0x40000002), f"witness block {SHOWN}"),
        (inv(99), f"unknown (99) {SHOWN}"),
        (inv(1, 1), "size 2"),
        (GetBlocks(0, (HASH,), bytes(32)), f"locator {SHOWN}, stop {'0' * 64}"),
        (GetBlocks(0, (), bytes(32)), f"no locator, stop {'0' * 64}"),
        (
            Reject(b"tx", 0x10, b"bad\x07", HASH),
            rf"cmd tx, code REJECT_INVALID, reason bad\x07, hash {SHOWN}",
        ),
        (
            Reject(b"ping", 0x99, b"x" * 300),
            f"cmd ping, code unknown (0x99), reason {'x' * 250}...",
        ),
    ],
)
def test_summary_is_lbcds(record, words):
    """Who knows its log reads ours at sight; a peer's words cannot act on a terminal."""
    assert record.summary() == words


@pytest.mark.parametrize(
    ("lock_time", "words"),
    [(499_999_999, "height 499999999"), (500_000_000, "1985-11-05 00:53:20")],
)
def test_lock_time_is_a_height_or_a_time(lock_time, words):
    """The border is at 500,000,000."""
    tx = Tx(1, (), (), lock_time)
    assert tx.summary() == f"hash {tx.txid[::-1].hex()}, 0 inputs, 0 outputs, lock {words}"


@pytest.mark.parametrize("vector", load("vectors")[::7], ids=lambda vector: vector["id"])
def test_every_message_has_a_summary_that_a_terminal_may_print(vector):
    """Summaries are made of whatever the vectors hold."""
    codec = wire.Codec(networks.get(vector["network"]), vector["pver"], vector["encoding"])
    record = codec.decode(vector["command"], payload_of(vector))
    assert record.summary().isprintable()


def big_vectors():
    """Give long payloads of the commands that may be cut through."""
    return [v for v in load("vectors") if v.get("payload_len", 0) > 30_000 or "genesis" in v["id"]]


@pytest.mark.parametrize("vector", big_vectors(), ids=lambda vector: vector["id"])
def test_glance_at_the_beginning_says_what_the_whole_says(vector):
    """A long message that nobody reads has a line all the same."""
    codec = wire.Codec(networks.get(vector["network"]), vector["pver"], vector["encoding"])
    payload = payload_of(vector)
    record = codec.decode(vector["command"], payload)
    glance = type(record).glance(payload[:232], codec.params)
    assert (
        glance in ("", record.summary()) or glance.split(",")[0] == record.summary().split(",")[0]
    )
    if vector["command"] in ("block", "inv", "headers"):
        assert glance == record.summary()


def test_header_hash_needs_no_codec():
    """Whoever has a header has its id."""
    genesis = networks.get("lbry-mainnet").genesis
    codec = wire.Codec(networks.get("lbry-mainnet"))
    header = codec.decode("headers", b"\1" + genesis + b"\0").headers[0]
    assert isinstance(header, BlockHeader)
    assert header.to_bytes() == genesis


def test_services_are_named_and_those_without_a_name_are_numbered():
    """None is lost."""
    assert service_names(1 << 0 | 1 << 10 | 1 << 40) == ["NETWORK", "NETWORK_LIMITED", "BIT_40"]
    assert service_names(1 << 63) == ["BIT_63"]
    assert service_names(0) == []
