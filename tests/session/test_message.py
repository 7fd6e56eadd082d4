"""Tests of messages: read when somebody asks, changed by making another one."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcproxy.session import Message
from lbcproxy.wire import BadPayload, BadRecord, Codec, Framer
from lbcproxy.wire.envelope import checksum, frame, unpack
from lbcproxy.wire.messages.inventory import Inv, InventoryVector
from lbcproxy.wire.messages.keepalive import Ping
from tests.session.frames import DOWN, NETWORK, UP, framed, ping, version


class CountingCodec(Codec):
    """Counts how often it is asked to read."""

    def __init__(self) -> None:
        super().__init__(NETWORK)
        self.asked: list[str] = []

    def decode(self, command: str, payload: bytes) -> Any:
        """Count, and read."""
        self.asked.append(command)
        return super().decode(command, payload)


def message(raw: bytes, codec: Codec | None = None, **rest: Any) -> Message:
    """A frame as a message to the upstream."""
    return Message(unpack(raw).command, UP, raw, codec or Codec(NETWORK), **rest)


def test_nothing_is_decoded_before_somebody_asks():
    """Most messages of a busy session are never looked into."""
    codec = CountingCodec()
    read = message(ping(7), codec)
    assert (read.command, read.direction, read.raw, read.length) == ("ping", UP, ping(7), 8)
    assert read.payload == ping(7)[24:]
    assert read.frame_error is None
    assert codec.asked == []
    assert read.record == Ping(nonce=7)
    assert read.error is None
    assert read.summary() == "nonce=0000000000000007"
    assert read.to_dict() == {"nonce": 7}
    assert codec.asked == ["ping"]


def test_a_malformed_payload_is_an_error_with_its_place():
    """It passes; whoever looks learns what is wrong and where."""
    bad = message(frame(NETWORK.magic, "ping", b"\1\2\3"))
    assert bad.record is None
    assert bad.to_dict() is None
    assert bad.summary() == ""
    with pytest.raises(BadPayload) as caught:
        Codec(NETWORK).decode("ping", b"\1\2\3")
    assert bad.error == str(caught.value)
    assert bad.frame_error is None


def test_an_error_of_the_frame_comes_first_and_the_payload_is_read_all_the_same():
    """With a wrong checksum the content is what one wants to see."""
    bad = message(ping(7), error="checksum is 00000000, should be 11111111")
    assert bad.error == bad.frame_error == "checksum is 00000000, should be 11111111"
    assert bad.record == Ping(nonce=7)


def test_an_unknown_command_is_not_an_error_of_the_payload():
    """The framer says where a command is unknown; those known to be opaque are sound."""
    opaque = message(frame(NETWORK.magic, "sendpackages", b"\1"))
    assert opaque.error is None
    assert opaque.record is None
    assert opaque.to_dict() is None
    assert opaque.summary() == ""


def test_trailing_bytes_are_kept_and_reported():
    """Nodes ignore them, so they are no error, but a tap shows them."""
    read = message(frame(NETWORK.magic, "verack", b""))
    assert read.summary() == ""
    long = message(frame(NETWORK.magic, "version", version()[24:] + b"\1\2"))
    assert long.error is None
    assert long.record is not None
    assert long.record.trailing == b"\1\2"
    assert long.summary().endswith(" +2 trailing bytes")


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_replace_makes_another_message(old: int, new: int):
    """The changed message is a frame a node would take, and the first one is as it was."""
    first = message(ping(old))
    changed = first.replace(nonce=new)
    assert first.raw == ping(old)
    assert changed.raw == framed(Ping(nonce=new))
    assert unpack(changed.raw).checksum == checksum(changed.payload)
    assert (changed.command, changed.direction, changed.error) == ("ping", UP, None)
    assert [item.error for item in Framer(NETWORK).feed(changed.raw)] == [None]
    assert changed.record == Ping(nonce=new)


def test_replace_keeps_the_direction():
    """A message is changed on its way, not turned round."""
    back = Message("ping", DOWN, ping(), Codec(NETWORK))
    assert back.replace(nonce=2).direction is DOWN


def test_replace_keeps_trailing_bytes():
    """Only what was asked for is changed."""
    long = message(frame(NETWORK.magic, "version", version()[24:] + b"\1\2"))
    assert long.replace(start_height=5).raw == frame(
        NETWORK.magic, "version", version(start_height=5)[24:] + b"\1\2"
    )


@pytest.mark.parametrize(
    ("raw", "changes", "error"),
    [
        (ping(), {"none_such": 1}, TypeError),
        (ping(), {"nonce": 2**64}, BadRecord),
        (ping(), {"nonce": "seven"}, BadRecord),
        (frame(NETWORK.magic, "ping", b"\1"), {"nonce": 1}, ValueError),
        (frame(NETWORK.magic, "sendpackages", b"\1"), {"version": 1}, ValueError),
    ],
)
def test_what_cannot_be_replaced_is_refused(raw: bytes, changes: Any, error: type[Exception]):
    """An error at the call is better than a message that no node understands."""
    with pytest.raises(error):
        message(raw).replace(**changes)


def test_a_long_message_that_passed_has_its_head_and_length_alone():
    """Its bytes were not kept, so nothing can be read of it, and nothing wrong be said."""
    codec = CountingCodec()
    start = framed(Ping(nonce=1))
    long = Message("block", UP, start + bytes(1000), codec, length=100_000)
    assert (long.length, long.raw, long.payload, long.record) == (100_000, b"", b"", None)
    assert long.head == (start + bytes(1000))[:256]
    assert long.error is None
    assert long.to_dict() is None
    assert codec.asked == []
    with pytest.raises(ValueError, match="cannot be read"):
        long.replace(nonce=1)


def test_a_copy_is_the_message_itself():
    """It cannot be changed, so that a copy would be of no use."""
    first = message(ping())
    assert copy.copy(first) is first
    assert copy.deepcopy(first) is first
    with pytest.raises(AttributeError, match="its raw cannot be set"):
        first.raw = b""
    with pytest.raises(AttributeError, match="its raw cannot be set"):
        del first.raw


def test_the_head_of_a_short_message_is_its_first_bytes():
    """As that of a long one, which has nothing else."""
    assert message(ping()).head == ping()
    long = framed(Inv((InventoryVector(1, bytes(32)),) * 20))
    assert message(long).head == long[:256]


def test_what_can_be_read_of_a_malformed_payload_is_read_once():
    """It has no record, but the fields before the one that is wrong."""
    codec = CountingCodec()
    cut = message(frame(NETWORK.magic, "version", version()[24:60]), codec)
    assert cut.partial is not None
    assert cut.partial["version"] == 70013
    assert cut.partial is cut.partial
    assert cut.summary() == cut.partial.summary() != ""
    assert cut.codec is codec
    assert message(ping()).partial is None
    assert Message("block", UP, b"", codec, length=100).partial is None


@pytest.mark.parametrize(
    ("payload", "cut_short"), [(bytes(8), False), (bytes(9), False), (bytes(3), True)]
)
def test_a_payload_that_ends_too_early_is_cut_short(payload: bytes, cut_short: bool):
    """A capture that was cut off shows so; other damage is the node's."""
    assert message(frame(NETWORK.magic, "ping", payload)).cut_short is cut_short


