"""Ends of connections: nothing is left to happen when all is over."""

from twisted.internet.task import Clock

from lbcproxy.proxy.graceful_close import GracefulClose


def test_what_was_to_happen_later_does_not_when_all_is_over():
    """Nor what is wanted then."""
    clock, happened = Clock(), []
    closing = GracefulClose(clock)
    closing.later(5, lambda: happened.append(1))
    closing.stop()
    closing.later(5, lambda: happened.append(2))
    assert clock.getDelayedCalls() == []
    clock.advance(10)
    assert happened == []
