"""The limits of each message, as lbcd, btcd and Core have them, and the numbers of the protocol.

They are written down twice, here and in the declarations: a slip of a key must not become the rule.
"""

import pytest

from lbcproxy import networks, wire
from lbcproxy.wire.messages.handshake import Service
from lbcproxy.wire.messages.inventory import InvType
from lbcproxy.wire.messages.reject import RejectCode
from lbcproxy.wire.rules import ANY_CHAIN, MAX_PAYLOAD, ByVersion, Params, bound
from lbcproxy.wire.schema import describe

LBRY, BITCOIN = networks.get("lbry-mainnet"), networks.get("bitcoin-mainnet")
BLOCK = (8_000_000, 4_000_000)
"""Where LBRY and Bitcoin differ."""
MAXIMA = {
    "addr": 30_009,
    "addrv2": 531_003,
    "alert": 33_554_432,
    "block": BLOCK,
    "blocktxn": BLOCK,
    "cfcheckpt": 33_554_432,
    "cfheaders": 64_074,
    "cfilter": 262_182,
    "cmpctblock": BLOCK,
    "feefilter": 8,
    "filteradd": 523,
    "filterclear": 0,
    "filterload": 36_012,
    "getaddr": 0,
    "getblocks": 16_045,
    "getblocktxn": 4_000_000,
    "getcfcheckpt": 33,
    "getcfheaders": 37,
    "getcfilters": 37,
    "getdata": 1_800_009,
    "getheaders": 16_045,
    "headers": (226_009, 162_009),
    "inv": 1_800_009,
    "mempool": 0,
    "merkleblock": BLOCK,
    "notfound": 1_800_009,
    "ping": 8,
    "pong": 8,
    "reject": 33_554_432,
    "sendaddrv2": 0,
    "sendcmpct": 4_000_000,
    "sendheaders": 0,
    "sendtxrcncl": 4_000_000,
    "tx": BLOCK,
    "verack": 0,
    "version": 358,
    "wtxidrelay": 4_000_000,
}
SINCE = {
    "feefilter": 70013,
    "filteradd": 70001,
    "filterclear": 70001,
    "filterload": 70001,
    "mempool": 60002,
    "merkleblock": 70001,
    "pong": 60001,
    "reject": 70002,
    "sendheaders": 70012,
}
FIELDS = {
    "addr.addresses": "1,000 entries",
    "addrv2.addresses": "1,000 entries",
    "addrv2.addresses[].addr": "512 bytes",
    "alert.payload": "33,554,432 bytes",
    "alert.signature": "33,554,432 bytes",
    "cfcheckpt.filter_headers": "100,000 entries",
    "cfheaders.filter_hashes": "2,000 entries",
    "cfilter.data": "262,144 bytes",
    "cmpctblock.prefilled": "65,535 entries",
    "cmpctblock.short_ids": "65,535 entries",
    "filteradd.data": "520 bytes",
    "filterload.filter": "36,000 bytes",
    "getblocks.locator": "500 entries",
    "getblocktxn.index_deltas": "65,536 entries",
    "getdata.inventory": "50,000 entries",
    "getheaders.locator": "500 entries",
    "headers.headers": "2,000 entries",
    "inv.inventory": "50,000 entries",
    "notfound.inventory": "50,000 entries",
    "reject.message": "33,554,432 bytes",
    "reject.reason": "33,554,432 bytes",
    "tx.inputs": "818,401 entries",
    "tx.outputs": "3,728,271 entries",
    "version.user_agent": "256 bytes",
}


@pytest.mark.parametrize("command", wire.commands())
def test_the_longest_payload_of_a_command(command: str):
    """One byte more is refused unread."""
    maximum = MAXIMA[command]
    maxima = maximum if isinstance(maximum, tuple) else (maximum, maximum)
    for network, most in zip((LBRY, BITCOIN), maxima, strict=True):
        codec = wire.Codec(network, 70016)
        assert codec.refusal(command, most) is None
        assert f"at most {most} allowed" in (codec.refusal(command, most + 1) or "")


