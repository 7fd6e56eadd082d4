"""The test vectors of BIP324, and a judge in plain Python where the library has no such call."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

pytest.importorskip("coincurve", reason="install lbcproxy with its extra bip324")

from lbcproxy.transport._secp256k1 import Library
from lbcproxy.transport.ciphers import LengthCipher, PacketCipher
from lbcproxy.transport.curve import EphemeralKey
from lbcproxy.transport.keys import SessionKeys
from tests.transport import ellswift_judge

FOLDER = Path(__file__).parent.parent / "vectors" / "bip324"
MAINNET = bytes.fromhex("f9beb4d9")

Row = dict[str, str]


def rows(name: str) -> list[Row]:
    """Return the rows of a file of vectors."""
    with (FOLDER / f"{name}_test_vectors.csv").open(newline="") as file:
        return list(csv.DictReader(file))


PACKETS = rows("packet_encoding")
POINTS = rows("ellswift_decode")
INVERSES = rows("xswiftec_inv")


def test_all_vectors_are_there():
    """As many as the BIP has."""
    assert (len(PACKETS), len(POINTS), len(INVERSES)) == (7, 76, 32)


@pytest.mark.parametrize("row", POINTS, ids=range(len(POINTS)))
def test_points_are_decoded(row: Row):
    """By the library and by the judge."""
    encoded, x = bytes.fromhex(row["ellswift"]), bytes.fromhex(row["x"])
    assert Library().decode(encoded) == x
    assert ellswift_judge.decode_bytes(encoded) == x


@pytest.mark.parametrize("row", INVERSES, ids=range(len(INVERSES)))
def test_encodings_of_a_point(row: Row):
    """The judge finds each encoding, and the library decodes it to the same point."""
    u, x = int(row["u"], 16), int(row["x"], 16)
    for case in range(8):
        t = row[f"case{case}_t"]
        assert ellswift_judge.inverse(x, u, case) == (int(t, 16) if t else None)
        if t:
            assert Library().decode(bytes.fromhex(row["u"] + t)).hex() == row["x"]


@pytest.mark.parametrize("row", PACKETS, ids=[row["in_idx"] for row in PACKETS])
def test_keys_are_derived(row: Row):
    """From one private key and the other public key."""
    keys = _keys(row)
    assert keys.session_id.hex() == row["out_session_id"]
    assert keys.initiator.lengths.hex() == row["mid_initiator_l"]
    assert keys.initiator.packets.hex() == row["mid_initiator_p"]
    assert keys.responder.lengths.hex() == row["mid_responder_l"]
    assert keys.responder.packets.hex() == row["mid_responder_p"]
    ours, theirs = keys.initiator, keys.responder
    if row["in_initiating"] == "0":
        ours, theirs = theirs, ours
    assert ours.terminator.hex() == row["mid_send_garbage_terminator"]
    assert theirs.terminator.hex() == row["mid_recv_garbage_terminator"]


@pytest.mark.parametrize("row", PACKETS, ids=[row["in_idx"] for row in PACKETS])
def test_packets_are_encrypted(row: Row):
    """Also after several changes of keys, and back again."""
    keys = _keys(row)
    ours = keys.initiator if row["in_initiating"] == "1" else keys.responder
    contents = bytes.fromhex(row["in_contents"]) * int(row["in_multiply"])
    lengths, packets = LengthCipher(ours.lengths), PacketCipher(ours.packets)
    unlengths, unpackets = LengthCipher(ours.lengths), PacketCipher(ours.packets)
    for _ in range(int(row["in_idx"])):
        assert unlengths.apply(lengths.apply(0)) == 0
        assert unpackets.decrypt(packets.encrypt(b"\0", None), None) == b"\0"
    header = bytes((0x80 if row["in_ignore"] == "1" else 0,))
    associated = bytes.fromhex(row["in_aad"])
    length = lengths.apply(len(contents))
    encrypted = packets.encrypt(header + contents, associated)
    whole = (length.to_bytes(3, "little") + encrypted).hex()
    assert not row["out_ciphertext"] or whole == row["out_ciphertext"]
    assert whole.endswith(row["out_ciphertext_endswith"])
    assert unlengths.apply(length) == len(contents)
    assert unpackets.decrypt(encrypted, associated) == header + contents


def test_the_judge_and_the_library_agree_on_new_keys():
    """The point of a new public key is the one that its private key has."""
    one, other = EphemeralKey(), EphemeralKey()
    assert one.shared_secret(other.public, initiating=True) == other.shared_secret(
        one.public, initiating=False
    )
    assert Library().decode(one.public) == ellswift_judge.decode_bytes(one.public)


def _keys(row: Row) -> SessionKeys:
    key = EphemeralKey(bytes.fromhex(row["in_priv_ours"]), bytes.fromhex(row["in_ellswift_ours"]))
    theirs = bytes.fromhex(row["in_ellswift_theirs"])
    secret = key.shared_secret(theirs, initiating=row["in_initiating"] == "1")
    assert secret.hex() == row["mid_shared_secret"]
    return SessionKeys.derive(secret, MAINNET)
