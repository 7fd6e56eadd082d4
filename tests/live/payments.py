"""Transactions that one real node sends and another mines."""

from lbcproxy.wire import Codec
from lbcproxy.wire.hashes import display, from_display
from lbcproxy.wire.messages.transactions import Tx, TxIn, TxOut
from tests.nodes import PAY_TO_ANYONE, SPEND, Node, wait_until

FEE = 10_000


def pay_and_mine(sender: Node, receiver: Node, height: int) -> str:
    """Spend a block's reward on one node, see it reach the other, mine it there; return its id."""
    txid, value = sender.coinbase(height)
    transaction = Tx(
        version=1,
        inputs=(
            TxIn(prev_hash=from_display(txid), prev_index=0, script_sig=SPEND, sequence=0xFFFFFFFF),
        ),
        outputs=(TxOut(value=value - FEE, script_pubkey=PAY_TO_ANYONE),),
        lock_time=0,
    )
    raw = Codec(sender.kind.network).encode(transaction)
    sent = sender.control("sendrawtransaction", raw.hex())
    assert sent == display(transaction.txid)
    wait_until("the other node has the transaction", lambda: sent in receiver.mempool)
    receiver.generate(1)
    wait_until("both have the same tip again", lambda: sender.tip == receiver.tip)
    assert not sender.mempool
    assert not receiver.mempool
    return sent
