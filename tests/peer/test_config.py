"""Tests of PeerConfig: what would fail later is refused when the config is made."""

import math
from typing import Any

import msgspec
import pytest

from lbcproxy.peer import PeerConfig, Timeouts
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
