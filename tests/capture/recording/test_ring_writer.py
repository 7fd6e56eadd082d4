"""Rings on their way to the disk: at once, in part, later, or never."""

import pytest

from lbcproxy.background import Background
from lbcproxy.capture.formats import pcapng
from lbcproxy.capture.recording.file import RETRY_INTERVAL
from lbcproxy.capture.recording.loss import Loss
from lbcproxy.capture.recording.ring_writer import RingWriter
from lbcproxy.capture.writing.pcapng_blocks import build_block
from tests.capture.recording.small_disk import SmallDisk

HEAD = build_block(pcapng.SECTION, bytes(16))
ITEMS = [build_block(6, b"%04d" % number + bytes(84)) for number in range(10)]
"""Blocks of 100 bytes."""
RESERVED = len(Loss(1 << 62, 1 << 62).block())


class Dump:
    """A ring of a few blocks, each with two messages."""

    def __init__(self, path, items=ITEMS, *, held=100, lacks=None):
        self.title, self.path = "session 1: reset", str(path)
        self.items, self.buffered_bytes = items, held
        self.lacks = lacks or Loss()
        self.asked = 0

    @property
    def count(self):
        """How many items it has."""
        return len(self.items)

    def blocks(self, skipped):
        """Return the blocks of a file without the first items, and its number of messages."""
        self.asked += 1
        return [HEAD, *self.items[skipped:]], 2 * (self.count - skipped)


class Scene:
    """A writer on a clock of the test's."""

    def __init__(self, small):
        self.small = small
        self.notices, self.closed = [], []
        self.seconds = 100.0
        self.disk = Background(1 << 20)
        self.writer = RingWriter(
            self.disk,
            lambda text, bad: self.notices.append((text, bad)),
            lambda file: self.closed.append(file.path),
            lambda: self.seconds,
        )

    @property
    def lost(self):
        """What is not on the disk, as messages and bytes."""
        return self.writer.lost.messages, self.writer.lost.size


@pytest.fixture
def scene(monkeypatch):
    """Yield a writer with a disk that has room, and end its thread."""
    small = SmallDisk(1 << 20)
    monkeypatch.setattr("lbcproxy.capture.recording.file.write_all", small.write_all)
    scene = Scene(small)
    yield scene
    assert scene.disk.close(10)


def test_a_ring_is_written_at_once(scene, tmp_path):
    """And under another name if its own is taken."""
    scene.writer.write(Dump(tmp_path / "x"))
    scene.writer.write(Dump(tmp_path / "x", ITEMS[:1]))
    assert (tmp_path / "x").read_bytes() == HEAD + b"".join(ITEMS)
    assert (tmp_path / "x-2").read_bytes() == HEAD + ITEMS[0]
    assert scene.notices == [
        (f"session 1: reset, its last 20 messages are in {tmp_path / 'x'}", False),
        (f"session 1: reset, its last 2 messages are in {tmp_path / 'x-2'}", False),
    ]
    assert (scene.lost, scene.writer.is_waiting) == ((0, 0), False)
    assert scene.disk.drain(10)
    assert scene.closed == [str(tmp_path / "x"), str(tmp_path / "x-2")]


def test_what_a_ring_lacks_is_said_by_its_file(scene, tmp_path):
    """It is lost, whether the rest is written or not."""
    lacks = Loss(3, 30)
    scene.writer.write(Dump(tmp_path / "x", lacks=lacks))
    assert scene.lost == (3, 30)
    written = (tmp_path / "x").read_bytes()
    assert written.startswith(HEAD + b"".join(ITEMS))
    assert b"3 messages (30 bytes of capture) were not recorded before this" in written


@pytest.mark.parametrize(
    ("more", "kept"),
    [(0, None), (99, None), (100, 1), (199, 1), (200, 2), (550, 5), (700, 7)],
)
@pytest.mark.parametrize("lacks", [Loss(), Loss(3, 30)])
def test_the_newest_that_fit_are_written(scene, tmp_path, more, kept, lacks):
    """As many as there is room for, with the block that says what is missing."""
    path = tmp_path / "x"
    scene.small.size = len(HEAD) + RESERVED + len(lacks.block()) + more
    scene.writer.write(Dump(path, lacks=lacks))
    whole = len(HEAD) + 1000
    assert scene.writer.is_waiting
    [(text, bad)] = scene.notices
    assert bad
    if kept is None:
        assert not path.exists()
        assert scene.lost == (20 + lacks.messages, whole + lacks.size)
        assert text.endswith("No space left on device; it is kept, and tried again every 5 s")
        return
    size = len(HEAD) + kept * 100
    missing = Loss(20 - 2 * kept, whole - size)
    assert scene.lost == (missing.messages + lacks.messages, missing.size + lacks.size)
    written = path.read_bytes()
    assert written.startswith(HEAD + b"".join(ITEMS[10 - kept :]))
    words = f"{missing.messages} messages ({missing.size} bytes of capture) were not recorded"
    assert words.replace("(1000", "(1,000").encode() in written[size:]
    assert (b"3 messages (30 bytes" in written[size:]) is bool(lacks)
    assert text.endswith(f"{path} has the last {2 * kept} of its 20 messages so far")


