"""Addresses as text, by BIP155's networks."""

import pytest

from lbcproxy.wire.addresses import address_text

TEXTS = {
    (1, bytes((1, 2, 3, 4))): "1.2.3.4",
    (2, bytes(15) + b"\1"): "::1",
    (3, bytes(range(10))): "aaaqeayeaudaocaj.onion",
    (5, bytes(range(32))): "aaaqeayeaudaocajbifqydiob4ibceqtcqkrmfyydenbwha5dypq.b32.i2p",
    (6, b"\xfc" + bytes(14) + b"\1"): "fc00::1",
    (7, b"\x02" + bytes(14) + b"\1"): "200::1",
}


@pytest.mark.parametrize(("address", "text"), TEXTS.items())
def test_an_address_is_shown_as_its_network_writes_it(address, text):
    """Of any other length it is not an address of its network."""
    network, raw = address
    assert address_text(network, raw) == text
    assert address_text(network, raw[:-1]) is None
    assert address_text(network, raw + b"\0") is None


def test_an_onion_address_has_a_checksum_and_a_version():
    """The key of the Tor Project's site gives its name."""
    key = bytes.fromhex("d1b38b83a83b3ed918c5bb69dd444ad56bc8d5835a914de73447474e5f02591b")
    name = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion"
    assert address_text(4, key) == name
    assert address_text(4, key[:-1]) is None
    assert address_text(4, key + b"\0") is None


@pytest.mark.parametrize("network", [0, 8, 255])
@pytest.mark.parametrize("size", [4, 10, 16, 32])
def test_an_address_of_an_unknown_network_has_no_text(network, size):
    """It is shown in hexadecimal."""
    assert address_text(network, bytes(size)) is None
