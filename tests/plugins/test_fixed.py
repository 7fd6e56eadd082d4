"""What plugins are given cannot be changed in place: a verdict is the only way."""

import copy

import msgspec
import pytest

from lbcproxy.plugin import Close, Delay, Drop, Inject, Plugin, Raw, Replace
from lbcproxy.session import Direction, Message
from lbcproxy.testing import Trial
from lbcproxy.wire import registry
from lbcproxy.wire.messages.keepalive import Ping

UP, DOWN = Direction


class Trying(Plugin):
    """Does something to each ping, and keeps what was raised."""

    def __init__(self, what):
        self.what = what
        self.raised = None

    def on_ping(self, session, message):
        try:
            self.what(session, message)
        except Exception as error:
            self.raised = error


def set_to(name, value):
    """Set an attribute of the message."""
    return lambda _, message: setattr(message, name, value)


MESSAGE = {
    name: set_to(name, value)
    for name, value in {
        "raw": b"other bytes",
        "command": "tx",
        "direction": DOWN,
        "payload": b"",
        "record": Ping(7),
        "error": "none",
        "frame_error": "none",
        "length": 0,
        "head": b"",
        "codec": None,
        "anything": 1,
        "_record": Ping(7),
        "_codec": None,
    }.items()
} | {"deleted": lambda _, message: delattr(message, "raw")}


@pytest.mark.parametrize("what", MESSAGE.values(), ids=MESSAGE)
def test_no_attribute_of_a_message_can_be_set(what):
    """The traffic once changed with the verdict `pass`, and the capture had it as the client's."""
    plugin = Trying(what)
    trial = Trial(plugin)
    sent = Message.of(Ping(1), UP, trial._core.codec_to(DOWN)).raw
    assert trial.to_upstream(Ping(1)) == "pass"
    assert isinstance(plugin.raised, AttributeError)
    assert "message.replace(" in str(plugin.raised)
    assert trial.bytes_to(UP) == sent
    assert [each.raw for each in trial.entries] == [sent]
    assert trial.complaints == []


SESSION = {
    name: lambda session, _, name=name: setattr(session, name, 7)
    for name in ("number", "network", "facts", "client", "upstream", "protocol_version")
} | {
    f"{side} {name}": lambda session, _, side=side, name=name: setattr(
        getattr(session, side), name, 7
    )
    for side in ("client", "upstream")
    for name in ("version", "stage", "protocol_version", "bytes", "junk_bytes", "commands", "more")
}
SESSION |= {
    "facts.network": lambda session, _: setattr(session.info, "network", "x"),
    "facts.client.host": lambda session, _: setattr(session.info.client, "host", "x"),
    "version": lambda session, _: setattr(session.client.version, "services", 0),
    "codec": lambda _, message: setattr(message.codec, "protocol_version", 209),
    "params": lambda _, message: setattr(message.codec.params, "witness", False),
    "record": lambda _, message: setattr(message.record, "nonce", 7),
    "trailing": lambda _, message: setattr(message.record, "trailing", b"x"),
}


@pytest.mark.parametrize("what", SESSION.values(), ids=SESSION)
def test_nothing_that_is_known_of_a_session_can_be_set(what):
    """What is decoded with which version depends on it."""
    plugin = Trying(what)
    trial = Trial(plugin)
    assert trial.to_upstream(Ping(1)) == "pass"
    assert isinstance(plugin.raised, AttributeError)


def test_counts_are_a_copy():
    """They are the session's own: clearing them is nobody else's business."""
    plugin = Trying(lambda session, _: session.client.commands.clear())
    trial = Trial(plugin)
    trial.to_upstream(Ping(1))
    assert plugin.raised is None
    assert trial._core.client.commands["ping"] == 1


@pytest.mark.parametrize(
    "verdict",
    [Drop("x"), Replace(Raw(b"x")), Delay(1), Inject(Raw(b"x")), Close("x"), Raw(b"x")],
    ids=lambda each: type(each).__name__,
)
def test_verdicts_stay_as_they_were_made(verdict):
    """So that what the trail says of them is what was done."""
    for name in ("why", "messages", "seconds", "direction", "before", "raw", "more"):
        with pytest.raises(AttributeError):
            setattr(verdict, name, "y")
        with pytest.raises(AttributeError):
            delattr(verdict, name)
    assert copy.deepcopy(verdict) is copy.copy(verdict) is verdict


def test_records_hold_nothing_that_can_be_changed():
    """Frozen, down to what their arrays hold."""

    def parts(value):
        yield value
        if isinstance(value, tuple):
            for each in value:
                yield from parts(each)
        elif isinstance(value, msgspec.Struct):
            for name in value.__struct_fields__:
                yield from parts(getattr(value, name))

    for command in registry.commands():
        assert registry.record_of(command).__struct_config__.frozen
    trial = Trial()
    core = trial._core
    for side in (core.client, core.upstream):
        for each in parts(side.version):
            assert not isinstance(each, list | dict | set | bytearray)


def test_a_long_message_keeps_its_beginning():
    """It has no bytes, but a head."""
    raw = Message.of(Ping(1), UP, Trial()._core.codec_to(UP)).raw
    long = Message("block", UP, raw + bytes(300), Trial()._core.codec_to(UP), length=70_000)
    assert (long.raw, long.length, len(long.head), long.record) == (b"", 70_000, 256, None)
    assert long.error is None
    whole = Message("ping", UP, raw, Trial()._core.codec_to(UP))
    assert (whole.head, whole.length, whole.record) == (raw, 8, Ping(1))
