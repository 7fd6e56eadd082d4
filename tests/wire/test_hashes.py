"""Hashes: of the protocol, and LBRY's own for its proof of work."""

import hashlib

import pytest

from lbcproxy import networks
from lbcproxy.wire.hashes import (
    display,
    from_display,
    hash160,
    lbry_pow_hash,
    merkle_root,
    ripemd160,
    sha256d,
    siphash24,
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


@pytest.mark.parametrize(
    ("length", "wanted"),
    [
        (0, 0x726FDB47DD0E0E31),
        (1, 0x74F839C593DC67FD),
        (7, 0xAB0200F58B01D137),
        (8, 0x93F5F5799A932462),
        (15, 0xA129CA6149BE45E5),
        (16, 0x3F2ACC7F57C29BDB),
        (63, 0x958A324CEB064572),
    ],
)
def test_siphash_is_that_of_its_authors(length, wanted):
    """Their vectors (vectors.h of the reference): the key and the data count up from 0."""
    assert siphash24(bytes(range(16)), bytes(range(length))) == wanted


def test_merkle_roots_are_those_of_bitcoin():
    """The ids of block 100,000 of mainnet and its root; an odd number repeats the last one."""
    ids = [
        "8c14f0db3df150123e6f3dbbf30f8b955a8249b62ac1d1ff16284aefa3d06d87",
        "fff2525b8931402dd09222c50775608f75787bd2b87e56995a7bdd30f79702c4",
        "6359f0868171b1d194cbee1af2f16ea598ae8fad666d9b012c8ed2b79a236ec4",
        "e9a66845e05d5abc0ad04ec80f774a7e585c6e8db975962d069a522137b80c1d",
    ]
    root = "f3e94742aca4b5ef85488dc37c06c3282295ffec960994b2c0d5ac2a25a95766"
    assert display(merkle_root(map(from_display, ids))) == root
    three = [from_display(each) for each in ids[:3]]
    assert merkle_root(three) == merkle_root([*three, three[-1]])
    assert merkle_root(three[:1]) == three[0]
    assert merkle_root([]) == bytes(32)