def test_what_is_known_to_be_wrong_does_not_need_the_payload():
    """A list of a million messages is not decoded for its colours."""
    codec = CountingCodec()
    bad = message(frame(NETWORK.magic, "ping", b"\1"), codec)
    assert bad.known_error is None
    assert message(ping(), codec, error="checksum").known_error == "checksum"
    assert codec.asked == []
    assert bad.error is not None
    assert bad.known_error == bad.error


def test_the_beginning_of_a_long_message_is_summarised():
    """As far as it is known what it holds."""
    codec = Codec(NETWORK)
    inv = framed(Inv((InventoryVector(1, bytes(32)),) * 20))
    assert Message("inv", UP, inv, codec, length=720).summary().endswith(" (long, not read)")
    assert Message("block", UP, inv[:30], codec, length=720).summary() == "(long, not read)"
    assert Message("inv", UP, inv, codec, length=720, error="cut off").summary() == ""
    assert Message("sendpackages", UP, inv, codec, length=720).summary() == ""


def test_the_representation_names_it():
    """It is what a plugin's author sees in a debugger."""
    assert repr(message(ping())) == "<Message -> ping 8 bytes>"


@given(st.sampled_from(["ping", "version", "inv", "tx", "block", "addr", "headers"]), st.binary())
def test_no_payload_brings_a_message_down(command: str, payload: bytes):
    """Whatever a hostile node sends, there is a record or an error, never an exception."""
    read = message(frame(NETWORK.magic, command, payload))
    assert (read.record is None) == (read.error is not None)
    assert isinstance(read.summary(), str)
    assert read.payload == payload
