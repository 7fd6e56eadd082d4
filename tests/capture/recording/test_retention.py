"""Old captures: which are deleted, which compressed, and what is never touched."""

import fcntl
import gzip
import os
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from lbcproxy.capture import Retention, RetentionPolicy
from lbcproxy.capture.compression import KINDS, has_same_content
from lbcproxy.capture.recording import retention
from lbcproxy.capture.recording.file_ages import (
    TRUST_DELAY,
    FinishedFiles,
)
from lbcproxy.capture.recording.filename_pattern import FilesOfPattern
from lbcproxy.capture.writing.pcapng_blocks import build_block
from tests.capture.fake_sessions import NETWORK, SECOND
from tests.capture.recording.aged_files import (
    DAY,
    NOW,
    capture,
    dated,
    foreign,
    foreign_capture,
)


class Scene:
    """A tidier of a folder."""

    def __init__(self, folder, pattern="x-%Y%m%d-%H%M%S-{network}.pcapng", now=NOW, **keeping):
        self.now = now
        self.seconds = 0.0
        self.written = FinishedFiles(lambda: self.seconds)
        self.folder = folder
        self.notices = []
        self.steps = 1 << 30
        self.tidier = Retention(
            str(folder / pattern),
            RetentionPolicy(**keeping),
            lambda text, bad: self.notices.append((text, bad)),
            network=NETWORK.id,
            name="main",
            now=lambda: self.now,
            finished=self.written,
            should_continue=self.should_continue,
        )

    def write(self, number, *, at=None):
        """Finish a file as this process, at the time of the wall clock."""
        path = capture(self.path(number))
        moment = self.now if at is None else at
        os.utime(path, ns=(moment, moment))
        self.written.add(str(path))
        return path

    def wait(self, seconds):
        """Let time pass."""
        self.seconds += seconds
        self.now += int(seconds * SECOND)

    def should_continue(self):
        """Go on for so many steps."""
        self.steps -= 1
        return self.steps >= 0

    def path(self, number, suffix="pcapng"):
        """Return a name that the pattern can have made."""
        return self.folder / f"x-20241004-{number:06}-{NETWORK.id}.{suffix}"

    def tidy(self):
        """Tidy, and return what is left."""
        self.tidier.apply()
        return sorted(each.name for each in self.folder.rglob("*") if each.is_file())


# Deleting.


def test_the_oldest_are_deleted_while_all_are_too_much(tmp_path):
    """And no more of them than must be; it is reported."""
    scene = Scene(tmp_path, size=1)
    sizes = [capture(scene.path(number), age=100 - number).stat().st_size for number in range(5)]
    scene = Scene(tmp_path, size=sum(sizes[2:]))
    assert scene.tidy() == [scene.path(number).name for number in (2, 3, 4)]
    assert [text for text, _ in scene.notices] == [
        f"deleted {scene.path(number)}, {sizes[number]:,} bytes: more than record_keep_size"
        for number in (0, 1)
    ]
    assert scene.tidy() == [scene.path(number).name for number in (2, 3, 4)]


def test_those_that_are_too_old_are_deleted(tmp_path):
    """By when they were written last, not by their names."""
    scene = Scene(tmp_path, age=50.0)
    for number, age in ((1, 49), (2, 51), (3, 5000)):
        capture(scene.path(number), age=age)
    assert scene.tidy() == [scene.path(1).name]
    assert all("record_keep_age" in text for text, _ in scene.notices)


@pytest.mark.parametrize("begin", [0, 1_500_000_000 * SECOND, NOW - 30 * DAY, NOW + 9000 * DAY])
@pytest.mark.parametrize("kind", ["none", "gz"])
def test_a_clock_that_jumps_deletes_nothing_of_this_process(tmp_path, begin, kind):
    """A board without a battery hears the time: files 5 s old were deleted as 50 years old."""
    scene = Scene(tmp_path, now=begin, age=100.0, compress=kind)
    for number in (1, 2):
        scene.write(number)
    scene.wait(5)
    assert len(scene.tidy()) == 2
    scene.now = NOW
    assert len(scene.tidy()) == 2
    scene.write(3)
    scene.wait(90)
    assert len(scene.tidy()) == 3
    scene.wait(6)
    assert len(scene.tidy()) == 1  # they are as old as they are
    scene.wait(100)
    assert scene.tidy() == []


