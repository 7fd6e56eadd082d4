"""What all tests say of their captures."""

import os

import pytest


@pytest.fixture(scope="session")
def lbcproxy_config():
    """The network, and the node that is recorded when somebody asks for it."""
    return {
        "network": "lbry-regtest",
        "upstream": os.environ.get("LIGHTCLIENT_NODE", "127.0.0.1:29246"),
    }
