"""lbcproxy's own relay without a recording, and perhaps with a reader, as a plugin would be one.

`python -m benchmarks.rivals.relay LISTEN UPSTREAM unread|read`, ports of 127.0.0.1.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from twisted.internet import reactor  # noqa: TID251  # a program of its own
from twisted.internet.defer import Deferred

from benchmarks.blocks import NETWORK
from lbcproxy.proxy import ProxyService, ProxySettings, parse_mode
from lbcproxy.session import Direction, Observer, Passage, SessionFacts
from lbcproxy.session.session import STREAM_ABOVE


class Reader(Observer):
    """Reads every message."""

    def passed(
        self, facts: SessionFacts, direction: Direction, passages: Sequence[Passage], time_ns: int
    ) -> None:
        """Decode what was completed."""
        for passage in passages:
            if passage.entry is not None and passage.entry.message is not None:
                assert passage.entry.message.error is None


def main(listen: str, upstream: str, reads: str) -> None:
    """Listen until SIGTERM."""
    settings = ProxySettings(
        network=NETWORK,
        modes=(parse_mode(f"reverse:127.0.0.1:{upstream}@{listen}"),),
        stream_above=None if reads == "read" else STREAM_ABOVE,
    )
    service = ProxyService(reactor, settings, (Reader(),) if reads == "read" else ())
    Deferred.fromCoroutine(service.listen())
    reactor.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
