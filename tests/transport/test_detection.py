"""The transport of a connection, by its first bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcproxy import networks
from lbcproxy.transport.detection import PREFIX_SIZE, Detected, detect

MAGIC = networks.get("lbry-regtest").magic
PREFIX = MAGIC + b"version".ljust(12, b"\0")


def test_v1_is_certain_after_sixteen_bytes():
    """And not before."""
    for size in range(PREFIX_SIZE):
        assert detect(PREFIX[:size], MAGIC) is Detected.UNDECIDED
    assert detect(PREFIX, MAGIC) is Detected.V1
    assert detect(PREFIX + b"more", MAGIC) is Detected.V1


@pytest.mark.parametrize("index", range(PREFIX_SIZE))
def test_one_other_byte_is_v2(index: int):
    """At once, if it is in the command; another magic is another network's v1."""
    data = bytearray(PREFIX)
    data[index] ^= 0xFF
    if index < 4:
        assert detect(bytes(data), MAGIC) is Detected.V1_OF_ANOTHER_NETWORK
        data[15] ^= 1
        assert detect(bytes(data), MAGIC) is Detected.V2
    else:
        assert detect(bytes(data[: index + 1]), MAGIC) is Detected.V2


@pytest.mark.parametrize("command", [b"ping", b"tx", b"abcdefghijkl"])
def test_any_command_after_the_magic_is_v1(command: bytes):
    """A node that begins with the wrong message is not taken for one that encrypts."""
    start = MAGIC + command.ljust(12, b"\0")
    assert detect(start, MAGIC) is Detected.V1
    assert detect(start[:-1], MAGIC) is Detected.UNDECIDED


@pytest.mark.parametrize("command", [b"\0" * 12, b"ping\0\0\0\0\0\0\0x", b"pi ng\0\0\0\0\0\0\0"])
def test_what_is_no_command_is_v2(command: bytes):
    """As a key that begins with the magic by chance."""
    assert detect(MAGIC + command, MAGIC) is Detected.V2


@given(st.binary(max_size=20))
def test_more_bytes_do_not_change_it(data: bytes):
    """Once it is decided."""
    decided = [detect(data[:size], MAGIC) for size in range(len(data) + 1)]
    decided = [each for each in decided if each is not Detected.UNDECIDED]
    assert len(set(decided)) <= 1