def test_what_must_go_is_the_oldest_though_the_clock_was_put_back(tmp_path):
    """By the times of the files the newest would go."""
    sizes = []
    scene = Scene(tmp_path, size=1)
    for number in range(4):
        sizes.append(capture(scene.path(number), age=100 - number).stat().st_size)
    scene = Scene(tmp_path, size=sum(sizes[1:]))
    for number in range(4):
        scene.path(number).unlink()
    capture(scene.path(0), age=10)  # of an earlier run
    for number in range(1, 4):
        scene.write(number, at=NOW - number * DAY)
        scene.wait(1)
    assert scene.tidy() == [scene.path(number).name for number in (1, 2, 3)]


def test_files_of_earlier_runs_wait_for_a_clock_that_can_be_believed(tmp_path):
    """One that is not right yet, or has just jumped, says nothing of their age."""
    scene = Scene(tmp_path, now=0, age=100.0)
    path = capture(scene.path(1), age=1000)
    assert scene.tidy() == [path.name]
    scene.wait(10)
    scene.now = NOW
    assert scene.tidy() == [path.name]
    scene.wait(TRUST_DELAY - 1)
    assert scene.tidy() == [path.name]
    scene.wait(2)
    assert scene.tidy() == []


@pytest.mark.parametrize("moment", [5 * SECOND, NOW + 400 * DAY])
def test_a_file_with_an_impossible_time_is_as_old_as_it_is_known(tmp_path, moment):
    """Of 1970 or of next year: written when the clock was wrong."""
    scene = Scene(tmp_path, age=100.0)
    path = capture(scene.path(1))
    os.utime(path, ns=(moment, moment))
    assert scene.tidy() == [path.name]
    scene.wait(99)
    assert scene.tidy() == [path.name]
    scene.wait(2)
    assert scene.tidy() == []


@pytest.mark.parametrize("keeping", [{"size": 1}, {"age": 1.0}, {"compress": "gz"}])
def test_what_is_not_ours_is_never_touched(tmp_path, keeping):
    """Captures of others, other files, links, folders, and ours under names that are not."""
    scene = Scene(tmp_path, **keeping)
    foreign(scene.path(1), age=100)
    scene.path(2).write_text("no capture")
    dated(scene.path(2), 100)
    scene.path(3).write_bytes(b"")
    elsewhere = capture(tmp_path / "mine.pcapng", age=100)
    scene.path(4).symlink_to(elsewhere)
    scene.path(5).mkdir()
    capture(scene.path(5) / "x.pcapng", age=100)
    before = sorted(tmp_path.rglob("*"))
    scene.tidy()
    assert sorted(tmp_path.rglob("*")) == before
    assert scene.notices == []


def test_files_of_others_do_not_count(tmp_path):
    """A large one of the same name must not cost all of ours."""
    scene = Scene(tmp_path, size=100_000)
    capture(scene.path(1), age=100)
    foreign(scene.path(2)).write_bytes(bytes(1_000_000))
    assert len(scene.tidy()) == 2


def test_a_file_that_is_open_is_never_touched(tmp_path):
    """By us or by another process: whoever writes one has it locked."""
    scene = Scene(tmp_path, size=1, compress="gz")
    path = capture(scene.path(1), age=100)
    with path.open("ab") as file:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX)
        assert scene.tidy() == [path.name]
    assert scene.tidy() == []  # it is longer than may be


def test_nothing_is_deleted_unless_it_is_asked_for(tmp_path):
    """A folder that is full of years stays so."""
    scene = Scene(tmp_path)
    capture(scene.path(1), age=10**8)
    assert scene.tidy() == [scene.path(1).name]
    assert not RetentionPolicy()


# Compressing.


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_whole_is_compressed(tmp_path, kind):
    """The same bytes, as old as before; the original is gone."""
    scene = Scene(tmp_path, compress=kind)
    path = capture(scene.path(1), age=77, messages=1000)
    data, state = path.read_bytes(), path.stat()
    assert scene.tidy() == [path.name + KINDS[kind]]
    packed = path.with_name(path.name + KINDS[kind])
    raw = packed.read_bytes()
    unpack = (
        gzip.decompress if kind == "gz" else zstandard.ZstdDecompressor().decompressobj().decompress
    )
    assert unpack(raw) == data
    assert len(raw) < len(data) / 2
    assert packed.stat().st_mtime_ns == state.st_mtime_ns
    assert packed.stat().st_mode == state.st_mode
    [(text, bad)] = scene.notices
    assert text == f"compressed {path} to {packed}: {len(data):,} to {len(raw):,} bytes"
    assert not bad
    assert scene.tidy() == [packed.name]


