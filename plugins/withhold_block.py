"""Withhold each block for a while, then send it; everything else passes.

Usage: lbcproxy run ... -s "withhold_block seconds=30"

With block_hash=... only that block. A node that waits for it may ask again, or disconnect.
"""

from lbcproxy.plugin import Drop, Plugin


class WithholdBlock(Plugin):
    """Drop a block and inject it later."""

    seconds: float = 10.0
    block_hash: str = ""

    def on_block(self, session, message):
        if message.record is None:
            return None
        shown = message.record.header.hash[::-1].hex()
        if self.block_hash not in ("", shown):
            return None
        release = f"withheld for {self.seconds:g} s"
        session.later(self.seconds, lambda: session.inject(message.direction, message, why=release))
        return Drop(release)
