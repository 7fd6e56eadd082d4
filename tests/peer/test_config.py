"""Tests of PeerConfig: what would fail later is refused when the config is made."""

import math
from typing import Any

import msgspec
import pytest

from lbcproxy import __version__, networks
from lbcproxy.peer import PeerConfig, Policy, StallMode, Timeouts, Transport
from tests.peer.builders import CONFIG


@pytest.mark.parametrize("name", Timeouts.__struct_fields__)
@pytest.mark.parametrize("seconds", [0, -1, math.inf, math.nan])
def test_a_timeout_is_a_time(name: str, seconds: float):
    """A tick of no seconds would spin; one without end is none."""
    with pytest.raises(ValueError, match=rf"timeouts\.{name} must be a number of seconds"):
        Timeouts(**{name: seconds})


@pytest.mark.parametrize(
    ("field", "value", "error", "words"),
    [
        ("network", "lbry-mainnet", TypeError, r"networks\.get"),
        ("policy", "strict", TypeError, "policy must be a Policy, not 'strict'"),
        ("stall", "off", TypeError, "stall must be a StallMode"),
        ("timeouts", 5, TypeError, "timeouts must be a Timeouts"),
        ("services", -1, ValueError, "services must be from 0 to 18446744073709551615: -1"),
        ("services", 1 << 64, ValueError, "services"),
        ("protocol_version", -1, ValueError, "protocol_version must be from 0"),
        ("protocol_version", 1 << 31, ValueError, "protocol_version"),
        ("most_queued", 0, ValueError, "most_queued must be from 1"),
        ("most_inventory", -1, ValueError, "most_inventory must be from 0"),
    ],
)
def test_what_would_fail_later_is_refused_at_once(
    field: str, value: Any, error: type[Exception], words: str
):
    """With the name of the field, also when a config is changed."""
    with pytest.raises(error, match=words):
        PeerConfig(**{"network": CONFIG.network, field: value})
    with pytest.raises(error, match=words):
        msgspec.structs.replace(CONFIG, **{field: value})


def test_the_times_are_those_of_the_documents():
    """docs/peer.md has them, and what users rely on."""
    expected = {
        "negotiate": 30,
        "idle": 300,
        "ping": 120,
        "stall_tick": 15,
        "answer": 30,
        "headers": 90,
        "callback": 3600,
        "write": 20,
        "close": 5,
    }
    assert msgspec.structs.asdict(Timeouts()) == expected


def test_a_config_needs_only_a_network():
    """Everything else has a default."""
    fields = msgspec.structs.asdict(PeerConfig(network=CONFIG.network))
    assert fields == {
        "network": CONFIG.network,
        "policy": Policy.TOLERANT,
        "transport": Transport.V1,
        "user_agent_name": "",
        "user_agent_version": "",
        "user_agent_comments": (),
        "user_agent": None,
        "services": 0,
        "protocol_version": None,
        "keepalive": True,
        "relay": True,
        "offers": None,
        "hold_verack": False,
        "newest_block": None,
        "host_to_address": None,
        "proxy": "",
        "trickle_interval": 10.0,
        "allow_self_connections": False,
        "stall": StallMode.ENFORCE,
        "timeouts": Timeouts(),
        "most_queued": 96 * 1024 * 1024,
        "most_inventory": 100_000,
    }


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("services", [0, 2**64 - 1]),
        ("protocol_version", [0, 2**31 - 1]),
        ("most_queued", [1, 2**63]),
        ("most_inventory", [0, 2**63]),
    ],
)
def test_the_ends_of_a_range_are_in_it(field: str, values: list[int]):
    """And what is beyond them is not."""
    for value, beyond in zip(values, (values[0] - 1, values[1] + 1), strict=True):
        assert getattr(PeerConfig(**{"network": CONFIG.network, field: value}), field) == value
        with pytest.raises(ValueError, match=f"{field} must be from {values[0]} to {values[1]}"):
            PeerConfig(**{"network": CONFIG.network, field: beyond})


def test_the_highest_version_is_that_of_the_policy_unless_another_is_given():
    """0 is none. A tolerant peer speaks what nodes speak today."""
    network = CONFIG.network
    strict = PeerConfig(network=network, policy=Policy.STRICT)
    assert strict.highest_version == network.protocol_version == 70013
    assert PeerConfig(network=network).highest_version == 70016
    assert PeerConfig(network=network, protocol_version=1).highest_version == 1
    assert PeerConfig(network=network, protocol_version=0).highest_version == 70016


@pytest.mark.parametrize(("interval", "used"), [(-1, 10), (0, 10), (0.5, 0.5), (1, 1), (7, 7)])
def test_a_trickle_that_is_not_positive_is_the_default(interval: float, used: float):
    """A tick of no seconds would spin."""
    assert PeerConfig(network=CONFIG.network, trickle_interval=interval).trickle == used


@pytest.mark.parametrize(
    ("network", "host", "forgiven"),
    [
        ("lbry-regtest", "127.0.0.1", True),
        ("lbry-regtest", "localhost", True),
        ("lbry-regtest", "127.0.0.2", False),
        ("lbry-mainnet", "127.0.0.1", False),
    ],
)
def test_only_a_local_host_of_regtest_is_forgiven(network: str, host: str, forgiven: bool):
    """As lbcd does for its tests (M3)."""
    assert PeerConfig(network=networks.get(network)).forgives(host) is forgiven


def test_a_user_agent_of_256_bytes_may_be_sent():
    """Of a longer one only our own part is."""
    ours = f"/lbcproxy:{__version__}/".encode()

    def agent(**fields: Any) -> bytes:
        return PeerConfig(network=CONFIG.network, **fields).full_user_agent()

    assert agent() == ours
    assert agent(user_agent=b"/x/") == b"/x/"
    assert agent(user_agent=b"") == b""
    assert agent(user_agent_name="n", user_agent_version="1") == ours + b"n:1/"
    comments = agent(user_agent_name="n", user_agent_comments=("a", "b"))
    assert comments == ours + b"n:(a; b)/"
    name = "n" * (256 - len(ours) - len(":1/"))
    assert len(agent(user_agent_name=name, user_agent_version="1")) == 256
    assert agent(user_agent_name=name + "n", user_agent_version="1") == ours