@pytest.mark.parametrize("kind", KINDS)
def test_compressed_files_are_deleted_as_the_others(tmp_path, kind):
    """Ours, and no others."""
    scene = Scene(tmp_path, compress=kind)
    capture(scene.path(1), age=100)
    scene.tidy()
    other = tmp_path / (scene.path(2).name + KINDS[kind])
    other.write_bytes(gzip.compress(b"else") if kind == "gz" else zstandard.compress(b"else"))
    dated(other, 100)
    assert Scene(tmp_path, age=50.0).tidy() == [other.name]


def test_anyone_who_stops_leaves_the_original(tmp_path):
    """And nothing else. It is done the next time."""
    scene = Scene(tmp_path, compress="gz")
    path = capture(scene.path(1))
    scene.steps = 1  # the file is looked at, its first piece is not
    assert scene.tidy() == [path.name]
    scene.steps = 100
    assert scene.tidy() == [path.name + ".gz"]


def test_what_a_crash_has_left_is_tidied(tmp_path):
    """A copy that is not whole goes; where both are whole and the same, the original does."""
    scene = Scene(tmp_path, compress="gz")
    first, second, third = (capture(scene.path(number), messages=number) for number in (1, 2, 3))
    Path(f"{first}.gz.part").write_bytes(b"\x1f\x8b half")
    Path(f"{scene.path(9)}.zst.part").write_bytes(b"half")
    Path(f"{second}.gz").write_bytes(gzip.compress(second.read_bytes()))
    Path(f"{third}.gz").write_bytes(gzip.compress(b"something else"))
    names = [f"{first.name}.gz", f"{second.name}.gz", third.name, f"{third.name}.gz"]
    assert scene.tidy() == names
    bad = [text for text, bad in scene.notices if bad]
    assert bad == [f"cannot compress {third}: it already exists"]
    assert scene.tidy() == names
    assert len([text for text, bad in scene.notices if bad]) == 1


def test_a_copy_that_another_process_makes_is_left_to_it(tmp_path):
    """It holds the lock of the original."""
    scene = Scene(tmp_path, compress="gz")
    path = capture(scene.path(1))
    part = Path(f"{path}.gz.part")
    part.write_bytes(b"half")
    with path.open("rb") as file:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX)
        assert scene.tidy() == [path.name, part.name]


@pytest.mark.parametrize("moment", ["write", "fsync", "replace", "unlink"])
def test_wherever_it_ends_nothing_is_lost(tmp_path, monkeypatch, moment):
    """A full disk, a crash: the original is there, or a copy of which all is on the disk."""
    scene = Scene(tmp_path, compress="gz")
    path = capture(scene.path(1), messages=100)
    data = path.read_bytes()

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        if moment == "write":
            patch.setattr("gzip.GzipFile.write", fail)
        elif moment == "fsync":
            patch.setattr("os.fsync", fail)
        else:
            patch.setattr(Path, moment, fail)
        scene.tidier.apply()
    assert any(bad and "No space left" in text for text, bad in scene.notices)
    assert not list(tmp_path.glob("*.part"))
    if moment == "unlink":
        assert gzip.decompress(Path(f"{path}.gz").read_bytes()) == data
    assert path.read_bytes() == data
    assert scene.tidy() == [f"{path.name}.gz"]
    assert gzip.decompress(Path(f"{path}.gz").read_bytes()) == data


@given(one=st.binary(max_size=50), other=st.binary(max_size=50), cut=st.integers(1, 7))
def test_files_are_the_same_if_their_bytes_are(one, other, cut):
    """However few a read gives."""

    class Slow:
        def __init__(self, data):
            self.data = data

        def read(self, size):
            part, self.data = self.data[: min(size, cut)], self.data[min(size, cut) :]
            return part

    assert has_same_content(Slow(one), Slow(other)) is (one == other)
    assert has_same_content(Slow(one), Slow(one))


