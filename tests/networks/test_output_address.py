"""Addresses of outputs, against known pairs and an independent decoder."""

import base58
import bech32m
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcproxy import networks
from lbcproxy.networks import output_address

BITCOIN = networks.get("bitcoin-mainnet")
LBRY = networks.get("lbry-mainnet")
KEY = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"


@pytest.mark.parametrize(
    ("script", "address"),
    [
        (
            "76a914751e76e8199196d454941c45d1b3a323f1433bd688ac",
            "1BgGZ9tcN4rm9KBzDn7KprQz87SZ26SAMH",
        ),
        (f"21{KEY}ac", "1BgGZ9tcN4rm9KBzDn7KprQz87SZ26SAMH"),
        (
            "0014751e76e8199196d454941c45d1b3a323f1433bd6",
            "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
        ),
        (
            "512079be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
            "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
        ),
        ("6a0548656c6c6f", None),
        ("", None),
        ("0015" + "00" * 21, None),
    ],
)
def test_known_scripts(script, address):
    """From BIP173, BIP350 and the wallets' folklore of the key 1."""
    assert output_address(bytes.fromhex(script), BITCOIN) == address


def test_lbrys_addresses_begin_with_b_and_r():
    """What LBRY people know theirs by."""
    assert output_address(b"\x76\xa9\x14" + bytes(20) + b"\x88\xac", LBRY).startswith("b")
    assert output_address(b"\xa9\x14" + bytes(20) + b"\x87", LBRY).startswith("r")


def test_address_of_a_claim_is_that_of_the_script_after_it():
    """A claim is paid to somebody too."""
    pay = b"\x76\xa9\x14" + bytes(20) + b"\x88\xac"
    claim = b"\xb5\x01n\x01v\x6d\x75" + pay
    assert output_address(claim, LBRY) == output_address(pay, LBRY)


@pytest.mark.slow
@pytest.mark.parametrize("network", networks.all_networks().values(), ids=lambda each: each.id)
@given(digest=st.binary(min_size=20, max_size=20))
def test_addresses_read_back_to_their_hash(network, digest):
    """Each network's own prefixes."""
    pay = output_address(b"\x76\xa9\x14" + digest + b"\x88\xac", network)
    assert base58.b58decode_check(pay) == bytes((network.addresses.pubkey_hash,)) + digest
    script = output_address(b"\xa9\x14" + digest + b"\x87", network)
    assert base58.b58decode_check(script) == bytes((network.addresses.script_hash,)) + digest
    witness = output_address(b"\0\x14" + digest, network)
    assert bytes(bech32m.decode(network.addresses.bech32, witness).witprog) == digest


@given(st.binary(max_size=80))
def test_nothing_makes_it_raise(script):
    """Scripts come from anybody."""
    output_address(script, LBRY)
