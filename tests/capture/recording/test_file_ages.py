"""How old files are, where the clock of the machine may be wrong or jump."""

import os
import time
from datetime import UTC, datetime

import pytest

from lbcproxy.capture.recording.file_ages import (
    PLAUSIBLE_NS,
    TRUST_DELAY,
    FileAges,
    FinishedFiles,
    monotonic_seconds,
)
from tests.capture.fake_sessions import SECOND
from tests.capture.recording.aged_files import (
    NOW,
    capture,
)


class Ages:
    """The ages of files by two clocks."""

    def __init__(self, now=NOW):
        self.now, self.seconds = now, 0.0
        self.finished = FinishedFiles(lambda: self.seconds)
        self.ages = FileAges(lambda: self.now, self.finished)

    def of(self, path):
        """Return how old a file is."""
        return self.ages.of(path.stat())

    def wait(self, seconds, *, jump=0.0):
        """Let time pass, by which the wall clock may be off."""
        self.seconds += seconds
        self.now += int((seconds + jump) * SECOND)


@pytest.mark.parametrize(("jump", "trusted"), [(60, True), (61, False), (-60, True), (-61, False)])
def test_a_wall_clock_that_jumps_is_not_trusted_for_an_hour(tmp_path, jump, trusted):
    """A correction of a minute is none."""
    scene = Ages()
    path = capture(tmp_path / "x", age=1000)
    assert scene.of(path) == 1000
    scene.wait(10, jump=jump)
    assert scene.of(path) == (1010 + jump if trusted else 0)
    scene.wait(TRUST_DELAY - 1)
    assert (scene.of(path) > 0) is trusted
    scene.wait(1)
    assert scene.of(path) == 1010 + TRUST_DELAY + jump


def test_a_clock_that_drifts_does_not_jump(tmp_path):
    """Half a minute a day for years is no jump."""
    scene = Ages()
    path = capture(tmp_path / "x", age=1000)
    for _ in range(5):
        scene.wait(3000, jump=50)
        assert scene.of(path) > 1000


@pytest.mark.parametrize(("now", "age"), [(PLAUSIBLE_NS, 5), (PLAUSIBLE_NS - 1, 0)])
def test_a_clock_before_2020_is_wrong(tmp_path, now, age):
    """While it is, nothing is old."""
    assert datetime(2020, 1, 1, tzinfo=UTC).timestamp() * SECOND == PLAUSIBLE_NS
    scene = Ages(now)
    path = capture(tmp_path / "x")
    os.utime(path, ns=(0, 0))
    assert scene.of(path) == 0
    scene.wait(5, jump=-5)
    assert scene.of(path) == age


@pytest.mark.parametrize(
    ("written", "age"),
    [
        (PLAUSIBLE_NS, (NOW - PLAUSIBLE_NS) / SECOND),
        (PLAUSIBLE_NS - 1, 5),
        (NOW, 0),
        (NOW + 1, 5),
    ],
)
def test_a_time_that_a_file_cannot_have_is_not_believed(tmp_path, written, age):
    """The file is as old as it is known, here for five seconds."""
    scene = Ages()
    path = capture(tmp_path / "x")
    os.utime(path, ns=(written, written))
    scene.of(path)
    scene.wait(5, jump=-5)
    assert scene.of(path) == age


def test_the_age_of_a_file_of_this_process_is_measured(tmp_path):
    """Whatever its time; a copy is as old as its original, which is forgotten."""
    scene = Ages()
    path = capture(tmp_path / "x", age=1000)
    scene.finished.add(str(path))
    scene.wait(7)
    assert scene.of(path) == 7
    assert scene.ages.order(path.stat()) == (True, 0.0)
    copy = capture(tmp_path / "y", age=1000)
    assert scene.ages.order(copy.stat()) == (False, copy.stat().st_mtime_ns)
    scene.finished.add_copy(path.stat(), copy)
    assert (scene.of(copy), scene.of(path)) == (7, 1007)
    scene.finished.add_copy(path.stat(), copy)  # nothing is known of it any more
    assert scene.of(copy) == 7
    scene.finished.forget(copy.stat())
    scene.finished.forget(copy.stat())
    assert scene.of(copy) == 1007
    scene.finished.add(str(tmp_path / "removed"))


def test_what_is_remembered_of_files_is_bounded(tmp_path, monkeypatch):
    """A proxy that runs for years writes millions."""
    monkeypatch.setattr("lbcproxy.capture.recording.file_ages.MAX_FILES", 2)
    scene = Ages()
    paths = [capture(tmp_path / str(number), age=-1000) for number in range(4)]
    for path in (*paths[:3], paths[1]):
        scene.finished.add(str(path))
        scene.wait(1)
    found = [scene.finished.finished_at(path.stat()) for path in paths]
    assert found == [None, 3.0, 2.0, None]
    scene.finished.add(str(paths[3]))
    found = [scene.finished.finished_at(path.stat()) for path in paths]
    assert found == [None, 3.0, None, 4.0]  # the other one was finished again later
    # Those of earlier runs, whose time is impossible, are as old as they are known.
    scene = Ages()
    for path in paths:
        assert scene.of(path) == 0
    scene.wait(5)
    assert [scene.of(path) for path in paths[::-1]] == [5, 5, 0, 0]


@pytest.mark.parametrize("asleep", [True, False])
def test_the_clock_of_ages_never_jumps(monkeypatch, asleep):
    """It counts the time that the machine sleeps, where the system has such a clock."""
    if asleep and not hasattr(time, "CLOCK_BOOTTIME"):
        pytest.skip("the system has no such clock")
    if not asleep:
        monkeypatch.delattr(time, "CLOCK_BOOTTIME", raising=False)

    def now():
        return time.clock_gettime(time.CLOCK_BOOTTIME) if asleep else time.monotonic()

    before = now()
    assert before <= monotonic_seconds() <= now()