# The parts.


def test_a_policy_says_whether_there_is_anything_to_do():
    """Without a limit and without compression no folder is searched."""
    assert not RetentionPolicy()
    assert RetentionPolicy(size=1)
    assert RetentionPolicy(age=0.5)
    assert RetentionPolicy(compress="gz")


def test_a_file_is_deleted_when_it_is_older_than_that(tmp_path):
    """Not yet at that age."""
    scene = Scene(tmp_path, age=50.0)
    path = capture(scene.path(1), age=50)
    assert scene.tidy() == [path.name]
    scene.wait(0.001)
    assert scene.tidy() == []


def test_files_that_are_exactly_as_large_as_they_may_be_are_kept(tmp_path):
    """A byte less, and the oldest goes; what others of the name hold does not count."""
    size = sum(capture(Scene(tmp_path).path(each), age=9 - each).stat().st_size for each in (1, 2))
    foreign(Scene(tmp_path).path(3), age=100)
    scene = Scene(tmp_path, size=size)
    assert len(scene.tidy()) == 3
    scene = Scene(tmp_path, size=size - 1)
    assert scene.tidy() == [scene.path(2).name, scene.path(3).name]


def test_the_reason_for_a_deletion_is_that_which_holds(tmp_path):
    """One that is both too old and too much is too old."""
    scene = Scene(tmp_path, age=50.0, size=1)
    capture(scene.path(1), age=100)
    capture(scene.path(2), age=10)
    assert scene.tidy() == []
    assert [text.partition(": ")[2] for text, _ in scene.notices] == [
        "older than record_keep_age",
        "more than record_keep_size",
    ]


def test_an_unfinished_copy_counts_for_nothing(tmp_path):
    """It is neither deleted as a capture nor part of the sum."""
    scene = Scene(tmp_path, size=10_000)
    path = capture(scene.path(1), age=100)
    part = Path(f"{path}.gz.part")
    part.write_bytes(path.read_bytes() * 20)
    assert scene.tidy() == [path.name, part.name]


def test_what_cannot_be_deleted_is_reported_once(tmp_path, monkeypatch):
    """And tried again each time."""
    scene = Scene(tmp_path, age=50.0)
    path = capture(scene.path(1), age=100)

    def fail(self):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", fail)
        for _ in range(3):
            scene.tidier.apply()
    assert scene.notices == [(f"cannot delete {path}: Permission denied", True)]
    assert scene.tidy() == []


def test_what_another_process_has_deleted_is_nothing_to_tell(tmp_path, monkeypatch):
    """Two proxies may share a folder."""
    scene = Scene(tmp_path, age=50.0, compress="gz")
    capture(scene.path(1), age=100)
    original = Path.unlink

    def unlink(self):
        original(self)
        raise FileNotFoundError(2, "No such file or directory")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", unlink)
        scene.tidier.apply()
    assert scene.notices == []


@pytest.mark.parametrize("name", ["a.gz.part", "b.zst.part"])
def test_an_unfinished_copy_that_cannot_be_deleted_is_reported(tmp_path, monkeypatch, name):
    """Whether its original exists or not."""
    scene = Scene(tmp_path, pattern="a", compress="gz")
    capture(tmp_path / "a")
    part = tmp_path / name
    scene.tidier._files = FilesOfPattern(
        str(tmp_path / name.partition(".")[0]),
        network="n",
        name="n",
        suffixes=(".gz.part", ".zst.part"),
    )
    part.write_bytes(b"half")
    original = Path.unlink

    def fail(self, missing_ok=False):
        if self == part:
            raise PermissionError(13, "Permission denied")
        original(self, missing_ok)

    monkeypatch.setattr(Path, "unlink", fail)
    monkeypatch.setattr("lbcproxy.capture.recording.retention.compress_file", lambda *_: None)
    scene.tidier.apply()
    assert scene.notices == [(f"cannot delete {part}: Permission denied", True)]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no capture",
        foreign_capture(),
        foreign_capture(custom=b'{"schema":"other/1"}'),
        foreign_capture(custom=b"[]"),
        foreign_capture(custom=b"{"),
        # Something comes before the section: not what we write.
        build_block(6, bytes(32)) + foreign_capture(custom=b'{"schema":"lbcproxy/1"}'),
    ],
)
def test_a_capture_of_others_is_not_ours(tmp_path, data):
    """Whatever it holds."""
    scene = Scene(tmp_path, age=1.0)
    path = scene.path(1)
    path.write_bytes(data)
    dated(path, 100)
    assert scene.tidy() == [path.name]


