"""The values that a core returns and keeps: none can be changed by those who get it."""

import pytest

from lbcproxy.peer import PeerConfig, PeerStatistics, Timeouts
from lbcproxy.peer.effects import (
    Deliver,
    Disconnect,
    Disconnected,
    Log,
    RawFrame,
    Read,
    Ready,
    Resolve,
    Write,
)
from lbcproxy.peer.handshake import Response
from lbcproxy.peer.sender import Queued
from lbcproxy.peer.violations import Reaction

FOR_EACH_MESSAGE = [
    Deliver,
    Disconnect,
    Disconnected,
    Log,
    Queued,
    RawFrame,
    Read,
    Ready,
    Resolve,
    Write,
]
OTHERS = [PeerConfig, PeerStatistics, Reaction, Response, Timeouts]


@pytest.mark.parametrize("kind", [*FOR_EACH_MESSAGE, *OTHERS], ids=lambda kind: kind.__name__)
def test_a_value_cannot_be_changed(kind: type):
    """What was decided is what is done."""
    assert kind.__struct_config__.frozen  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", FOR_EACH_MESSAGE, ids=lambda kind: kind.__name__)
def test_what_is_made_for_each_message_costs_the_collector_nothing(kind: type):
    """It is in no cycle, and there are many."""
    assert not kind.__struct_config__.gc  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", OTHERS[:2] + OTHERS[4:], ids=lambda kind: kind.__name__)
def test_what_has_many_fields_takes_them_by_name(kind: type):
    """Their order is nobody's business."""
    with pytest.raises(TypeError, match="positional"):
        kind(1)


def test_a_raw_frame_has_a_summary_without_being_decoded():
    """As records have."""
    assert RawFrame("tx").summary() == "as it came"


def test_an_effect_has_no_error_unless_it_is_given():
    """A message that was not sent may be one that could not be."""
    assert Resolve(1, True).error is None
    assert Read(1, None, "why").junk == b""
