"""What a verdict is made of, and what it refuses."""

import pytest

from lbcproxy.plugin import Close, Delay, Drop, Inject, Raw, Replace
from lbcproxy.session import Direction
from lbcproxy.wire.messages.keepalive import Ping


def test_what_a_verdict_is_given_can_be_read_again():
    """The reason is empty unless it is given."""
    assert (Drop().why, Drop("x").why, Close().why, Close("y").why) == ("", "x", "", "y")
    replace = Replace(Ping(1), Raw(b"x"), why="z")
    assert (replace.messages, replace.why) == ((Ping(1), replace.messages[1]), "z")
    assert replace.messages[1].raw == b"x"
    inject = Inject(Ping(1))
    assert (inject.messages, inject.direction, inject.before) == ((Ping(1),), None, False)
    inject = Inject(Ping(1), direction=Direction.TO_CLIENT, before=True, why="w")
    assert (inject.direction, inject.before, inject.why) == (Direction.TO_CLIENT, True, "w")
    assert Inject().messages == ()
    assert repr(Raw(b"abc")) == "<Raw 3 bytes>"


@pytest.mark.parametrize("seconds", [0, 0.0, 1, 2.5, 1e300])
def test_a_delay_is_a_number_of_seconds(seconds):
    """Zero is one too."""
    delay = Delay(seconds, "late")
    assert (delay.seconds, type(delay.seconds), delay.why) == (seconds, float, "late")


@pytest.mark.parametrize("seconds", [-1, -0.001, float("inf"), float("nan"), "1", None])
def test_anything_else_is_not_a_delay(seconds):
    """It is said at once, not when the time has come."""
    with pytest.raises(TypeError, match=f"Delay takes seconds, not {seconds!r}"):
        Delay(seconds)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Raw("text"), "Raw takes bytes, not str"),
        (lambda: Replace(), "Replace without a message: use Drop"),
        (lambda: Replace(b"bytes"), "b'bytes' cannot be sent: use a message, a record or Raw"),
        (lambda: Inject(Ping(1), 7), "7 cannot be sent"),
        (lambda: Drop(7), "why is a string, not 7"),
        (lambda: Close(None), "why is a string, not None"),
        (lambda: Delay(1, b"x"), "why is a string"),
        (lambda: Inject(Ping(1), why=1), "why is a string"),
        (lambda: Replace(Ping(1), why=1), "why is a string"),
    ],
)
def test_what_cannot_be_done_is_refused_when_the_verdict_is_made(make, words):
    """In the plugin's own line."""
    with pytest.raises(TypeError, match=words):
        make()


def test_a_verdict_cannot_be_changed():
    """The message says what to do instead."""
    verdict = Drop("x")
    words = "a Drop cannot be changed, so its why cannot be set: make another"
    with pytest.raises(AttributeError, match=words):
        verdict.why = "y"
    with pytest.raises(AttributeError, match=words):
        del verdict.why
    assert verdict.why == "x"
