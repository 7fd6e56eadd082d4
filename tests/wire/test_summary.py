"""Summaries: a few words on a message, as lbcd logs them (`peer/log.go`)."""

import pytest

from lbcproxy import networks, wire
from lbcproxy.wire.messages.addresses import Addr, AddrV2
from lbcproxy.wire.messages.blocks import Block, MerkleBlock
from lbcproxy.wire.messages.bloom import FilterAdd, FilterLoad
from lbcproxy.wire.messages.cfilters import (
    CFCheckpt,
    CFHeaders,
    CFilter,
    GetCFCheckpt,
    GetCFHeaders,
    GetCFilters,
)
from lbcproxy.wire.messages.compact_blocks import (
    BlockTxn,
    CmpctBlock,
    GetBlockTxn,
    PrefilledTx,
    SendCmpct,
)
from lbcproxy.wire.messages.handshake import NetAddress, SendTxRcncl, Version, service_names
from lbcproxy.wire.messages.headers import BlockHeader, GetBlocks, Headers
from lbcproxy.wire.messages.inventory import Inv, InventoryVector
from lbcproxy.wire.messages.keepalive import FeeFilter, Ping, Pong
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
    """Anyone who knows its log reads ours at sight; a peer's words cannot act on a terminal."""
    assert record.summary() == words


HEADER = BlockHeader(5, bytes(32), bytes(32), None, 1_500_000_000, 1, 2)
HEADER_ID = HEADER.hash[::-1].hex()
TX = Tx(1, (), (), 0)


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (Ping(0xAB), "nonce=00000000000000ab"),
        (Ping(), ""),
        (Pong(0xAB), "nonce=00000000000000ab"),
        (FeeFilter(-5), "min_fee=-5"),
        (Version(1, 1, 0, ADDRESS), "agent none, pver 1, block None"),
        (SendTxRcncl(1, 2), "version 1"),
        (AddrV2(()), "0 addr"),
        (SendCmpct(True, 2), "announce=1, version=2"),
        (SendCmpct(False, 1), "announce=0, version=1"),
        (FilterLoad(b"abc", 5, 6, 1), "3 bytes, 5 hash functions, flags=1"),
        (FilterAdd(b"\xab"), "data=ab"),
        (FilterAdd(b"\xab" * 40), f"data={'ab' * 32}..."),
        (GetCFilters(0, 7, HASH), f"start_height=7, stop_hash={SHOWN}"),
        (GetCFHeaders(0, 7, HASH), f"start_height=7, stop_hash={SHOWN}"),
        (GetCFCheckpt(0, HASH), f"stop_hash={SHOWN}"),
        (CFilter(0, HASH, b"abc"), f"block_hash={SHOWN}, 3 bytes"),
        (CFHeaders(0, HASH, HASH, (HASH,) * 3), f"stop_hash={SHOWN}, num_filter_hashes=3"),
        (CFCheckpt(0, HASH, (HASH,) * 3), f"stop_hash={SHOWN}, num_filter_headers=3"),
        (Headers((HEADER,) * 3), "num 3"),
        (MerkleBlock(HEADER, 9, (HASH,), b""), f"hash {HEADER_ID}, 9 tx, 1 hashes"),
        (Block(HEADER, (TX,)), f"hash {HEADER_ID}, ver 5, 1 tx, 2017-07-14 02:40:00"),
        (
            Block(HEADER, (TX,), b"x" * 1000),
            f"hash {HEADER_ID}, ver 5, 1 tx, 2017-07-14 02:40:00, 1,000 B of MWEB data not read",
        ),
        (
            CmpctBlock(HEADER, 1, (b"123456",) * 3, (PrefilledTx(0, TX),) * 2),
            f"hash {HEADER_ID}, 3 short ids, 2 prefilled",
        ),
        (GetBlockTxn(HASH, (1, 2, 3)), f"block {SHOWN}, 3 tx"),
        (BlockTxn(HASH, (TX, TX)), f"block {SHOWN}, 2 tx"),
    ],
)
def test_summary_of_what_lbcd_does_not_log(record, words):
    """What one would ask first of each."""
    assert record.summary() == words


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (CFilter(0, HASH, b"abc"), f"block_hash={SHOWN}"),
        (CFCheckpt(0, HASH, (HASH,) * 300), f"stop_hash={SHOWN}, num_filter_headers=300"),
        (CmpctBlock(HEADER, 1, (b"123456",) * 3, ()), f"hash {HEADER_ID}"),
        (BlockTxn(HASH, (TX,) * 300), f"block {SHOWN}, 300 tx"),
        (Headers((HEADER,) * 300), "num 300"),
        (inv(*[1] * 300), "size 300"),
        (Block(HEADER, (TX,) * 3), f"hash {HEADER_ID}, ver 5, 3 tx, 2017-07-14 02:40:00"),
        (TX, ""),
    ],
)
def test_glance_at_200_bytes(record, words):
    """What the beginning of a long message shows."""
    codec = wire.Codec(networks.get("bitcoin-mainnet"))
    assert type(record).glance(codec.encode(record)[:200], codec.params) == words


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
    """Return long payloads of the commands that may be cut through."""
    return [v for v in load("vectors") if v.get("payload_len", 0) > 30_000 or "genesis" in v["id"]]


@pytest.mark.parametrize("vector", big_vectors(), ids=lambda vector: vector["id"])
def test_glance_at_the_beginning_says_what_the_whole_says(vector):
    """A long message that nobody reads has a line anyway."""
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
