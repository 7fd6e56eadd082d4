"""A real conversation of Bitcoin nodes, with witnesses, in Wireshark with our dissector."""

import hashlib
from pathlib import Path

import pytest

from lbcproxy.capture import open_capture
from lbcproxy.wire import Codec
from lbcproxy.wire.hashes import from_display
from lbcproxy.wire.messages.transactions import Tx, TxIn, TxOut
from tests.live.proxies import Proxy
from tests.nodes import ANYONE, KINDS, SPEND, Node, wait_until
from tests.wireshark.judging import compared, run_tshark

pytestmark = pytest.mark.live

BLOCKS = 450
"""Witnesses are valid on btcd's regtest from block 432 on."""
FEE = 10_000
WITNESS_PROGRAM = b"\x00\x20" + hashlib.sha256(ANYONE).digest()


def sent(node: Node, script: bytes, outpoint: tuple[bytes, int], *spend: bytes, value: int) -> Tx:
    """Send a transaction that spends an output, with a script or a witness, and return it."""
    script_sig, *witness = spend
    tx_in = TxIn(outpoint[0], outpoint[1], script_sig, 0xFFFFFFFF, tuple(witness))
    output = TxOut(value=value, script_pubkey=script)
    transaction = Tx(version=1, inputs=(tx_in,), outputs=(output,), lock_time=0)
    node.control("sendrawtransaction", Codec(node.kind.network).encode(transaction).hex())
    return transaction


def test_a_bitcoin_capture_has_the_same_fields(tmp_path: Path):
    """Two nodes sync and relay through lbcproxy: blocks, transactions with and without witness."""
    kind = KINDS["btcd"]
    a = Node(kind, tmp_path / "a")
    proxy, b = None, None
    try:
        a.start()
        a.generate(BLOCKS)
        proxy = Proxy(kind.network, a.port, tmp_path / "proxy")
        b = Node(kind, tmp_path / "b", connect=proxy.port)
        b.start()
        wait_until("B has A's blocks", lambda: b.height >= BLOCKS, 60)
        txid, value = a.coinbase(5)
        paid = sent(a, WITNESS_PROGRAM, (from_display(txid), 0), SPEND, value=value - FEE)
        wait_until("B has the transaction", lambda: len(b.mempool) == 1)
        a.generate(1)
        wait_until("B has its block", lambda: a.tip == b.tip)
        sent(b, WITNESS_PROGRAM, (paid.txid, 0), b"", ANYONE, value=value - 2 * FEE)
        wait_until("A has the transaction", lambda: len(a.mempool) == 1)
        a.generate(1)
        wait_until("B has its block", lambda: a.tip == b.tip)
        assert proxy.stop() == 0
    finally:
        for each in (b, a):
            if each is not None:
                each.stop()
        if proxy is not None:
            proxy.close()

    records = [entry.message.record for entry in open_capture(proxy.capture) if entry.message]
    transactions = [each for each in records if isinstance(each, Tx)]
    assert sorted(bool(each.inputs[0].witness) for each in transactions) == [False, True]
    assert compared(tmp_path, proxy.capture) == len(records) > BLOCKS
    assert (
        run_tshark(tmp_path, proxy.capture, "-o", "lbry.bitcoin:TRUE", "-Y", "_ws.malformed") == ""
    )
    assert run_tshark(tmp_path, proxy.capture, "-Y", "lbry") == ""  # if nobody says so
