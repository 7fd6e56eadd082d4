"""lbcproxy's own relay without a recording, with or without somebody who looks at what passes.

`python -m benchmarks.rivals.relay LISTEN UPSTREAM unwatched|unread|read`, ports of 127.0.0.1.
Unwatched, bytes are passed and not looked at; unread, messages are found, checked and counted, and
nobody reads them; read, all are decoded, as a plugin would have it that asks for all.
"""

from __future__ import annotations

import sys
from typing import Any, cast

from twisted.internet import reactor as the_reactor  # noqa: TID251  # a program of its own
from twisted.internet.defer import Deferred

from benchmarks.blocks import NETWORK
from lbcproxy.proxy import ProxyService, ProxySettings, parse_mode
from lbcproxy.session import Observer, SessionInfo
from lbcproxy.session.events import Delivered, SessionEvent
from lbcproxy.session.session import STREAM_ABOVE


class Watcher:
    """Counts messages."""

    count = 0

    def session_started(self, _info: SessionInfo) -> Watcher:
        """Observe each session alike."""
        return self

    def handle(self, event: SessionEvent) -> None:
        """Count the messages that passed."""
        if isinstance(event, Delivered):
            self.count += sum(len(delivery.entries) for delivery in event.deliveries)


class Reader:
    """Reads every message."""

    def session_started(self, _info: SessionInfo) -> Reader:
        """Observe each session alike."""
        return self

    def handle(self, event: SessionEvent) -> None:
        """Decode the messages that passed."""
        for delivery in event.deliveries if isinstance(event, Delivered) else ():
            for entry in delivery.entries:
                assert entry.message is not None
                if entry.message.error is not None:  # an observer that raises is told no more
                    sys.exit(f"{entry.command} is said to be malformed: {entry.message.error}")


reactor = cast("Any", the_reactor)

OBSERVERS: dict[str, tuple[Observer, ...]] = {
    "unwatched": (),
    "unread": (Watcher(),),
    "read": (Reader(),),
}


def main(listen: str, upstream: str, reads: str) -> None:
    """Listen until SIGTERM."""
    settings = ProxySettings(
        network=NETWORK,
        modes=(parse_mode(f"reverse:127.0.0.1:{upstream}@{listen}"),),
        stream_above=None if reads == "read" else STREAM_ABOVE,
    )
    service = ProxyService(reactor, settings, OBSERVERS[reads])
    Deferred.fromCoroutine(service.listen())
    reactor.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