def test_a_disk_that_has_less_room_than_it_seemed_is_tried_with_half(scene, tmp_path, monkeypatch):
    """Others write to it too."""
    scene.small.size = 900
    write = scene.small.write_all

    def shrink(descriptor, parts):
        try:
            write(descriptor, parts)
        finally:
            scene.small.size = min(scene.small.size, 800)

    monkeypatch.setattr("lbcproxy.capture.recording.file.write_all", shrink)
    scene.writer.write(Dump(tmp_path / "x"))
    kept = (450 - RESERVED - len(HEAD)) // 100
    assert (tmp_path / "x").read_bytes().startswith(HEAD + b"".join(ITEMS[10 - kept :]))
    assert scene.lost[0] == 20 - 2 * kept


def test_what_waits_is_tried_again_after_a_while(scene, tmp_path):
    """Not at each message; the file with a part of it is replaced by the whole."""
    scene.small.size = 600
    scene.writer.write(Dump(tmp_path / "x"))
    assert scene.small.written == 2
    scene.seconds += RETRY_INTERVAL - 0.1
    scene.writer.retry()
    assert scene.small.written == 2
    scene.seconds += 0.1
    scene.writer.retry()
    assert scene.small.written == 3
    scene.writer.retry()
    scene.seconds += RETRY_INTERVAL - 0.1
    scene.writer.retry()
    assert scene.small.written == 3
    assert len(scene.notices) == 1  # each failure is not worth a line
    scene.small.size = 1 << 20
    scene.seconds += 0.1
    scene.writer.retry()
    assert not scene.writer.is_waiting
    assert scene.lost == (0, 0)
    assert [each.name for each in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x").read_bytes() == HEAD + b"".join(ITEMS)
    assert scene.notices[1:] == [
        (f"session 1: reset, its last 20 messages are in {tmp_path / 'x'}", False)
    ]
    scene.writer.retry()
    assert scene.small.written == 4


def test_a_second_ring_that_waits_does_not_put_off_the_first(scene, tmp_path):
    """Otherwise frequent failures would put it off for ever."""
    scene.small.size = 0
    scene.writer.write(Dump(tmp_path / "x"))
    scene.seconds += RETRY_INTERVAL - 0.1
    scene.writer.write(Dump(tmp_path / "y"))
    scene.small.size = 1 << 20
    scene.seconds += 0.1
    scene.writer.retry()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["x", "y"]


def test_while_one_fails_the_others_wait(scene, tmp_path):
    """A full disk is not tried once for each."""
    scene.small.size = 0
    for name in ("x", "y", "z"):
        scene.writer.write(Dump(tmp_path / name))
    assert scene.small.written == 3
    scene.seconds += RETRY_INTERVAL
    scene.writer.retry()
    assert scene.small.written == 4
    assert scene.lost == (60, 3 * (len(HEAD) + 1000))


@pytest.mark.parametrize(("most", "left"), [(300, "xyz"), (299, "yz"), (100, "z"), (99, "")])
def test_what_waits_is_bounded(scene, tmp_path, monkeypatch, most, left):
    """The oldest are given up, and stay lost."""
    monkeypatch.setattr("lbcproxy.capture.recording.ring_writer.MAX_WAITING", most)
    scene.small.size = 0
    for name in "xyz":
        scene.writer.write(Dump(tmp_path / name))
    given_up = [text for text, _ in scene.notices if "given up" in text]
    assert len(given_up) == 3 - len(left)
    assert all(bad for _, bad in scene.notices)
    assert scene.lost == (60, 3 * (len(HEAD) + 1000))
    scene.small.size = 1 << 20
    scene.seconds += RETRY_INTERVAL
    scene.writer.retry()
    assert "".join(sorted(each.name for each in tmp_path.iterdir())) == left
    assert scene.lost[0] == 20 * (3 - len(left))


def test_the_end_is_the_last_try(scene, tmp_path):
    """However soon it comes; what does not fit then is lost."""
    scene.small.size = 0
    scene.writer.write(Dump(tmp_path / "x"))
    scene.small.size = 1 << 20
    scene.writer.finish()
    assert (tmp_path / "x").exists()
    assert scene.lost == (0, 0)
    scene.small.size = 0
    scene.writer.write(Dump(tmp_path / "y"))
    scene.writer.finish()
    assert not scene.writer.is_waiting
    assert scene.lost == (20, len(HEAD) + 1000)
    lost = "20 messages (1,028 bytes of capture) were not recorded"
    assert scene.notices[-1] == (f"session 1: reset: its ring is given up: {lost}", True)
    written = scene.small.written
    scene.writer.finish()
    assert (scene.small.written, scene.lost) == (written, (20, len(HEAD) + 1000))


def test_a_part_whose_folder_is_gone_is_written_again(scene, tmp_path):
    """Whatever fails, the ring is kept, and nothing else is left."""
    folder = tmp_path / "a"
    scene.small.size = 600
    scene.writer.write(Dump(folder / "x"))
    (folder / "x").rename(tmp_path / "y")
    folder.rmdir()
    folder.write_text("")
    scene.small.size = 1 << 20
    scene.seconds += RETRY_INTERVAL
    scene.writer.retry()
    assert scene.writer.is_waiting
    folder.unlink()
    scene.seconds += RETRY_INTERVAL
    scene.writer.retry()
    assert (folder / "x").read_bytes() == HEAD + b"".join(ITEMS)
    assert [each.name for each in folder.iterdir()] == ["x"]
