"""Tests of Peer that belong to no single part of the protocol."""

from unittest.mock import Mock

import pytest
from twisted.internet.task import Clock

from lbcproxy import networks
from lbcproxy.peer import Peer, PeerConfig, Policy, RelayPeer

NETWORK = networks.get("lbry-regtest")


def test_a_transparent_peer_is_a_relay_peer_with_a_warning():
    """Programs that were written for the first release keep working."""
    config = PeerConfig(network=NETWORK, policy=Policy.TRANSPARENT)
    owner = Mock()
    with pytest.warns(DeprecationWarning, match=r"RelayPeer\(owner\)") as warned:
        peer = Peer(config, owner)
    assert warned[0].filename == __file__
    assert type(peer) is RelayPeer
    peer.dataReceived(b"in")
    owner.peer_received.assert_called_once_with(peer, b"in")


def test_a_class_of_one_s_own_cannot_be_transparent():
    """It would promise to write nothing, and do the handshake anyway."""

    class Own(Peer):
        def __init__(self, number: int):
            self.number = number
            super().__init__(PeerConfig(network=NETWORK, policy=Policy.TRANSPARENT), clock=Clock())

    with pytest.raises(TypeError, match="RelayPeer"):
        Own(1)


def test_only_what_our_version_says_can_be_shown_otherwise():
    """A policy changed half way would be half obeyed."""
    peer = Peer(PeerConfig(network=NETWORK), clock=Clock())
    peer.show(services=9, user_agent_name="other")
    assert peer.config.services == 9
    assert peer.core.config is peer.config  # so it is in our version
    with pytest.raises(TypeError, match="not in our version: policy, timeouts"):
        peer.show(policy=Policy.STRICT, timeouts=None)


def test_the_height_of_a_node_may_be_known_before_its_version():
    """0 is one."""
    peer = Peer(PeerConfig(network=NETWORK), clock=Clock())
    assert peer.snapshot().last_block is None
    for height, known in ((0, 0), (5, 5), (3, 5)):
        peer.update_last_block(height)
        assert peer.snapshot().last_block == known
