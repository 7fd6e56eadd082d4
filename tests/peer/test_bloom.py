"""Tests of bloom filter commands that we do not offer (docs/peer-lbcd.md N, BIP111)."""

from typing import Any

import pytest

from lbcproxy.peer import PeerConfig, Policy
from lbcproxy.wire.messages.addresses import GetAddr
from lbcproxy.wire.messages.bloom import FilterAdd, FilterClear, FilterLoad
from lbcproxy.wire.record import MessageRecord
from tests.peer.builders import MAINNET, Wired, connect, encoded
from tests.peer.log_capture import LogCapture

BLOOM = 1 << 2
COMMANDS: list[MessageRecord] = [FilterLoad(b"\1", 1, 0, 0), FilterAdd(b"x"), FilterClear()]
POLICIES = [Policy.STRICT, Policy.TOLERANT]

pytestmark = [
    pytest.mark.parametrize("record", COMMANDS, ids=lambda record: record.command),
    pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.value),
]


def meet(policy: Policy, ours: int, version: int, **fields: Any) -> Wired:
    """A peer that signals services to a node of a version."""
    config = PeerConfig(network=MAINNET, policy=policy, services=ours)
    return connect(config).shake_hands(version, **fields)


@pytest.mark.parametrize("version", [70011, 70013])
@pytest.mark.parametrize("theirs", [0, 1, BLOOM])
def test_without_the_service_the_node_is_left_from_70011_on(
    record: MessageRecord, policy: Policy, version: int, theirs: int
):
    """It must have known; whether it signals the service itself does not matter (N2)."""
    wired = meet(policy, 1, version, services=theirs)
    with LogCapture() as log:
        wired.feed(record, GetAddr())
    assert wired.closed
    assert wired.commands == []
    assert set(wired.callbacks.names()) <= {"on_read", "on_disconnected"}
    assert f"sent an unsupported {record.command} request -- disconnecting" in log.lines[-1]


@pytest.mark.parametrize("theirs", [1, BLOOM])
def test_without_the_service_it_is_ignored_before_70011(
    record: MessageRecord, policy: Policy, theirs: int
):
    """A node of 70001 may not know that there is a service bit for it."""
    wired = meet(policy, 1, 70001, services=theirs)
    wired.feed(record, GetAddr())
    assert not wired.closed
    assert wired.commands == []
    assert wired.callbacks.names("on_read") == ["on_message", "on_getaddr"]


@pytest.mark.parametrize("version", [70001, 70011, 70013])
@pytest.mark.parametrize("theirs", [1, BLOOM])
def test_with_the_service_it_is_reported(
    record: MessageRecord, policy: Policy, version: int, theirs: int
):
    """What comes of it is the user's."""
    wired = meet(policy, 1 | BLOOM, version, services=theirs)
    wired.feed(record)
    assert not wired.closed
    assert wired.callbacks.of(f"on_{record.command}") == [(record,)]


@pytest.mark.parametrize("ours", [0, BLOOM])
def test_at_70000_it_is_malformed(record: MessageRecord, policy: Policy, ours: int):
    """The commands came with 70001; a `reject` cannot be sent either."""
    wired = meet(policy, ours, 70000)
    with LogCapture() as log:
        wired.feed(encoded(record))
    assert wired.closed is (policy is Policy.STRICT)
    assert wired.commands == []
    assert set(wired.callbacks.names()) <= {"on_read", "on_disconnected"}
    assert any("needs protocol version 70001" in line for line in log.lines)


@pytest.mark.parametrize("ours", [0, BLOOM])
def test_at_70010_it_depends_on_the_service(record: MessageRecord, policy: Policy, ours: int):
    """The last version at which one may be ignorant of BIP111."""
    wired = meet(policy, ours, 70010)
    wired.feed(record)
    assert not wired.closed
    assert wired.callbacks.names("on_read", "on_message") == [f"on_{record.command}"] * bool(ours)
