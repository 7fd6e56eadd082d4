"""The address of an output script, in the format of the network's wallets."""

from __future__ import annotations

import functools

import base58
import bech32m

from lbcproxy.networks._network import Network
from lbcproxy.wire.claims import read_claim_script
from lbcproxy.wire.hashes import hash160

__all__ = ["output_address"]

OP_0, OP_1, OP_16 = 0x00, 0x51, 0x60
OP_CHECKSIG = 0xAC


def output_address(script: bytes, network: Network) -> str | None:
    """Return the address of a script, or None; for a claim, that of the script after the claim.

    Supports public key and script hashes, bare public keys, and witness programs (BIP173, BIP350).
    """
    claim = read_claim_script(script)
    if claim is not None:
        script = claim.script
    size = len(script)
    if size == 25 and script[:3] == b"\x76\xa9\x14" and script[23:] == b"\x88\xac":
        return _base58(network.addresses.pubkey_hash, script[3:23])
    if size == 23 and script[:2] == b"\xa9\x14" and script[22] == 0x87:
        return _base58(network.addresses.script_hash, script[2:22])
    if size in (35, 67) and script[0] == size - 2 and script[-1] == OP_CHECKSIG:
        return _base58(network.addresses.pubkey_hash, hash160(script[1:-1]))
    return _witness_address(script, network.addresses.bech32)


@functools.lru_cache(maxsize=4096)  # the same wallets pay and claim again and again
def _base58(version: int, digest: bytes) -> str:
    return base58.b58encode_check(bytes((version,)) + digest).decode("ascii")


def _witness_address(script: bytes, prefix: str) -> str | None:
    if not 4 <= len(script) <= 42 or script[1] != len(script) - 2:
        return None
    version = 0 if script[0] == OP_0 else script[0] - OP_1 + 1
    if script[0] != OP_0 and not OP_1 <= script[0] <= OP_16:
        return None
    if version == 0 and len(script) not in (22, 34):
        return None
    return str(bech32m.encode(prefix, version, script[2:]))
