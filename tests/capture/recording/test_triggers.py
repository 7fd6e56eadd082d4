"""Why a ring is written."""

import pytest

from lbcproxy.capture.recording.triggers import DEFAULT_REASONS, REASONS, error_in, reason_of_end
from lbcproxy.session import Direction, End, EndCause, SessionSummary
from lbcproxy.session.end import STOPPED
from lbcproxy.session.node_state import NodeState
from lbcproxy.wire.envelope import frame
from tests.capture.recordings import INFO
from tests.session.frames import NETWORK, broken, ping, session, verack, version

UP = Direction.TO_UPSTREAM
REJECT = frame(NETWORK.magic, "reject", b"\x02tx\x10\x00" + bytes(32))
MODES = {EndCause.RESET, EndCause.CLOSED, EndCause.UNREACHABLE, EndCause.STOPPED}


@pytest.mark.parametrize(
    ("data", "reasons"),
    [
        (ping(1) + ping(2), set()),
        (ping(1) + REJECT, {"reject"}),
        (REJECT, {"reject"}),
        (version(), set()),
        (broken(ping(1)), {"error"}),
        (broken(REJECT), {"error"}),
        (b"rubbish" * 10, {"error"}),
        (ping(1)[:20], {"error"}),  # it ends too early
    ],
)
def test_bytes_that_are_wrong_and_rejects_are_reasons(data, reasons):
    """Whether messages passed together or alone."""
    core = session()
    found = [error_in(each) for each in core.receive(UP, data, 1)]
    found += [error_in(each) for each in core.end(UP, 2)]
    assert set(found) - {""} == reasons
    assert None not in found


def test_only_the_default_reasons_are_declared_ones():
    """What is in order is none of them."""
    assert set(DEFAULT_REASONS) < set(REASONS)
    assert set(REASONS) - set(DEFAULT_REASONS) == {"closed", "stop"}


def reasons(end, *, ready, was_reset=False):
    """Return the reasons that an end gives."""
    client, upstream = NodeState(), NodeState()
    core = session()
    if ready:
        for direction in Direction:
            core.receive(direction, version() + verack(), 1)
        client, upstream = core.client, core.upstream
    summary = SessionSummary(
        info=INFO,
        end=end,
        protocol_version=None,
        client=client.statistics(),
        upstream=upstream.statistics(),
    )
    return reason_of_end(summary, was_reset=was_reset)


@pytest.mark.parametrize("was_reset", [False, True])
@pytest.mark.parametrize("ready", [False, True])
def test_the_reasons_of_an_end(ready, was_reset):
    """The most specific first; a reset that came with another end counts."""
    refused = () if ready else ("refused",)
    reset = ("reset",) if was_reset else ()

    def found(cause):
        return reasons(End(cause), ready=ready, was_reset=was_reset)

    assert found(EndCause.UNREACHABLE) == ()
    assert reasons(STOPPED, ready=ready, was_reset=was_reset) == ("stop",)
    assert found(EndCause.RESET) == ("reset", *refused)
    assert found(EndCause.CLOSED) == (*reset, *refused, "closed")
    for cause in set(EndCause) - MODES - {EndCause.FAULT, EndCause.LOOP}:
        assert found(cause) == (*reset, *refused, *(() if was_reset else ("dropped",))), cause
    # The proxy itself reset the connections.
    for cause in (EndCause.FAULT, EndCause.LOOP):
        assert found(cause) == (*refused, "dropped")
