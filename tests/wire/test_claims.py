"""Claims: what LBRY people look for in a transaction."""

import hashlib
from pathlib import Path

import msgspec
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
from tests.claim_scripts import claim_scripts
from tests.vector_files import load

CASES = [
    (answer, bytes.fromhex(script))
    for line in (Path(__file__).parents[1] / "cases" / "claim-scripts.txt").read_text().splitlines()
    for answer, _, script in (line.partition("\t"),)
]
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


@pytest.mark.parametrize(("answer", "script"), CASES, ids=[answer for answer, _ in CASES])
def test_claims_are_those_of_lbcd(answer, script):
    """Each script was shown to a live lbcd, which has the last word on what a claim is."""
    claim = read_claim_script(script)
    said = answer.partition(", lbcd: ")[2]
    assert (claim is None) == (said == "none")
    if said == "claim, empty name (by its code)":
        assert claim.name == b""


@pytest.mark.parametrize("opcode", [0x00, 0x4F, 0x50, 0x51, 0x60, 0x61, 0x6D, 0x75, 0x76, 0xFF])
def test_an_opcode_that_carries_no_bytes_is_an_empty_name_or_value(opcode):
    """Any token will do for lbcd, and only pushes of data carry bytes: OP_1 is not the byte 1."""
    token, drops = bytes((opcode,)), b"\x6d\x75"
    named = read_claim_script(b"\xb5" + token + push(b"value") + drops + PAY)
    valued = read_claim_script(b"\xb5" + push(b"name") + token + drops + PAY)
    update = read_claim_script(b"\xb7" + token + push(CLAIM_ID) + token + b"\x6d\x6d" + PAY)
    assert (named.name, named.value, named.script) == (b"", b"value", PAY)
    assert (valued.name, valued.value, valued.script) == (b"name", b"", PAY)
    assert (update.name, update.value, update.script) == (b"", b"", PAY)


def test_a_support_has_a_value_with_bytes_or_none():
    """Without the check a support of an empty value would count, which lbcd does not count."""
    for value, claims in ((push(b"v"), True), (b"\0", False), (b"\x51", False), (b"", False)):
        script = b"\xb6" + push(b"name") + push(CLAIM_ID) + value + b"\x6d\x6d" + PAY
        assert (read_claim_script(script) is not None) == claims


@pytest.mark.parametrize(("size", "is_claim"), [(255, True), (256, False)])
@pytest.mark.parametrize("opcode", ["b5", "b6", "b7"])
def test_a_name_has_at_most_255_bytes(size, is_claim, opcode):
    """Of all three kinds."""
    name = b"\x4d" + size.to_bytes(2, "little") + bytes(size)
    rest = {"b5": push(b"v") + b"\x6d\x75"}.get(opcode, push(CLAIM_ID) + push(b"v") + b"\x6d\x6d")
    claim = read_claim_script(bytes.fromhex(opcode) + name + rest + PAY)
    assert (claim is not None) == is_claim


@pytest.mark.parametrize(("size", "is_claim"), [(8192, True), (8193, False)])
@pytest.mark.parametrize("payment", [b"", PAY, bytes(10_000)])
def test_a_claim_has_at_most_8192_bytes_before_the_script_that_follows(size, is_claim, payment):
    """The limit is on what lbcd strips, through the last drop."""
    value = bytes(size - 1 - 2 - 3 - 2)
    script = b"\xb5" + push(b"n") + b"\x4d" + len(value).to_bytes(2, "little") + value + b"\x6d\x75"
    assert len(script) == size
    assert (read_claim_script(script + payment) is not None) == is_claim


@given(claim_scripts())
def test_a_claim_is_a_whole_script_before_another(script):
    """What is read, written again token by token, is what was there."""
    claim = read_claim_script(script)
    if claim is None:
        return
    before = script[: len(script) - len(claim.script)]
    assert len(claim.name) <= 255
    assert len(before) <= 8192
    assert (claim.claim_id is None) == (claim.kind == "claim")
    assert before[-2:] in (b"\x6d\x75", b"\x6d\x6d")
    assert claim.name in before
    assert (claim.value or b"") in before
    assert read_claim_script(before) == msgspec.structs.replace(claim, script=b"")
    for end in range(len(before)):
        assert read_claim_script(before[:end]) is None


@given(st.binary(max_size=80))
def test_nothing_makes_it_raise(script):
    """Scripts come from anybody."""
    for opcode in (b"", b"\xb5", b"\xb6", b"\xb7"):
        read_claim_script(opcode + script)


def test_claim_scripts_of_the_vectors_are_read(count):
    """Three of them are random bytes after a claim opcode; the others are claims."""
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
    assert new.to_dict() == {
        "kind": "claim",
        "name": "name",
        "claim_id": new.claim_id,
        "value": new.value.hex(),
    }
    assert msgspec.structs.replace(new, value=None).to_dict()["value"] is None
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
