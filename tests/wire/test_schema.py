"""The description of fields, made from the declarations."""

import pytest

from lbcproxy import wire
from lbcproxy.wire.rules import ByChain, ByVersion
from lbcproxy.wire.schema import describe, describe_limit


@pytest.mark.parametrize("command", wire.commands())
def test_every_field_of_every_message_is_described_in_words(command):
    """A field without words would be a hole in the documentation."""
    for field in describe(wire.record_of(command)):
        assert field.type
        assert field.bytes != "?"


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
    assert "31402" in describe_limit(ByVersion(((0, 350), (31402, 358))), "bytes")
