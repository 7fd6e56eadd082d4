"""The reactions to messages that break the protocol, at the versions at which they change."""

import pytest

from lbcproxy.peer.effects import Log
from lbcproxy.peer.violations import (
    Reaction,
    duplicate,
    has_reject,
    malformed,
    unknown,
    unsupported,
)
from lbcproxy.wire.messages.reject import Reject, RejectCode


@pytest.mark.parametrize(("version", "ends"), [(70010, False), (70011, True), (70012, True)])
def test_bloom_filters_are_enforced_from_70011_on(version: int, ends: bool):
    """BIP111."""
    reaction = unsupported("filteradd", version)
    words = "sent an unsupported filteradd request"
    assert reaction.close == (words if ends else "")
    assert reaction.reject is None
    log = f"{words} -- disconnecting" if ends else "ignoring filteradd: bloom filters are not"
    assert reaction.log[0].level == "debug"
    assert reaction.log[0].text.startswith(log)


def test_a_strict_peer_rejects_a_duplicate():
    """A tolerant one ignores it."""
    words = "duplicate verack message"
    assert duplicate("verack", strict=False) == Reaction((Log("debug", f"ignoring {words}"),))
    reject = Reject(b"verack", RejectCode.DUPLICATE, words.encode())
    assert duplicate("verack", strict=True) == Reaction((), reject, words)


def test_an_unknown_command_is_ignored():
    """Its name is quoted: the node chose it."""
    assert unknown("a b") == Reaction((Log("debug", "ignoring unknown command 'a b'"),))


def test_what_is_malformed_is_ignored_forgiven_or_rejected():
    """In this order."""

    def react(ignored: str = "", *, forgiven: bool = False) -> Reaction:
        return malformed("bad", "1.2.3.4:5", ignored=ignored, forgiven=forgiven)

    assert react("tx", forgiven=True) == Reaction((Log("debug", "ignoring tx: bad"),))
    assert react(forgiven=True) == Reaction((Log("error", "allowed test error: bad"),))
    words = "can't read message from 1.2.3.4:5: bad"
    reject = Reject(b"malformed", RejectCode.MALFORMED, words.encode())
    assert react() == Reaction((Log("error", words),), reject, words)


@pytest.mark.parametrize(
    ("version", "tolerant", "strict"),
    [(70001, False, False), (70002, True, True), (70015, True, True), (70016, False, True)],
)
def test_reject_came_with_70002_and_went_with_70016(version: int, tolerant: bool, strict: bool):
    """A strict peer follows lbcd, which still has it."""
    assert has_reject(version, strict=False) is tolerant
    assert has_reject(version, strict=True) is strict
