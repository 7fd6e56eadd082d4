"""One client's way to an upstream: in order, again for a while, never longer than was said."""

from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectingCancelledError, DNSLookupError
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.task import Clock

from lbcproxy.endpoint import Endpoint
from lbcproxy.proxy.connector import RETRY_INTERVAL, Connector

A, B = Endpoint("a", 1), Endpoint("b", 2)


class Network:
    """Plays the endpoints; `refuse` and `accept` say how the attempt under way goes."""

    def __init__(self, *upstreams: Endpoint, retry: float = 0.0) -> None:
        self.clock = Clock()
        self.tried: list[Endpoint] = []
        self.attempt: Deferred[Any] | None = None
        self.results: list[Any] = []
        self.dialling = Connector(
            self.clock, upstreams, timeout=30, retry=retry, endpoint=self.endpoint
        )
        self.connected = self.dialling.connect("factory").addBoth(self.results.append)

    def endpoint(self, reactor: Clock, address: Endpoint, timeout: float) -> "Network":
        assert (reactor, timeout) == (self.clock, 30)
        self.tried.append(address)
        return self

    def connect(self, factory: str) -> Deferred[Any]:
        assert factory == "factory"
        error = ConnectingCancelledError(IPv4Address("TCP", "a", 1))
        self.attempt = Deferred(lambda deferred: deferred.errback(error))
        return self.attempt

    def refuse(self, error: BaseException | None = None) -> None:
        self.attempt.errback(error or Refused(111))

    def accept(self) -> None:
        self.attempt.callback("peer")


def test_the_first_that_answers_is_taken():
    """The order is the operator's."""
    network = Network(A, B)
    network.refuse(DNSLookupError("no such host"))
    assert (network.tried, network.results) == ([A, B], [])
    network.accept()
    assert network.results == ["peer"]
    assert network.dialling.leads_to == B
    assert network.clock.getDelayedCalls() == []


def test_each_client_begins_with_the_first():
    """An upstream that is back is taken again."""
    assert Network(A, B).tried == Network(A, B).tried == [A]


def test_a_refusal_fails_at_once_with_its_error():
    """Without a time to try again nothing waits."""
    network = Network(A)
    network.refuse()
    assert network.results[0].check(Refused)
    assert network.results[0].value.osError == 111
    assert network.clock.getDelayedCalls() == []


def test_the_last_failure_is_reported():
    """The others are in the log."""
    network = Network(A, B)
    network.refuse()
    network.refuse(DNSLookupError("no such host"))
    assert network.results[0].check(DNSLookupError)


def test_all_are_tried_again_until_the_time_is_over():
    """A node that restarts has that long to come back."""
    network = Network(A, B, retry=1.2)
    for _ in range(2):
        network.refuse()
        network.refuse()
        network.clock.advance(RETRY_INTERVAL)
    assert network.tried == [A, B, A, B, A]
    network.refuse()
    assert network.results == []
    network.refuse()  # at 1.0; the next round would be at 1.5
    assert network.results[0].check(Refused)
    assert network.clock.getDelayedCalls() == []


def test_a_node_that_is_back_is_found():
    """The client has its session, and knows nothing of it."""
    network = Network(A, retry=60)
    for _ in range(100):
        network.refuse()
        network.clock.advance(RETRY_INTERVAL)
    network.accept()
    assert network.results == ["peer"]
    assert network.clock.seconds() == 100 * RETRY_INTERVAL


@pytest.mark.parametrize("pausing", [False, True])
def test_a_client_that_leaves_ends_it(pausing: bool):
    """No attempt continues after that, whether cancelled in an attempt or between two."""
    network = Network(A, B, retry=60)
    if pausing:
        network.refuse()
        network.refuse()
    network.connected.cancel()
    assert network.results[0].check(ConnectingCancelledError, CancelledError)
    assert network.clock.getDelayedCalls() == []
    assert network.tried == ([A, B] if pausing else [A])


def test_an_upstream_has_its_time_and_no_more():
    """Looking up its name is in it: of that, Twisted's endpoints do not take care."""
    network = Network(A, B)
    network.clock.advance(30)
    assert network.tried == [A, B]
    network.clock.advance(30)
    assert network.results[0].check(ConnectTimeout)
    assert network.clock.getDelayedCalls() == []


def test_a_name_that_cannot_be_is_not_found():
    """A client of a SOCKS proxy may ask for any; Twisted calls it a ValueError."""
    network = Network(A)
    network.refuse(ValueError("invalid hostname: a..b"))
    assert network.results[0].check(DNSLookupError)


def test_a_look_up_that_is_cancelled_is_not_followed_by_another():
    """Twisted's endpoint then reports that there is no such name."""
    network = Network(A, B, retry=60)
    network.attempt._canceller = lambda attempt: attempt.errback(DNSLookupError("no such host"))
    network.connected.cancel()
    assert network.tried == [A]
    assert network.results[0].check(DNSLookupError)
    assert network.clock.getDelayedCalls() == []


def test_a_defect_is_not_tried_again():
    """What no network does is not hidden."""
    network = Network(A, B, retry=60)
    network.refuse(RuntimeError("a defect"))
    assert network.results[0].check(RuntimeError)
    assert network.tried == [A]