@pytest.mark.parametrize("command", wire.commands())
def test_the_lowest_version_of_a_command(command: str):
    """Commands without one are as old as the protocol."""
    since = SINCE.get(command, 0)
    assert wire.Codec(LBRY, since).refusal(command, 0) is None
    if since:
        refusal = wire.Codec(LBRY, since - 1).refusal(command, 0)
        assert refusal == f"needs protocol version {since}, {since - 1} was agreed"


@pytest.mark.parametrize(
    ("command", "version", "most"),
    [
        ("addr", 208, 35),
        ("addr", 209, 26_009),
        ("addr", 31401, 26_009),
        ("addr", 31402, 30_009),
        ("ping", 60000, 0),
        ("ping", 60001, 8),
        ("version", 31401, 350),
        ("version", 31402, 358),
    ],
)
def test_a_maximum_that_changed_with_the_version(command: str, version: int, most: int):
    """The version from which it counts, and the one before."""
    codec = wire.Codec(LBRY, version)
    assert codec.refusal(command, most) is None
    assert codec.refusal(command, most + 1) is not None


@pytest.mark.parametrize("command", wire.commands())
def test_the_limits_of_fields(command: str):
    """Those that depend on the chain are named; every other one is in the table above."""
    found = {
        f"{command}.{field.name}": field.limit
        for field in describe(wire.record_of(command))
        if field.limit and "chain" not in field.limit and "transactions[]" not in field.name
    }
    found = {name: limit for name, limit in found.items() if ".tx." not in name}
    assert found == {
        name: limit for name, limit in FIELDS.items() if name.partition(".")[0] == command
    }


@pytest.mark.parametrize(
    ("network", "header", "transactions", "flags"),
    [(LBRY, 112, 800_001, 100_000), (BITCOIN, 80, 400_001, 50_000)],
)
def test_limits_that_follow_from_the_block_size(network, header, transactions, flags):
    """Lbcd derives them from the smallest transaction and from a header."""
    rules = network.rules
    assert (rules.header, rules.transactions, rules.merkle_flags) == (header, transactions, flags)


def test_the_widest_limits():
    """They refuse nothing that any chain allows: such a transaction must have an id."""
    assert MAX_PAYLOAD == 1 << 25
    assert (ANY_CHAIN.block_payload, ANY_CHAIN.script) == (MAX_PAYLOAD, MAX_PAYLOAD)
    assert (ANY_CHAIN.witness_items, ANY_CHAIN.witness_item) == (MAX_PAYLOAD, MAX_PAYLOAD)
    assert ANY_CHAIN.superfluous_witness
    assert not ANY_CHAIN.claim_trie
    assert not ANY_CHAIN.mweb


def test_a_limit_counts_from_its_version_on():
    """Not from the one after it."""
    limit = ByVersion(((0, 1), (5, 2), (9, 3)))
    limits = [
        bound(limit, Params(ANY_CHAIN, version, witness=False)) for version in (0, 4, 5, 8, 9)
    ]
    assert limits == [1, 1, 2, 2, 3]


def test_numbers_of_services_types_and_codes():
    """As BIP14 and its successors, `inv` and BIP61 have them."""
    assert {each.name: each.value for each in Service} == {
        "NETWORK": 1,
        "GETUTXO": 2,
        "BLOOM": 4,
        "WITNESS": 8,
        "COMPACT_FILTERS": 64,
        "NETWORK_LIMITED": 1024,
        "P2P_V2": 2048,
    }
    assert {each.name: each.value for each in InvType} == {
        "ERROR": 0,
        "TX": 1,
        "BLOCK": 2,
        "FILTERED_BLOCK": 3,
        "CMPCT_BLOCK": 4,
        "WTX": 5,
        "WITNESS_TX": 0x40000001,
        "WITNESS_BLOCK": 0x40000002,
        "FILTERED_WITNESS_BLOCK": 0x40000003,
    }
    assert {each.name: each.value for each in RejectCode} == {
        "MALFORMED": 1,
        "INVALID": 16,
        "OBSOLETE": 17,
        "DUPLICATE": 18,
        "NONSTANDARD": 64,
        "DUST": 65,
        "INSUFFICIENT_FEE": 66,
        "CHECKPOINT": 67,
    }
