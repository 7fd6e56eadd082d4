"""The description of fields, made from the declarations."""

import pytest
from construct import GreedyBytes, Int8sl, Int64ub

from lbcproxy import wire
from lbcproxy.wire.rules import ByChain, ByVersion
from lbcproxy.wire.schema import _leaf, describe, describe_limit


@pytest.mark.parametrize("command", wire.commands())
def test_every_field_of_every_message_is_described_in_words(command):
    """A field without words would be a hole in the documentation."""
    for field in describe(wire.record_of(command)):
        assert field.type
        assert field.bytes != "?"


TAIL = "if any bytes are left"
LBRY_ONLY, LITECOIN_ONLY = "on chains with claim_trie (LBRY)", "on chains with mweb (Litecoin)"
INT32, UINT32 = ("int32", "4, little endian", "", ""), ("uint32", "4, little endian", "", "")
COUNT, LENGTH = "count (CompactSize), entries", "length (CompactSize), bytes"
HASH = ("hash", "32, shown reversed", "", "")
ADDRESS = {
    "services": ("uint64", "8, little endian", "", ""),
    "ip": ("IPv6 address", "16, IPv4 mapped", "", ""),
    "port": ("uint16", "2, big endian", "", ""),
}
DESCRIPTIONS = {
    "version": {
        "version": INT32,
        "services": ADDRESS["services"],
        "timestamp": ("int64", "8, little endian", "", ""),
        **{f"addr_recv.{name}": words for name, words in ADDRESS.items()},
        **{f"addr_from.{name}": (*words[:3], TAIL) for name, words in ADDRESS.items()},
        "nonce": ("uint64", "8, little endian", "", TAIL),
        "user_agent": ("string", LENGTH, "256 bytes", TAIL),
        "start_height": (*INT32[:3], TAIL),
        "relay": ("bool", "1, any but 0 is true", "", TAIL),
    },
    "headers": {
        "headers": ("list", COUNT, "2,000 entries", ""),
        "headers[].version": INT32,
        "headers[].prev_block": HASH,
        "headers[].merkle_root": HASH,
        "headers[].claim_trie": (*HASH[:3], LBRY_ONLY),
        "headers[].timestamp": UINT32,
        "headers[].bits": UINT32,
        "headers[].nonce": UINT32,
    },
    "tx": {
        "version": INT32,
        "inputs": ("list", COUNT, "818,401 entries", ""),
        "inputs[].prev_hash": HASH,
        "inputs[].prev_index": UINT32,
        "inputs[].script_sig": ("bytes", LENGTH, "as many bytes as the chain allows (script)", ""),
        "inputs[].sequence": UINT32,
        "inputs[].witness": (
            "list",
            COUNT,
            "as many entries as the chain allows (witness_items)",
            "",
        ),
        "inputs[].witness[]": (
            "bytes",
            LENGTH,
            "as many bytes as the chain allows (witness_item)",
            "",
        ),
        "outputs": ("list", COUNT, "3,728,271 entries", ""),
        "outputs[].value": ("int64", "8, little endian", "", ""),
        "outputs[].script_pubkey": (
            "bytes",
            LENGTH,
            "as many bytes as the chain allows (script)",
            "",
        ),
        "lock_time": UINT32,
        "mweb": ("bytes", "all but 4", "", f"{LITECOIN_ONLY}, in some messages"),
    },
    "reject": {
        "message": ("string", LENGTH, "33,554,432 bytes", ""),
        "code": ("uint8", "1", "", ""),
        "reason": ("string", LENGTH, "33,554,432 bytes", ""),
        "hash": (*HASH[:3], "when message is block or tx"),
    },
}


@pytest.mark.parametrize("command", DESCRIPTIONS)
def test_the_fields_of_a_message_are_described_in_the_order_of_their_bytes(command):
    """Type, size, limit and condition of each."""
    found = {
        field.name: (field.type, field.bytes, field.limit, field.when)
        for field in describe(wire.record_of(command))
    }
    assert found == DESCRIPTIONS[command]
    assert list(found) == list(DESCRIPTIONS[command])


def test_fields_that_few_messages_have():
    """A CompactSize, raw bytes, what is left at the end, and a construct that we do not know."""
    fields = {field.name: field for field in describe(wire.record_of("cmpctblock"))}
    assert (fields["short_ids[]"].type, fields["short_ids[]"].bytes) == ("bytes", "6")
    delta = fields["prefilled[].index_delta"]
    assert (delta.type, delta.bytes) == ("CompactSize", "1, 3, 5 or 9")
    assert fields["mweb"].bytes == "all that are left"
    assert _leaf(Int8sl) == ("int8", "1", "")
    assert _leaf(Int64ub) == ("uint64", "8, big endian", "")
    assert _leaf(GreedyBytes) == ("GreedyBytes", "?", "")


def test_names_are_paths_and_conditions_are_said():
    """The paths are those of `to_dict`."""
    fields = {field.name: field for field in describe(wire.record_of("block"))}
    assert "transactions[].inputs[].witness[]" in fields
    assert "claim_trie" in fields["header.claim_trie"].when
    fields = {field.name: field for field in describe(wire.record_of("addr"))}
    assert fields["addresses[].timestamp"].when == "from protocol version 31402 on"
    assert fields["addresses[].port"].bytes == "2, big endian"


def test_limits_in_words():
    """Each kind of limit."""
    assert describe_limit(1000, "entries") == "1,000 entries"
    assert "script" in describe_limit(ByChain("script"), "bytes")
    words = "bytes: 350 from version 0 on, 358 from version 31402 on"
    assert describe_limit(ByVersion(((0, 350), (31402, 358))), "bytes") == words
