"""The files of a recording: when the next one begins, and what none of them could hold."""

import os
from types import SimpleNamespace

import pytest

from lbcproxy.background import Background
from lbcproxy.capture import FilenamePatternError, Recorder, RecordingSettings
from lbcproxy.capture.recording.file import CaptureFile
from lbcproxy.capture.recording.rotation import OpenFile, Rotation
from lbcproxy.errors import CaptureError
from lbcproxy.session import Lost
from tests.capture.fake_sessions import MIDNIGHT, NETWORK, SECOND

HOUR = 3600 * SECOND


class Disk(Background):
    """A disk that has written everything, or hangs."""

    def __init__(self):
        super().__init__(1 << 20)
        self.hangs = False
        self.asked = []

    def drain(self, seconds):
        self.asked.append(seconds)
        return not self.hangs and super().drain(10)


@pytest.fixture
def disk():
    """Yield a disk, and end its thread."""
    disk = Disk()
    yield disk
    disk.hangs = False
    assert disk.close(10)


def rotation(disk, pattern, **settings):
    """Return the files of a recording at midnight."""
    return Rotation(
        RecordingSettings(pattern=str(pattern), **settings),
        disk,
        lambda text, bad: None,
        network=NETWORK.id,
        name="main",
        changes=False,
        now=lambda: MIDNIGHT,
        on_closed=lambda file: None,
    )


# When the next file begins.


def opened(*, size=0, began=MIDNIGHT, in_message=False, failing=False):
    """Return a file as far as it matters for when the next one begins."""
    return SimpleNamespace(
        file=SimpleNamespace(failing=failing),
        size=size,
        began_ns=began,
        recorder=SimpleNamespace(in_message=in_message),
    )


@pytest.mark.parametrize(
    ("size", "in_message", "is_due"),
    [
        (99, False, False),
        (100, False, True),
        (100, True, False),
        (199, True, False),
        (200, True, True),
        (200, False, True),
    ],
)
def test_a_file_that_is_large_enough(disk, size, in_message, is_due):
    """An incomplete message keeps it, until it is twice as large."""
    files = rotation(disk, "x", rotate_size=100)
    file = opened(size=size, in_message=in_message)
    assert files.is_due(file, MIDNIGHT) is is_due
    file.file.failing = True
    assert not files.is_due(file, MIDNIGHT)


@pytest.mark.parametrize(
    ("began", "time", "in_message", "is_due"),
    [
        # The next hour has not begun.
        (10 * SECOND, HOUR - 1, False, False),
        # It has.
        (10 * SECOND, HOUR, False, True),
        (10 * SECOND, HOUR, True, False),
        # An incomplete message keeps the file for a minute.
        (10 * SECOND, HOUR + 60 * SECOND, True, False),
        (10 * SECOND, HOUR + 60 * SECOND + 1, True, True),
        # Also if nothing passed for hours.
        (10 * SECOND, 2 * HOUR, True, True),
        (HOUR - 60 * SECOND, 2 * HOUR, True, False),
        (HOUR - 60 * SECOND - 1, 2 * HOUR, True, True),
        # The clock was put back by a minute, and by more.
        (HOUR, HOUR - 60 * SECOND, False, False),
        (HOUR, HOUR - 60 * SECOND - 1, False, True),
        (HOUR, HOUR - 60 * SECOND - 1, True, False),
    ],
)
def test_the_time_of_a_file_is_over(disk, began, time, in_message, is_due):
    """By the wall clock, not by when it began."""
    files = rotation(disk, "x", rotate_every=3600.0)
    file = opened(began=MIDNIGHT + began, in_message=in_message)
    assert files.is_due(file, MIDNIGHT + time) is is_due


def test_without_limits_no_file_is_ever_full(disk):
    """That is the default."""
    files = rotation(disk, "x")
    for time in (0, MIDNIGHT - HOUR, MIDNIGHT + 10**6 * HOUR):
        assert not files.is_due(opened(size=1 << 60), time)


def test_both_limits_hold(disk):
    """Whichever is reached first."""
    files = rotation(disk, "x", rotate_size=100, rotate_every=3600.0)
    assert files.is_due(opened(size=100), MIDNIGHT)
    assert files.is_due(opened(size=99), MIDNIGHT + HOUR)
    assert not files.is_due(opened(size=99), MIDNIGHT)


# Opening.


def test_a_shared_file_is_opened_at_once(tmp_path, disk):
    """So that a mistake in the configuration is an error at the start."""
    files = rotation(disk, tmp_path / "x.pcapng")
    assert files.shared is None
    files.open(fresh=False)
    assert (tmp_path / "x.pcapng").exists()
    assert (files.count, files.last) == (1, files.shared.file)
    assert files.shared.began_ns == MIDNIGHT
    assert not files.per_session
    (tmp_path / "y.pcapng").write_text("something else" * 10)
    with pytest.raises(CaptureError, match="not overwritten"):
        rotation(disk, tmp_path / "y.pcapng").open(fresh=False)
    files.shared.file.close()


def test_a_file_of_each_session_is_not_opened_before_one_begins(tmp_path, disk):
    """But its pattern is tried."""
    files = rotation(disk, tmp_path / "{session}.pcapng", per="session")
    files.open(fresh=False)
    assert files.per_session
    assert (files.shared, files.count, list(tmp_path.iterdir())) == (None, 0, [])
    with pytest.raises(FilenamePatternError):
        rotation(disk, tmp_path / "{sesion}.pcapng", per="session").open(fresh=False)


