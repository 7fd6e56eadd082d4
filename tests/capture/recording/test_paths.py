"""Where a recording may be written: free names, files to continue, the standard output."""

import os
import sys

import pytest

from lbcproxy.capture import Recorder
from lbcproxy.capture.formats import pcapng
from lbcproxy.capture.recording.lock import try_lock
from lbcproxy.capture.recording.paths import continue_file, is_compressed, standard_output
from lbcproxy.capture.writing.pcapng_blocks import build_block
from lbcproxy.errors import CaptureError
from lbcproxy.private import OWNER


def recorded(path):
    """Write a capture without packets; return its size."""
    Recorder(path.write_bytes, network="lbry-regtest")
    return path.stat().st_size


def test_a_new_file_is_continued_from_its_start(tmp_path):
    """The same for one that is empty."""
    for _ in range(2):
        found = continue_file(tmp_path / "x", OWNER)
        assert (found.size, found.tail_size, found.last_written_ns) == (0, 0, 0)
        found.file.close()


@pytest.mark.parametrize("torn", [b"", b"\x06\0\0\0\x40\0\0\0torn"])
def test_an_existing_file_is_continued_after_its_last_block(tmp_path, torn):
    """With the time of its content, as it was before that was changed."""
    path = tmp_path / "x"
    size = recorded(path)
    with path.open("ab") as file:
        file.write(torn)
    os.utime(path, ns=(1, 5_000_000_000))
    found = continue_file(path, OWNER)
    assert (found.size, found.tail_size) == (size, len(torn))
    assert found.last_written_ns == 5_000_000_000
    found.file.write(b"more")
    found.file.close()
    assert path.read_bytes()[size:] == b"more"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"x", "exists and is not a pcapng: it is not overwritten"),
        (build_block(pcapng.SECTION, bytes(16)), "is not continued: "),
    ],
)
def test_a_file_that_cannot_be_continued_is_left_alone(tmp_path, data, words):
    """And it is not locked any longer, even while somebody holds the error."""
    path = tmp_path / "x"
    path.write_bytes(data)
    with pytest.raises(CaptureError, match=words) as caught:
        continue_file(path, OWNER)
    assert path.read_bytes() == data
    with path.open("rb") as file:
        assert try_lock(file.fileno())
    assert caught.value


def test_an_inherited_pipe_is_written_as_it_is(tmp_path):
    """`-w /dev/fd/5`: there is nothing to be continued, and no lock."""
    read, write = os.pipe()
    found = continue_file(tmp_path.joinpath(f"/dev/fd/{write}"), OWNER)
    found.file.write(b"data")
    assert os.read(read, 10) == b"data"
    assert found.size == 0
    found.file.close()
    os.close(read)
    os.close(write)


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_name_is_taken_by_its_compressed_file(tmp_path, suffix):
    """Unless the file itself exists too."""
    path = tmp_path / "x.pcapng"
    assert not is_compressed(path)
    (tmp_path / f"x.pcapng{suffix}").write_bytes(b"")
    assert is_compressed(path)
    path.write_bytes(b"")
    assert not is_compressed(path)


def test_the_standard_output_is_written_without_a_buffer(monkeypatch):
    """After what was printed, and it waits for a slow reader."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    with os.fdopen(write, "w") as output:
        monkeypatch.setattr(sys, "stdout", output)
        output.write("printed ")
        file = standard_output()
        file.write(b"recorded")
        assert os.read(read, 100) == b"printed recorded"
        assert os.get_blocking(file.fileno())
        file.close()
        output.write("still open")
    assert os.read(read, 100) == b"still open"
    os.close(read)
