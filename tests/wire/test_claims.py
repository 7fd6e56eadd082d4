"""Claims: what LBRY people look for in a transaction."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcproxy import networks
from lbcproxy.capture import open_capture
from lbcproxy.networks import output_address
from lbcproxy.wire.claims import claims_of, new_claim_id, read_claim_script
from lbcproxy.wire.hashes import ripemd160
from lbcproxy.wire.messages.blocks import Block
from lbcproxy.wire.messages.transactions import Tx, TxOut
from tests.vector_files import load

CAPTURES = Path(__file__).parents[2] / "captures"
PAY = bytes.fromhex("76a914") + bytes(20) + bytes.fromhex("88ac")
CLAIM_ID = bytes(range(20))


def push(data: bytes) -> bytes:
    return bytes((len(data),)) + data


SCRIPTS = [
    ("claim", b"\xb5" + push(b"name") + push(b"value") + b"\x6d\x75" + PAY),
    ("support", b"\xb6" + push(b"name") + push(CLAIM_ID) + b"\x6d\x75" + PAY),
    ("support", b"\xb6" + push(b"name") + push(CLAIM_ID) + push(b"value") + b"\x6d\x6d" + PAY),
    ("update", b"\xb7" + push(b"name") + push(CLAIM_ID) + push(b"value") + b"\x6d\x6d" + PAY),
]


@pytest.mark.parametrize(("kind", "script"), SCRIPTS)
def test_each_kind_is_read(kind, script):
    """The four forms that lbcd knows."""
    claim = read_claim_script(script)
    assert claim is not None
    assert (claim.kind, claim.name, claim.script) == (kind, b"name", PAY)
    assert claim.claim_id == (None if kind == "claim" else CLAIM_ID)
    assert claim.value == (None if len(script) == len(SCRIPTS[1][1]) else b"value")


@pytest.mark.parametrize(("kind", "script"), SCRIPTS)
def test_no_prefix_of_a_claim_is_one(kind, script):
    """A cut script guards nothing and claims nothing."""
    for size in range(len(script) - len(PAY)):
        assert read_claim_script(script[:size]) is None


@pytest.mark.parametrize("opcode", [b"\x4c\x05", b"\x4d\x05\0", b"\x4e\x05\0\0\0"])
def test_long_forms_of_a_push_are_read(opcode):
    """Values are long as a rule, so they are pushed with PUSHDATA."""
    claim = read_claim_script(b"\xb5" + push(b"n") + opcode + b"value" + b"\x6d\x75" + PAY)
    assert claim is not None
    assert claim.value == b"value"


def test_one_byte_may_be_pushed_by_a_number():
    """Script builders push the bytes 1 to 16 by their own opcodes."""
    claim = read_claim_script(b"\xb5" + push(b"n") + b"\x51" + b"\x6d\x75" + PAY)
    assert claim is not None
    assert claim.value == b"\1"


@given(st.binary(max_size=80))
def test_nothing_makes_it_raise(script):
    """Scripts come from anybody."""
    for opcode in (b"", b"\xb5", b"\xb6", b"\xb7"):
        read_claim_script(opcode + script)


def test_claim_scripts_of_the_vectors_are_read(count):
    """Three of them are random bytes behind a claim opcode; the others are claims."""
    scripts = {
        output["script_pubkey"]
        for vector in load("vectors")
        for tx in (vector["fields"] or {}).get("transactions", [vector["fields"] or {}])
        for output in tx.get("outputs", ())
        if output["script_pubkey"][:2] in ("b5", "b6", "b7")
    }
    read = [script for script in scripts if read_claim_script(bytes.fromhex(script)) is not None]
    assert len(scripts) - len(read) == 3
    assert len(read) > 30


def test_new_claims_id_follows_from_where_it_stands():
    """RIPEMD160(SHA256(txid in wire order + output index, big endian))."""
    txid = bytes(range(32))
    wanted = ripemd160(hashlib.sha256(txid + b"\0\0\0\7").digest())
    assert new_claim_id(txid, 7) == wanted


def test_claims_of_a_transaction_carry_ids_in_display_order():
    """Explorers and wallets show them reversed."""
    tx = Tx(1, (), (TxOut(1, PAY), TxOut(5, SCRIPTS[0][1]), TxOut(6, SCRIPTS[3][1])), 0)
    [(txid, new), (_, update)] = claims_of((tx,))
    assert txid == tx.txid[::-1].hex()
    assert (new.output, new.amount, new.name) == (1, 5, "name")
    assert new.claim_id == new_claim_id(tx.txid, 1)[::-1].hex()
    assert update.claim_id == CLAIM_ID[::-1].hex()


def test_every_output_of_the_real_capture_has_an_address_and_claims_have_names():
    """Real nodes made these: 714 claims and ordinary outputs."""
    regtest = networks.get("lbry-regtest")
    names = set()
    for name in ("lbcd-sync", "lbcd-probe"):
        for entry in open_capture(CAPTURES / f"{name}.pcap"):
            record = entry.message.record if entry.message else None
            transactions = record.transactions if isinstance(record, Block) else ()
            for tx in (record,) if isinstance(record, Tx) else transactions:
                names |= {claim.name for _, claim in claims_of((tx,))}
                for output in tx.outputs:
                    assert output_address(output.script_pubkey, regtest) is not None
    assert "clip-170-1" in names
    assert len(names) > 100
