"""Delay announcements: each `inv` waits, and everything after it in its direction.

Usage: lbcproxy run ... -s "slow_inventory seconds=2"
"""

from lbcproxy.plugin import Delay, Plugin


class SlowInventory(Plugin):
    """Delay inventories by so many seconds."""

    seconds: float = 1.0

    def on_inv(self, session, message):
        return Delay(self.seconds)
