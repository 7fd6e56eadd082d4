"""Hide one transaction: it is not announced, requested or sent.

Usage: lbcproxy run ... -s "black_hole txid=4a5e1e4b..." (all 64 digits, as explorers show them)

Without a txid every transaction is hidden.
"""

from lbcproxy.plugin import Drop, Plugin, Replace

TRANSACTIONS = (1, 5, 0x40000001)
"""The types of inventory that are transactions: tx, wtx, tx with witness."""


class BlackHole(Plugin):
    """Drop the announcement, the request and the transaction."""

    txid: str = ""

    def on_inv(self, session, message):
        return self._without(message)

    def on_getdata(self, session, message):
        return self._without(message)

    def on_tx(self, session, message):
        if message.record is not None and self._is_it(message.record.txid):
            return Drop("into the black hole")
        return None

    def _without(self, message):
        if message.record is None:
            return None
        kept = tuple(each for each in message.record.inventory if not self._is_hidden(each))
        if len(kept) == len(message.record.inventory):
            return None
        if not kept:
            return Drop("into the black hole")
        return Replace(message.replace(inventory=kept), why="into the black hole")

    def _is_hidden(self, thing):
        return thing.type in TRANSACTIONS and self._is_it(thing.hash)

    def _is_it(self, txid):
        return self.txid in ("", txid[::-1].hex())
