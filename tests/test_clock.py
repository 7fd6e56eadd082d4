"""What `lbcproxy.clock` promises, kept by Twisted's clocks."""

import inspect

import pytest
from twisted.internet import task
from twisted.internet.base import DelayedCall as TwistedDelayedCall
from twisted.internet.base import ReactorBase

from lbcproxy.clock import Clock, DelayedCall


@pytest.mark.parametrize(
    ("protocol", "implementation"),
    [(Clock, task.Clock), (Clock, ReactorBase), (DelayedCall, TwistedDelayedCall)],
)
def test_twisted_has_every_method(protocol, implementation):
    """`clock_types.py` holds the types; this holds the names, without mypy."""
    for name, method in inspect.getmembers(protocol, inspect.isfunction):
        if name[0] != "_":
            assert hasattr(implementation, name) or name == "seconds", name
            assert method.__doc__


def test_a_call_is_made_when_the_time_has_come():
    """`callLater` passes arguments on, and a cancelled call is not active."""
    clock: Clock = task.Clock()
    made = []
    call = clock.callLater(2, made.append, "due")
    cancelled = clock.callLater(1, made.append, "never")
    assert call.active()
    assert call.getTime() == 2
    cancelled.cancel()
    assert not cancelled.active()
    clock.advance(2)
    assert made == ["due"]
    assert clock.seconds() == 2
