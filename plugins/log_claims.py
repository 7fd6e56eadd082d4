"""Print every LBRY name that is claimed, supported or updated, and a table at the end.

Usage: lbcproxy run --network lbry-mainnet ... -q -s log_claims
"""

from collections import Counter

from lbcproxy.plugin import Plugin
from lbcproxy.wire.claims import claims_of


class LogClaims(Plugin):
    """Read transactions, alone and in blocks; change nothing."""

    def __init__(self):
        self.seen = Counter()

    def on_tx(self, session, message):
        if message.record is not None:
            self._log(session, [message.record])

    def on_block(self, session, message):
        if message.record is not None:
            self._log(session, message.record.transactions)

    def on_end(self, session, why):
        for (kind, name), count in sorted(self.seen.items()):
            print(f"{count:6} {kind:8} {name}")

    def _log(self, session, transactions):
        for txid, claim in claims_of(transactions):
            self.seen[claim.kind, claim.name] += 1
            print(f"#{session.number} {claim.kind} {claim.name!r} {claim.claim_id} in {txid}")