@pytest.mark.parametrize("data", [b"", b"\x1f\x8b half", b"\x1f\x8b\x08\0" + bytes(20), b"x" * 99])
def test_a_compressed_file_that_cannot_be_read_is_not_ours(tmp_path, data):
    """Whatever is wrong with it."""
    scene = Scene(tmp_path, age=1.0)
    path = scene.path(1, "pcapng.gz")
    path.write_bytes(data)
    dated(path, 100)
    assert scene.tidy() == [path.name]
    assert scene.notices == []


def test_a_capture_with_our_note_is_ours(tmp_path):
    """That is all it takes, so the tests above are about the right thing."""
    scene = Scene(tmp_path, age=1.0)
    path = scene.path(1)
    path.write_bytes(foreign_capture(custom=b'{"schema":"lbcproxy/1"}'))
    dated(path, 100)
    assert scene.tidy() == []


def test_a_file_that_was_replaced_is_not_touched(tmp_path, monkeypatch):
    """Between its being found and its being locked another may have got its name."""
    scene = Scene(tmp_path, age=50.0)
    path = capture(scene.path(1), age=100)
    original = fcntl.flock

    def flock(descriptor, operation):
        original(descriptor, operation)
        new = capture(tmp_path / "new", age=100)
        new.replace(path)

    monkeypatch.setattr(fcntl, "flock", flock)
    assert scene.tidy() == [path.name]
    assert scene.notices == []


def test_of_several_copies_a_damaged_one_is_passed_over(tmp_path):
    """Where another one is whole, the original goes."""
    scene = Scene(tmp_path, compress="gz")
    path = capture(scene.path(1))
    Path(f"{path}.gz").write_bytes(b"\x1f\x8b half")
    Path(f"{path}.zst").write_bytes(zstandard.compress(path.read_bytes()))
    assert scene.tidy() == [f"{path.name}.gz", f"{path.name}.zst"]
    assert scene.notices == []


def test_files_that_are_known_are_not_read_again(tmp_path, monkeypatch):
    """A folder may hold thousands; what is remembered is bounded."""
    monkeypatch.setattr("lbcproxy.capture.recording.retention.MAX_KNOWN_FILES", 2)
    scene = Scene(tmp_path, size=1 << 40, age=1e9, compress="gz")
    scene.steps = 5
    read = []
    original = retention.open_decompressed

    def open_decompressed(path):
        read.append(path)
        return original(path)

    monkeypatch.setattr(retention, "open_decompressed", open_decompressed)
    paths = [capture(scene.path(number)) for number in range(5)]
    for number, known in ((0, 1), (0, 1), (1, 2), (1, 2), (2, 3), (3, 1), (0, 2)):
        assert scene.tidier._is_ours(paths[number], paths[number].stat())
        assert len(scene.tidier._ours) == known
    assert read == [paths[number] for number in (0, 1, 2, 3, 0)]


def test_work_goes_on_unless_somebody_ends_it(tmp_path):
    """`should_continue` need not be given."""
    path = capture(tmp_path / "x")
    Retention(
        str(path),
        RetentionPolicy(compress="gz"),
        lambda text, bad: None,
        network=NETWORK.id,
        name="main",
        now=lambda: NOW,
    ).apply()
    assert [each.name for each in tmp_path.iterdir()] == ["x.gz"]


@pytest.mark.parametrize(("steps", "done"), [(0, 0), (2, 1), (4, 2)])
def test_work_ends_between_files(tmp_path, monkeypatch, steps, done):
    """When the program stops."""
    scene = Scene(tmp_path, compress="gz")
    for number in range(2):
        capture(scene.path(number), age=9 - number)
    scene.steps = steps

    def compress_file(path, file, kind, should_continue):
        assert should_continue()
        path.rename(f"{path}.gz")
        return Path(f"{path}.gz"), 5

    monkeypatch.setattr(retention, "compress_file", compress_file)
    scene.tidier.apply()
    assert len(list(tmp_path.glob("*.gz"))) == done
