"""What could not be recorded: its sum, its words and its block."""

import io

import pytest

from lbcproxy.capture.formats import pcapng
from lbcproxy.capture.packet import Statistics
from lbcproxy.capture.recording.loss import Loss, block_before
from lbcproxy.capture.writing.pcapng_blocks import build_block

HEAD = build_block(pcapng.SECTION, b"\x4d\x3c\x2b\x1a\x01\x00\x00\x00" + b"\xff" * 8)
INTERFACE = build_block(pcapng.INTERFACE, bytes(8))


def dropped_by(block):
    """Return the count in a block, as Wireshark shows it."""
    file = io.BytesIO(HEAD + INTERFACE + block)
    [found] = [each.dropped for each in pcapng.read(file) if isinstance(each, Statistics)]
    return found


def test_nothing_is_lost():
    """Messages without bytes of capture are not a loss of the file."""
    assert not Loss()
    assert Loss().block() == b""
    assert Loss().block(7) == b""
    assert Loss(0, 1)
    assert (Loss().messages, Loss().size, Loss().is_notified) == (0, 0, False)


def test_losses_are_summed():
    """The user was notified of the sum if notified of any of it."""
    total = Loss(1, 10)
    total += Loss(2, 30)
    assert (total.messages, total.size, total.is_notified) == (3, 40, False)
    notified = Loss(0, 1)
    notified.is_notified = True
    total += notified
    assert total.is_notified
    total += Loss(0, 1)
    assert total.is_notified
    assert str(total) == "3 messages (42 bytes of capture) were not recorded"


@pytest.mark.parametrize(("so_far", "count"), [(0, 3), (3, 3), (10, 10)])
def test_the_block_counts_what_was_lost_before(so_far, count):
    """Other programs expect the sum of the section."""
    block = Loss(3, 100).block(so_far)
    assert b"3 messages (100 bytes of capture) were not recorded before this" in block
    assert dropped_by(block) == count


def test_the_block_that_ends_at_an_offset_is_found():
    """By the length at its end, which has to be that at its start."""
    small, large = build_block(6, b""), build_block(6, bytes(64))
    file = io.BytesIO(small + large)
    assert len(small) == 12
    assert block_before(file, 12 + len(large)) == 12
    assert block_before(file, 12) == 0


@pytest.mark.parametrize(
    ("data", "end"),
    [
        (b"", 0),
        (bytes(11), 11),
        (build_block(6, b"")[:-4] + b"\x0b\0\0\0", 12),  # shorter than any block
        (build_block(6, b"")[:-4] + b"\x0d\0\0\0", 12),  # longer than what is before it
        (bytes(8) + build_block(6, b"")[:-4] + b"\x10\0\0\0", 20),  # another one at its start
    ],
)
def test_no_block_ends_there(data, end):
    """Nothing is cut off that is not known to be a block."""
    assert block_before(io.BytesIO(data), end) is None
