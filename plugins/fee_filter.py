"""Change the minimum fee that each node asks the other to respect.

Usage: lbcproxy run ... -s "fee_filter min_fee=100000"
"""

from lbcproxy.plugin import Plugin, Replace


class FeeFilter(Plugin):
    """Rewrite `feefilter`; the fee is in base units per 1,000 bytes."""

    min_fee: int = 0

    def on_feefilter(self, session, message):
        return None if message.record is None else Replace(message.replace(min_fee=self.min_fee))
