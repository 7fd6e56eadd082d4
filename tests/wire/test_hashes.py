"""Hashes: of the protocol, and LBRY's own for its proof of work."""

import hashlib

import pytest

from lbcproxy import networks
from lbcproxy.wire.hashes import (
    display,
    from_display,
    hash160,
    lbry_pow_hash,
    ripemd160,
    sha256d,
)

POW = {
    "lbry-mainnet": "0000fc6eb50fdb1fc4489a322b5f881740441b9a59f3290bad53c3815dc3afab",
    "lbry-testnet": "0000fc6eb50fdb1fc4489a322b5f881740441b9a59f3290bad53c3815dc3afab",
    "lbry-regtest": "2ce3c2946cfb782bb7097762d2f64dca140ca9bc68cd1f6b941528ee3b0bbb10",
    "lbry-simnet": "0ff6af495ba0bd1d9c7fa617ed40d8dd7160ac2fbfc04c5e8b2b724f0002d058",
}


@pytest.mark.parametrize(("network", "wanted"), POW.items())
def test_proof_of_work_hash_of_the_genesis_headers(network, wanted):
    """Lbcd's own figures."""
    assert display(lbry_pow_hash(networks.get(network).genesis)) == wanted


def test_proof_of_work_hash_of_other_bytes():
    """The same, of inputs that are no headers."""
    zeros = "e3a4ac103496ea346431fb03e4011fba24d07dd829dfe802aecb69546796c79f"
    abc = "4c583534c5502e39e9eb74fde87c8a87cd30b29ac0a078370c6b04459890fba3"
    assert lbry_pow_hash(bytes(112)).hex() == zeros
    assert display(lbry_pow_hash(b"abc")) == abc


def test_checksum_of_nothing():
    """Every empty message carries it."""
    assert sha256d(b"")[:4].hex() == "5df6e0e2"


def test_ripemd160_without_openssls(monkeypatch):
    """Some builds of OpenSSL 3 leave it out; the library then gives the same."""
    wanted = ripemd160(b"abc")

    def refuse(name, *arguments, **options):
        raise ValueError(f"unsupported hash type {name}")

    monkeypatch.setattr(hashlib, "new", refuse)
    assert ripemd160(b"abc") == wanted
    assert wanted.hex() == "8eb208f7e05d987a9b044a8e98c6b087f15a0bfc"


def test_display_order_is_reversed():
    """People write hashes backwards."""
    assert display(bytes(range(32)))[:4] == "1f1e"
    assert from_display(display(bytes(range(32)))) == bytes(range(32))
    assert len(hash160(b"")) == 20
