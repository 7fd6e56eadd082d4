"""Proxies that lead to proxies of the same process: a chain is a way, a circle is none."""

import itertools

from lbcproxy.endpoint import Endpoint
from lbcproxy.proxy.loop_guard import LoopGuard

A, B, C = (Endpoint("127.0.0.1", port) for port in (1, 2, 3))


class Session:
    """A session by its listener; records whether it was ended."""

    def __init__(self, listen):
        self.listen = listen
        self.ended = 0

    def leads_back(self):
        self.ended += 1


def way(connections, *listens, port=1000):
    """Add sessions at listeners, each dialled by the previous one; return what `add` returned."""
    sessions = [Session(listen) for listen in listens]
    news = []
    for number, (one, next_) in enumerate(itertools.pairwise(sessions)):
        ends = Endpoint("127.0.0.1", port + number), next_.listen
        news.append(connections.add(*ends, one, dialled=True))
        news.append(connections.add(*ends, next_, dialled=False))
    return sessions, news


def test_one_proxy_may_lead_to_another():
    """Three in a row, as for a tap before a proxy that does the handshake."""
    sessions, news = way(LoopGuard(), A, B, C)
    assert all(news)
    assert [each.ended for each in sessions] == [0, 0, 0]


def test_a_session_that_leads_to_its_own_listener_is_ended():
    """At both ends of the connection that closed the circle."""
    sessions, news = way(LoopGuard(), A, A)
    assert news == [True, False]
    assert [each.ended for each in sessions] == [1, 1]


def test_a_circle_over_others_is_ended_too():
    """A, B, C, and A again."""
    sessions, news = way(LoopGuard(), A, B, C, A)
    assert news == [True, True, True, True, True, False]
    assert [each.ended for each in sessions] == [0, 0, 1, 1]


def test_the_order_in_which_both_ends_are_added_does_not_matter():
    """The reactor may tell of the accepted one first."""
    connections, first, second = LoopGuard(), Session(A), Session(A)
    ends = Endpoint("127.0.0.1", 1000), A
    assert connections.add(*ends, second, dialled=False)
    assert not connections.add(*ends, first, dialled=True)
    assert first.ended == second.ended == 1


def test_an_address_that_means_the_same_is_the_same():
    """Dialling an unspecified address reaches loopback, and IPv6 may contain IPv4."""
    connections, first, second = LoopGuard(), Session(A), Session(A)
    dialler = Endpoint("127.0.0.1", 1000)
    assert connections.add(dialler, Endpoint("0.0.0.0", 1), first, dialled=True)
    mapped = Endpoint("::ffff:127.0.0.1", 1000), Endpoint("::ffff:127.0.0.1", 1)
    assert not connections.add(*mapped, second, dialled=False)


def test_what_is_gone_is_forgotten():
    """Ports are used again, and months are long."""
    connections = LoopGuard()
    sessions, _ = way(connections, A, B)
    ends = Endpoint("127.0.0.1", 1000), B
    for dialled in (True, False):
        connections.remove(*ends, dialled=dialled)
        connections.remove(*ends, dialled=dialled)
    assert connections._holders == connections._before == {}
    assert connections.add(*ends, sessions[0], dialled=True)
