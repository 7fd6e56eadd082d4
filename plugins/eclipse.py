"""Hide new blocks from the client: an eclipse.

Usage: lbcproxy run ... -s "eclipse after=100"

Blocks up to the height that the upstream had at the handshake pass, and `after` more. Then headers,
announcements and blocks stop, while everything else continues. This shows what the client does when
its peer falls behind.
"""

from lbcproxy.plugin import Direction, Drop, Plugin, Replace

BLOCKS = (2, 3, 4, 0x40000002)
"""The types of inventory that are blocks: full, filtered, compact, with witness."""


class Eclipse(Plugin):
    """Drop everything that announces new blocks to the client."""

    after: int = 0

    def __init__(self):
        self.passed = 0

    def on_block(self, session, message):
        return self._decide(session, message, 1)

    def on_cmpctblock(self, session, message):
        return self._decide(session, message, 1)

    def on_headers(self, session, message):
        return self._decide(session, message, 0)

    def on_inv(self, session, message):
        if message.direction is not Direction.TO_CLIENT or not self._is_eclipsed(session):
            return None
        if message.record is None:
            return None
        kept = tuple(each for each in message.record.inventory if each.type not in BLOCKS)
        if len(kept) == len(message.record.inventory):
            return None
        return Replace(message.replace(inventory=kept), why="eclipse") if kept else Drop("eclipse")

    def _decide(self, session, message, blocks):
        if message.direction is not Direction.TO_CLIENT:
            return None
        if self._is_eclipsed(session):
            return Drop("eclipse")
        self.passed += blocks
        return None

    def _is_eclipsed(self, session):
        version = session.upstream.version
        height = 0 if version is None else max(version.start_height or 0, 0)
        return self.passed >= height + self.after
