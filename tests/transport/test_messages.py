"""Messages in the contents of packets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcproxy.transport.messages import SHORT_IDS, contents_of, frame_of, parse_contents
from lbcproxy.wire.envelope import frame

MAGIC = b"\xfa\xe4\xaa\xf1"


def test_short_types():
    """28 of them, as the BIP numbers them."""
    assert len(SHORT_IDS) == 28
    assert (SHORT_IDS[1], SHORT_IDS[18], SHORT_IDS[28]) == ("addr", "ping", "addrv2")


@pytest.mark.parametrize("number", SHORT_IDS)
def test_both_forms_are_the_same_message(number: int):
    """The same frame, and back to the form that is asked for."""
    command = SHORT_IDS[number]
    message = frame(MAGIC, command, b"payload")
    short = bytes((number,)) + b"payload"
    long = b"\0" + command.encode().ljust(12, b"\0") + b"payload"
    for contents, is_short in ((short, True), (long, False)):
        parsed = parse_contents(contents)
        assert parsed is not None
        assert parsed.frame(MAGIC) == message
        assert contents_of(message, short=is_short) == contents
    assert parse_contents(long).short_id is None
    assert frame_of(MAGIC, short) == message


def test_commands_without_a_short_type():
    """Are long, even if a short one is asked for."""
    message = frame(MAGIC, "version", b"x")
    assert contents_of(message) == b"\0version\0\0\0\0\0x"
    assert frame_of(MAGIC, contents_of(message)) == message


@pytest.mark.parametrize("number", [29, 255])
def test_unknown_short_types(number: int):
    """Are commands of their own, and come back as they were."""
    contents = bytes((number,)) + b"payload"
    parsed = parse_contents(contents)
    assert parsed is not None
    assert not parsed.is_known
    message = parsed.frame(MAGIC)
    assert message[4:16].rstrip(b"\0") == f"v2-id-{number}".encode()
    assert contents_of(message) == contents_of(message, short=False) == contents


@pytest.mark.parametrize("command", ["v2-id-0", "v2-id-256", "v2-id-x", "v2-id-", "v2-id-18"])
def test_names_that_only_look_like_unknown_types(command: str):
    """Stay commands."""
    assert contents_of(frame(MAGIC, command, b"")) == b"\0" + command.encode().ljust(12, b"\0")


@pytest.mark.parametrize("contents", [b"", b"\0", b"\0" + b"x" * 11])
def test_contents_without_a_type(contents: bytes):
    """Are no message."""
    assert parse_contents(contents) is None


@given(st.binary(min_size=13, max_size=100))
def test_contents_come_back(contents: bytes):
    """Whatever they are, in the form that they came in."""
    parsed = parse_contents(contents)
    assert parsed is not None
    again = contents_of(parsed.frame(MAGIC), short=parsed.short_id is not None)
    known = {command.encode() for command in SHORT_IDS.values()}
    if parsed.short_id is None and parsed.raw_command.startswith(b"v2-id-"):
        return
    assert again == contents or parsed.raw_command.rstrip(b"\0") in known