@pytest.mark.parametrize(
    ("pattern", "fresh", "name"),
    [
        ("x.pcapng", False, "x.pcapng"),
        ("x.pcapng", True, "x-2.pcapng"),
        ("x%H.pcapng", False, "x00-2.pcapng"),
    ],
)
def test_only_a_name_that_the_user_chose_is_continued(tmp_path, disk, pattern, fresh, name):
    """And not if a fresh file is asked for."""
    for existing in ("x.pcapng", "x00.pcapng"):
        Recorder((tmp_path / existing).write_bytes, network=NETWORK.id)
    size = (tmp_path / "x.pcapng").stat().st_size
    os.utime(tmp_path / "x.pcapng", ns=(0, MIDNIGHT - HOUR))
    files = rotation(disk, tmp_path / pattern)
    files.open(fresh=fresh)
    file = files.shared.file
    assert file.path == str(tmp_path / name)
    file.close()
    continued = name == "x.pcapng"
    assert file.continued is continued
    assert files.shared.began_ns == (MIDNIGHT - HOUR if continued else MIDNIGHT)
    assert disk.drain(10)
    files.shared.write(b"more")
    assert files.shared.size == len(file._head) + 4 + (size if continued else 0)


def test_no_file_begins_after_the_end(tmp_path, disk):
    """A session may last longer than the recording."""
    files = rotation(disk, tmp_path / "x.pcapng")
    files.is_closed = True
    assert files.current(MIDNIGHT) is None
    files.is_closed = False
    first = files.current(MIDNIGHT)
    assert first is not None
    assert files.current(MIDNIGHT) is first
    assert files.shared is first
    first.file.close()


def test_the_next_file_takes_the_place_of_the_last(tmp_path, disk):
    """The last one is closed."""
    closed = []
    files = rotation(disk, tmp_path / "x.pcapng", rotate_size=100)
    files._on_closed = closed.append
    first = files.current(MIDNIGHT)
    first.size = 100
    second = files.current(MIDNIGHT + SECOND)
    assert second is not first
    assert (second.began_ns, files.shared, files.count) == (MIDNIGHT + SECOND, second, 2)
    assert disk.drain(10)
    assert closed == [first.file]
    second.file.close()


# Losses.


def test_what_is_lost_is_said_by_the_file_that_is_there(tmp_path, disk):
    """What no file can say is counted anyway."""
    files = rotation(disk, tmp_path / "x.pcapng")
    files.open(fresh=False)
    files.count_lost(Lost(messages=1, size=10), files.shared)
    assert (files.shared.file.lost.messages, files.shared.file.lost.size) == (1, 10)
    files.count_lost(Lost(messages=2, size=20), None)
    files.count_lost(Lost(), None)
    assert (files.lost.messages, files.lost.size) == (3, 30)
    assert (files.lost.messages, files.lost.size) == (3, 30)  # asking changes nothing
    files.shared.file.close()


def test_only_the_losses_of_closed_files_are_kept(tmp_path, disk):
    """A proxy that records each session to a file must not keep all of them."""
    files = rotation(disk, tmp_path / "{session}.pcapng", per="session")
    for number in range(4):
        file = files.begin(MIDNIGHT, number).file
        file.add_loss(1, 10)
        if number != 1:
            file.close()
        assert disk.drain(10)
    assert (files.lost.messages, files.lost.size) == (4, 40)
    assert len(files._files) == 2  # the one that is open, and the last
    assert (files.count, files.last) == (4, file)
    for each in files._files:
        each.close()


def test_a_disk_that_hangs_is_waited_for_once(disk):
    """Each session would wait a second for it otherwise."""
    files = rotation(disk, "x")
    assert files.relieve()
    assert files.relieve()
    disk.hangs = True
    assert not files.relieve()
    disk.hangs = False
    assert not files.relieve()
    assert disk.asked == [1.0] * 3


class Announced:
    """A session of a recorder that counts how often its endpoints are written."""

    def __init__(self):
        self.times = 0

    def announce(self):
        self.times += 1


def test_endpoints_are_written_again_while_a_file_fails_and_once_after_that(disk):
    """The file may lack the start of any session that was open then."""
    file = OpenFile(CaptureFile("x", disk, lambda text, bad: None), MIDNIGHT)
    sessions = {number: Announced() for number in (1, 2, 3)}
    file.file = SimpleNamespace(failing=False)
    file.recorder = SimpleNamespace(open_sessions=sessions)

    def announced(*numbers):
        """Announce sessions, and return how often each was written so far."""
        for number in numbers:
            file.announce(number)
        return [each.times for each in sessions.values()]

    assert announced(1, 2) == [0, 0, 0]
    file.file.failing = True
    assert announced(1, 2, 2) == [1, 2, 0]
    file.file.failing = False
    assert announced(1, 1) == [2, 2, 0]
    sessions[4] = Announced()  # its start is in the file
    assert announced(4, 2, 1, 2) == [2, 3, 0, 0]
    assert announced(9, 3, 3) == [2, 3, 1, 0]
    assert not file.uncertain
    file.file.failing = True
    assert announced(3) == [2, 3, 2, 0]
