"""`lbcproxy probe` and real nodes."""

import json
import subprocess
import sys

import pytest

from lbcproxy.wire import Codec
from lbcproxy.wire.hashes import display, from_display
from lbcproxy.wire.messages.transactions import Tx, TxIn, TxOut
from tests.nodes import KINDS, PAY_TO_ANYONE, SPEND, Node, wait_until
from tests.tools import TIMEOUT

pytestmark = pytest.mark.live

BLOCKS = 110


@pytest.fixture(scope="module", params=KINDS)
def pair(request, tmp_path_factory):
    """Two nodes, one connected to the other, with a chain."""
    kind = KINDS[request.param]
    kind.programs()
    folder = tmp_path_factory.mktemp(f"probe-{request.param}")
    first = Node(kind, folder / "first")
    second = Node(kind, folder / "second", connect=first.port)
    try:
        first.start()
        first.generate(BLOCKS)
        second.start()
        wait_until("the second node has the chain", lambda: second.height == BLOCKS)
        yield first, second
    finally:
        second.stop()
        first.stop()


def probe(node, *arguments):
    """Probe a node; return exit code and object."""
    words = ["probe", "--network", node.kind.network_id, f"127.0.0.1:{node.port}", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "lbcproxy", *words, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT,
    )
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


def test_both_nodes_tell_the_same_headers(pair):
    """The first and the last are those that the nodes' own control program tells."""
    for node in pair:
        code, found = probe(node, "--headers", "--ping")
        assert code == 0
        assert found["headers"] == {
            "count": node.height,
            "first": node.control("getblockhash", 1),
            "last": node.tip,
        }
        assert 0 < found["ping"]["ms"] < 5000
        assert found["height"] == node.height
        assert "NETWORK" in found["service_names"]


def test_addresses_on_regtest_are_not_answered(pair):
    """Nodes say nothing then, and we say so."""
    node, _ = pair
    code, found = probe(node, "--addresses", "--ping", "--timeout", "2")
    assert code == 1
    assert found["addresses"] == {"error": "no answer in 2 s"}
    assert found["ping"]["ms"] > 0


def test_an_empty_mempool_is_an_answer(pair):
    """Nodes say nothing then; that they live is what we ask them besides."""
    node, other = pair
    node.generate(1)  # takes what another test has left there
    wait_until("both have the block", lambda: node.tip == other.tip)
    code, found = probe(node, "--mempool", "--timeout", "2")
    assert node.mempool == []
    assert (code, found["mempool"]) == (0, {"count": 0, "transactions": []})


def test_a_node_without_bloom_refuses_to_tell_its_mempool(pair, tmp_path):
    """It hangs up, and the user gets the likely reason."""
    node = Node(pair[0].kind, tmp_path, flags=("--nopeerbloomfilters",))
    try:
        node.start()
        code, found = probe(node, "--ping", "--mempool")
    finally:
        node.stop()
    assert "BLOOM" not in found["service_names"]
    assert found["ping"]["ms"] > 0
    assert code == 1
    how, why = found["mempool"]["error"].split("; ")
    assert how in ("closed by the node", "connection lost")  # by whether it has read all
    assert why == "without BLOOM a node refuses this question"


def test_a_transaction_in_the_mempool_is_reported(pair):
    """The last test: it leaves its transaction behind."""
    node, _ = pair
    txid, value = node.coinbase(1)
    spent = TxIn(prev_hash=from_display(txid), prev_index=0, script_sig=SPEND, sequence=0xFFFFFFFF)
    paid = TxOut(value=value - 10_000, script_pubkey=PAY_TO_ANYONE)
    payment = Tx(version=1, inputs=(spent,), outputs=(paid,), lock_time=0)
    raw = Codec(node.kind.network, 70013, "base").encode(payment)
    txid = node.control("sendrawtransaction", raw.hex())
    code, found = probe(node, "--mempool")
    assert code == 0
    assert found["mempool"] == {"count": 1, "transactions": [txid]}
    assert txid == display(payment.txid)
