"""Show the client a world in which no block is found any more: an eclipse.

Usage: lbcproxy run ... -s "eclipse after=100"

Blocks up to the height that the upstream had at the handshake and `after` more pass; then headers,
announcements and blocks stop, and everything else goes on. What the client does when its peer
falls behind is what you want to see.
"""

from lbcproxy.plugin import Direction, Drop, Plugin, Replace

BLOCKS = (2, 3, 4, 0x40000002)
"""The kinds of inventory that are blocks: whole, filtered, compact, with witness."""


class Eclipse(Plugin):
    """Drop what tells the client of new blocks."""

    after: int = 0

    def __init__(self):
        self.passed = 0

    def on_block(self, session, message):
        return self._judge(session, message, 1)

    def on_cmpctblock(self, session, message):
        return self._judge(session, message, 1)

    def on_headers(self, session, message):
        return self._judge(session, message, 0)

    def on_inv(self, session, message):
        if message.direction is not Direction.TO_CLIENT or not self._is_dark(session):
            return None
        if message.record is None:
            return None
        kept = tuple(each for each in message.record.inventory if each.type not in BLOCKS)
        if len(kept) == len(message.record.inventory):
            return None
        return Replace(message.replace(inventory=kept), why="eclipse") if kept else Drop("eclipse")

    def _judge(self, session, message, blocks):
        if message.direction is not Direction.TO_CLIENT:
            return None
        if self._is_dark(session):
            return Drop("eclipse")
        self.passed += blocks
        return None

    def _is_dark(self, session):
        version = session.upstream.version
        height = 0 if version is None else max(version.start_height or 0, 0)
        return self.passed >= height + self.after
