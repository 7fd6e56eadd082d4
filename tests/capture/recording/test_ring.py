"""Rings: what they keep, when they are written, what their files hold."""

import errno
import os
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbcproxy.background import Background
from lbcproxy.capture import DEFAULT_REASONS, REASONS, Rings, RingSettings, open_capture
from lbcproxy.capture.recording.file import RETRY_INTERVAL
from lbcproxy.proxy.budget import Budget
from lbcproxy.session import End, EndCause, Lost
from lbcproxy.session.end import STOPPED, STOPPED_AT_ONCE
from lbcproxy.session.entry import Delivery
from lbcproxy.session.events import NotRecorded, ObserverDropped
from lbcproxy.wire.envelope import frame
from tests.capture.fake_sessions import DOWN, NETWORK, SECOND, UP, FakeSessions, ping
from tests.capture.recordings import INFO
from tests.memory import held_after

BAD = ping(1)[:-1] + b"x"
LONG = frame(NETWORK.magic, "block", bytes(100_000))
REJECT = frame(NETWORK.magic, "reject", b"\x02tx\x10\x00" + bytes(32))


class Scene(FakeSessions):
    """Rings below a folder; `memory` is what all of them may take."""

    def __init__(
        self,
        folder,
        *,
        messages=10,
        size=1 << 20,
        on=DEFAULT_REASONS,
        memory=1 << 24,
        changes=False,
    ):
        super().__init__()
        self.folder = folder
        self.notices = []
        self.disk = Background(1 << 24)
        self.budget = Budget(memory)
        pattern = str(folder / "{name}" / "{session}.pcapng")
        self.observer = self.rings = Rings(
            RingSettings(messages=messages, size=size, pattern=pattern, reasons=tuple(on)),
            self.disk,
            lambda text, bad: self.notices.append((text, bad)),
            self.budget,
            network=NETWORK.id,
            name="main",
            changes=changes,
            now=self.tick,
            clock=lambda: self.seconds,
        )
        self.seconds = 0.0

    def wait(self, seconds=RETRY_INTERVAL):
        """Let time pass, and have what waits tried again if it is time."""
        assert self.disk.drain(10)
        self.seconds += seconds
        self.rings.retry()
        assert self.disk.drain(10)

    @property
    def files(self):
        """Return what was written, once everything is."""
        assert self.disk.drain(10)
        assert not [text for text, bad in self.notices if bad]
        return sorted(self.folder.rglob("*.pcapng"))

    @property
    def file(self):
        """Return the only file."""
        [file] = self.files
        return file


def raws(path):
    """Return the messages of a file, none of them damaged."""
    entries = list(open_capture(path))
    assert [each.error for each in entries if each.error] == []
    return [each.raw for each in entries]


def end_of(path):
    """Return how its session ended."""
    reports = []
    capture = open_capture(path)
    capture.on_session_ended = reports.append
    list(capture)
    [report] = reports
    return report.how


def reason_of(path):
    """Return why it was written, from the file itself."""
    return path.read_bytes().partition(b'"ring":"')[2].partition(b'"')[0].decode()


def test_the_last_messages_are_written_when_a_node_breaks_off(tmp_path):
    """As a session that goes on, with the version that was agreed, to its end."""
    scene = Scene(tmp_path, messages=5)
    scene.start(3, version=60_001)
    for number in range(100):
        scene.receive(3, ping(number), DOWN if number % 3 else UP)
    scene.reset(3)
    assert raws(scene.file) == [ping(number) for number in range(95, 100)]
    assert end_of(scene.file) == "server reset"
    text = scene.file.read_bytes()
    assert text.count(b'"continued":true') == 1
    assert b'"protocol_version":60001' in text
    assert reason_of(scene.file) == "reset"
    assert scene.file == tmp_path / "main" / "3.pcapng"
    assert scene.notices == [(f"session 3: reset, its last 5 messages are in {scene.file}", False)]
    assert scene.rings.is_idle
    assert scene.budget.held == 0


def test_a_session_that_is_short_is_written_whole(tmp_path):
    """With its beginning: nothing was let go of."""
    scene = Scene(tmp_path, messages=100)
    scene.start(1)
    scene.receive(1, ping(1))
    scene.reset(1)
    assert raws(scene.file) == [ping(1)]
    assert b"continued" not in scene.file.read_bytes()


@pytest.mark.parametrize("changes", [False, True])
def test_both_legs_are_in_it_where_messages_may_change(tmp_path, changes):
    """As in a recording."""
    scene = Scene(tmp_path, messages=3, changes=changes)
    scene.start(1)
    for number in range(10):
        scene.receive(1, ping(number))
    scene.reset(1)
    assert raws(scene.file) == [ping(7), ping(8), ping(9)]
    assert scene.file.read_bytes().count(ping(9)) == 1 + changes


def test_of_messages_that_came_together_at_least_so_many_are_kept(tmp_path):
    """What one read brought is kept or not as a whole."""
    scene = Scene(tmp_path, messages=5)
    scene.start(1)
    for number in range(0, 40, 4):
        scene.receive(1, b"".join(map(ping, range(number, number + 4))))
    scene.reset(1)
    assert raws(scene.file) == [ping(number) for number in range(32, 40)]


def test_bytes_bound_it_as_well(tmp_path):
    """A message longer than the ring is not kept; what comes after it is."""
    scene = Scene(tmp_path, messages=1000, size=20_000)
    scene.start(1)
    for number in range(1000):
        scene.receive(1, ping(number))
        assert scene.rings.rings[0].held <= 20_000
    scene.receive(1, LONG)
    assert scene.rings.rings[0].held == 0
    scene.receive(1, ping(1))
    scene.reset(1)
    assert raws(scene.file) == [ping(1)]


@pytest.mark.slow
@given(cuts=st.lists(st.integers(1, 50_000), max_size=30), messages=st.integers(1, 6))
@settings(max_examples=40, deadline=None)
def test_it_begins_where_a_message_does(tmp_path_factory, cuts, messages):
    """However bytes come, its messages are the last that passed, and whole."""
    sent = [ping(1), LONG, ping(2), ping(3), LONG[:24] + LONG[24:], ping(4)]
    stream, place = b"".join(sent), 0
    scene = Scene(tmp_path_factory.mktemp("ring"), messages=messages)
    scene.start(1)
    for cut in cuts:
        scene.receive(1, stream[place : place + cut])
        place += cut
    scene.receive(1, stream[place:])
    scene.reset(1)
    found = raws(scene.file)
    assert found == sent[len(sent) - len(found) :]
    assert len(found) >= min(messages, len(sent))


def test_all_rings_together_are_bounded(tmp_path):
    """The biggest is emptied, and goes on from there."""
    scene = Scene(tmp_path, messages=1000, memory=100_000)
    for session in (1, 2):
        scene.start(session)
    for number in range(100):
        scene.receive(1, ping(number))
    for number in range(100):
        scene.receive(2, ping(number))
    assert scene.budget.held <= 100_000
    scene.receive(1, ping(5))
    for session in (1, 2):
        scene.reset(session)
    one, two = scene.files
    assert raws(one) == [ping(5)]
    assert raws(two)[-1] == ping(99)


@pytest.mark.slow
def test_memory_is_flat(tmp_path):
    """After a hundred thousand messages it is what it was after one thousand."""
    scene = Scene(tmp_path, messages=200)
    scene.start(1)
    runs = [b"".join(map(ping, range(start, start + 10))) for start in range(0, 1000, 10)]

    def receive(_turn):
        for run in runs:
            scene.receive(1, run)

    held = held_after(map(receive, range(101)), 1, 101)
    assert held[1] < held[0] + 20_000
    assert held[0] < 2 * scene.rings.rings[0].held + 100_000


def test_what_was_decoded_of_it_is_not_kept(tmp_path):
    """A block's record is many times as long as its bytes."""
    scene = Scene(tmp_path)
    scene.start(1)
    core, info = scene.sessions[1]
    [delivery] = core.receive(UP, ping(1), scene.tick())
    scene.observer.passed(info, UP, [delivery], scene.now)
    assert delivery.entries[0].message.record is not None  # a later observer reads it
    [kept] = scene.rings.rings[0].items[-1].event.deliveries
    assert kept.run._made is None


# When it is written.


def test_bytes_that_are_wrong_are_written_at_once_and_once_each_way(tmp_path):
    """A node that goes on sending rubbish does not fill the disk; the session goes on."""
    scene = Scene(tmp_path)
    scene.start(1)
    scene.receive(1, ping(1) + BAD)
    file = scene.file
    assert [each.error is None for each in open_capture(file)] == [True, False]
    assert reason_of(file) == "error"
    for _ in range(10):
        scene.receive(1, BAD)
        scene.receive(1, b"rubbish" * 10)
    assert len(scene.files) == 1
    scene.receive(1, BAD, DOWN)
    assert len(scene.files) == 2


@pytest.mark.parametrize("more", [b"", ping(1)])
def test_a_reject_is_written(tmp_path, more):
    """Among others or alone; with `reject` not among the reasons it is not."""
    for number, (on, files) in enumerate(((DEFAULT_REASONS, 1), (("reset",), 0))):
        scene = Scene(tmp_path / str(number), on=on)
        scene.start(1)
        scene.receive(1, more + REJECT, DOWN)
        assert [reason_of(each) for each in scene.files] == ["reject"] * files


ENDS = {
    End(EndCause.CLOSED, UP): "closed",
    End(EndCause.CLOSED, DOWN, "closed by the node"): "closed",
    End(EndCause.RESET, DOWN): "reset",
    End(EndCause.RESET, UP, "connection lost"): "reset",
    End(EndCause.TIMEOUT, detail="not a byte in 300 s"): "dropped",
    End(EndCause.FAULT, name="limit_data"): "dropped",
    End(EndCause.PLUGIN, name="ban.py"): "dropped",
    End(EndCause.PROTOCOL, detail="client: can't read message"): "dropped",
    End(EndCause.LIMIT): "dropped",
    End(EndCause.LOOP): "dropped",
    End(EndCause.FAILURE): "dropped",
    STOPPED: "stop",
    STOPPED_AT_ONCE: "stop",
    End(EndCause.UNREACHABLE, DOWN, "connection refused"): None,
}


@pytest.mark.parametrize("on", REASONS)
@pytest.mark.parametrize(("end", "reason"), ENDS.items(), ids=lambda each: str(each)[:30])
def test_an_end_is_a_reason_of_one_kind(tmp_path, end, reason, on):
    """Written are those that are asked for."""
    scene = Scene(tmp_path, on=(on,))
    scene.start(1, version=70_000)
    scene.end(1, end)
    assert [reason_of(each) for each in scene.files] == ([on] if on == reason else [])


@pytest.mark.parametrize(
    "words",
    [
        "proxy stopped by guard: bad block",
        "upstream unreachable: I said so",
        "client closed",
        "upstream reset",
        "client: closed by the node",
    ],
)
def test_a_plugin_that_ends_a_session_has_its_ring_written_whatever_it_says(tmp_path, words):
    """Its words are for people: they once switched the ring off, or gave another reason."""
    scene = Scene(tmp_path)
    scene.start(1, version=70_000)
    scene.receive(1, ping(1))
    scene.end(1, End(EndCause.PLUGIN, detail=words, name="guard"))
    assert reason_of(scene.file) == "dropped"


def test_an_end_before_the_handshake_is_a_refusal(tmp_path):
    """Whoever closes; but not of an upstream that was never there."""
    scene = Scene(tmp_path, on=("refused",))
    scene.start(1)
    scene.end(1, End(EndCause.CLOSED, DOWN))
    scene.start(2, connected=False)
    scene.end(2, End(EndCause.UNREACHABLE, DOWN, "connection refused"))
    assert [reason_of(each) for each in scene.files] == ["refused"]


def test_one_may_ask_for_it(tmp_path):
    """Of all, or of some; the session goes on, and so does its ring."""
    scene = Scene(tmp_path, on=())
    for number in (1, 2):
        scene.start(number, host=f"10.0.0.{number}")
        scene.receive(number, ping(number))
    assert scene.rings.write_all("by hand", lambda info: info.number == 2) == 1
    scene.receive(2, ping(3))
    assert raws(scene.file) == [ping(2)]
    assert scene.rings.write_all("by hand") == 2
    assert [raws(file) for file in scene.files] == [[ping(1)], [ping(2), ping(3)], [ping(2)]]
    for number in (1, 2):
        scene.end(number)
    assert len(scene.files) == 3


def test_what_cannot_be_written_is_reported_and_counted(tmp_path):
    """A folder that is a file, say."""
    (tmp_path / "main").write_text("")
    scene = Scene(tmp_path)
    scene.start(1)
    scene.receive(1, ping(1))
    scene.reset(1)
    assert scene.disk.drain(10)
    assert scene.rings.lost.messages == 1
    [(text, bad)] = scene.notices
    assert bad
    assert "fails" in text


class Full:
    """A disk that takes so many bytes of each file."""

    def __init__(self, monkeypatch):
        self.room = 1 << 30
        monkeypatch.setattr("lbcproxy.capture.recording.file.write_all", self.write_all)

    def write_all(self, descriptor, parts):
        data = b"".join(parts)
        os.write(descriptor, data[: self.room])
        if len(data) > self.room:
            raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("room", [1_400, 1_700, 3_000, 5_003])
def test_of_a_ring_on_a_full_disk_the_newest_is_written(tmp_path, monkeypatch, room):
    """Whole and readable, with what is missing said in it; all of it when there is room again."""
    scene = Scene(tmp_path, messages=100)
    disk = Full(monkeypatch)
    scene.start(1)
    for number in range(60):
        scene.receive(1, ping(number), DOWN if number % 3 else UP)
    disk.room = room
    scene.reset(1)
    assert scene.disk.drain(10)
    [file] = tmp_path.rglob("*.pcapng")
    some = raws(file)
    assert some == [ping(number) for number in range(60 - len(some), 60)]
    assert 2 <= len(some) < 60
    assert file.stat().st_size <= room
    assert file.stat().st_size > room - 400  # no more would have fitted
    assert end_of(file) == "server reset"
    assert scene.rings.lost.messages == 60 - len(some)
    lost = 60 - len(some)
    assert f"{lost:,} messages".encode() in file.read_bytes()
    [(text, bad)] = scene.notices
    assert bad
    assert text.startswith(f"session 1: reset: writing its ring to {file} fails: No space left on")
    assert text.endswith(f"{file} has the last {len(some)} of its 60 messages so far")
    scene.wait(RETRY_INTERVAL / 2)
    scene.wait()
    assert len(scene.notices) == 1
    disk.room = 1 << 30
    scene.wait()
    [again] = tmp_path.rglob("*.pcapng")
    assert again == file
    assert raws(file) == [ping(number) for number in range(60)]
    assert not scene.rings.lost
    assert scene.notices[1:] == [(f"session 1: reset, its last 60 messages are in {file}", False)]


@pytest.mark.parametrize("room", [0, 10, 300])
def test_where_nothing_fits_nothing_is_left_and_the_ring_is_kept(tmp_path, monkeypatch, room):
    """A file without its beginning cannot be read, and its name would be taken."""
    scene = Scene(tmp_path)
    disk = Full(monkeypatch)
    scene.start(1)
    scene.receive(1, ping(1))
    disk.room = room
    scene.reset(1)
    assert scene.disk.drain(10)
    assert list(tmp_path.rglob("*.pcapng")) == []
    assert scene.rings.lost.messages == 1
    disk.room = 1 << 30
    scene.rings.close()
    assert scene.disk.drain(10)
    [file] = tmp_path.rglob("*.pcapng")
    assert raws(file) == [ping(1)]
    assert not scene.rings.lost


def test_a_ring_that_could_never_be_written_counts_as_lost(tmp_path, monkeypatch):
    """`run` then ends with exit code 1."""
    scene = Scene(tmp_path)
    Full(monkeypatch).room = 0
    scene.start(1)
    scene.receive(1, ping(1))
    scene.reset(1)
    scene.rings.close()
    assert scene.disk.drain(10)
    assert scene.rings.lost.messages == 1
    assert not scene.rings.is_waiting
    assert scene.notices[-1][0].startswith("session 1: reset: its ring is given up: 1 messages")


def test_a_ring_whose_place_cannot_be_written_is_kept(tmp_path):
    """Until the folder can be made; one that has vanished is made again."""
    blocked = tmp_path / "main"
    blocked.write_text("")
    scene = Scene(tmp_path)
    for number in (1, 2):
        scene.start(number)
        scene.receive(number, ping(number))
        scene.reset(number)
    scene.wait()
    assert scene.rings.lost.messages == 2
    blocked.unlink()
    scene.wait()
    assert [raws(each) for each in sorted(tmp_path.rglob("*.pcapng"))] == [[ping(1)], [ping(2)]]
    assert not scene.rings.lost
    shutil.rmtree(blocked)
    scene.start(3)
    scene.receive(3, ping(3))
    scene.reset(3)
    assert scene.disk.drain(10)
    assert raws(blocked / "3.pcapng") == [ping(3)]


def test_rings_that_wait_for_a_disk_are_bounded(tmp_path, monkeypatch):
    """The oldest are given up, and count."""
    monkeypatch.setattr("lbcproxy.capture.recording.ring_writer.MAX_WAITING", 10_000)
    scene = Scene(tmp_path)
    disk = Full(monkeypatch)
    disk.room = 0
    for number in range(20):
        scene.start(number)
        scene.receive(number, ping(number))
        scene.reset(number)
    assert scene.disk.drain(10)
    assert scene.rings.lost.messages == 20
    disk.room = 1 << 30
    scene.wait()
    files = list(tmp_path.rglob("*.pcapng"))
    assert 2 <= len(files) < 10
    assert scene.rings.lost.messages == 20 - len(files)
    assert raws(tmp_path / "main" / "19.pcapng") == [ping(19)]


# What it holds.


@pytest.mark.parametrize("on", [("death",), ("reset",)])
def test_a_ring_whose_observer_failed_is_written_as_after_a_crash(tmp_path, on):
    """The end of the session is not observed: it may have been a bad one."""
    scene = Scene(tmp_path, on=on)
    scene.start(1)
    scene.receive(1, ping(1))
    _, info = scene.sessions[1]
    scene.observer.handle(ObserverDropped(info, scene.tick()))
    assert scene.rings.is_idle
    assert scene.budget.held == 0
    assert [reason_of(each) for each in scene.files] == [each for each in on if each == "death"]


def test_what_a_ring_lacks_counts_when_it_is_written(tmp_path):
    """Not before, and once: the next file of the session does not lack it."""
    scene = Scene(tmp_path)
    scene.start(1)
    scene.receive(1, ping(1))
    _, info = scene.sessions[1]
    for _ in range(2):
        scene.observer.handle(NotRecorded(info, Lost(messages=3, size=50), scene.tick()))
    assert not scene.rings.lost
    scene.rings.write_all("by hand")
    scene.rings.write_all("by hand")
    found = [b"6 messages (100 bytes of capture)" in each.read_bytes() for each in scene.files]
    assert sorted(found) == [False, True]
    assert (scene.rings.lost.messages, scene.rings.lost.size) == (6, 100)


def test_it_holds_what_its_messages_take(tmp_path):
    """The bytes, and about as much as Python's objects need."""
    scene = Scene(tmp_path)
    scene.start(1)
    [ring] = scene.rings.rings
    assert (ring.held, ring.messages, len(ring.items)) == (2 * 600, 0, 2)
    scene.receive(1, ping(1) + ping(2))
    assert (ring.held, ring.messages) == (3 * 600 + 2 * (64 + 32), 2)
    assert scene.budget.held == ring.held
    scene.receive(1, LONG[:1000])
    assert (ring.held, ring.messages) == (4 * 600 + 2 * (64 + 32) + 1000, 2)


def test_bytes_that_were_sent_instead_count_too(tmp_path):
    """A rewritten message is held twice."""
    scene = Scene(tmp_path, changes=True)
    scene.start(1)
    core, info = scene.sessions[1]
    [delivery] = core.receive(UP, ping(1), scene.tick())
    [ring] = scene.rings.rings
    before = ring.held
    sent = Delivery(delivery.raw, delivery.entries, b"x" * 500)
    scene.observer.passed(info, UP, [sent], scene.now)
    assert ring.held - before == 600 + 64 + 32 + 500


@pytest.mark.parametrize(("size", "kept"), [(4 * 696, 4), (4 * 696 - 1, 3)])
def test_it_is_as_large_as_it_may_be(tmp_path, size, kept):
    """Not a byte less; each ping takes 696 bytes."""
    scene = Scene(tmp_path, messages=1000, size=size)
    scene.start(1)
    for number in range(10):
        scene.receive(1, ping(number))
    [ring] = scene.rings.rings
    assert (len(ring.items), ring.held) == (kept, kept * 696)


def test_a_ring_is_emptied_for_want_of_memory(tmp_path):
    """And goes on from there, in the middle of a message."""
    scene = Scene(tmp_path)
    scene.start(1, version=60_001)
    scene.receive(1, ping(1) + LONG[:5000])
    [ring] = scene.rings.rings
    ring.reduce_memory()
    assert (len(ring.items), ring.held, ring.messages) == (0, 0, 0)
    assert ring.state.protocol_version == 60_001
    scene.receive(1, LONG[5000:])
    scene.receive(1, ping(2), DOWN)
    scene.receive(1, ping(3))
    scene.reset(1)
    assert raws(scene.file) == [ping(2), ping(3)]


def test_no_more_is_kept_than_it_takes(tmp_path):
    """The oldest goes as soon as there are enough messages without it."""
    scene = Scene(tmp_path, messages=1)
    scene.start(1)
    [ring] = scene.rings.rings
    for number in range(3):
        scene.receive(1, ping(number))
        assert (len(ring.items), ring.messages) == (1, 1)


def test_a_ring_knows_its_session_before_anything_has_happened(tmp_path):
    """Whoever asks for the rings may ask of whom they are."""
    scene = Scene(tmp_path)
    ring = scene.rings.session_started(INFO)
    assert (ring.info, ring.number) == (INFO, INFO.number)
    assert not scene.rings.is_idle


def test_a_ring_without_anything_is_not_written(tmp_path):
    """Nor counted."""
    scene = Scene(tmp_path)
    scene.start(1)
    scene.rings.rings[0].reduce_memory()
    assert scene.rings.write_all("by hand") == 0
    assert scene.files == []


def test_each_direction_is_a_reason_once(tmp_path):
    """And each kind of reason."""
    scene = Scene(tmp_path)
    scene.start(1)
    for _ in range(2):
        for direction in (UP, DOWN):
            scene.receive(1, BAD, direction)
            scene.receive(1, REJECT, direction)
    found = sorted(reason_of(each) for each in scene.files)
    assert found == ["error", "error", "reject", "reject"]


def test_a_session_that_was_reset_and_ends_otherwise_was_reset(tmp_path):
    """A node broke off; what ended the session came after that."""
    scene = Scene(tmp_path, on=("reset",))
    scene.start(1, version=60_000)
    scene.observer.reset(scene.sessions[1][1], UP, scene.tick())
    scene.finish(1, End(EndCause.TIMEOUT))
    assert reason_of(scene.file) == "reset"


def test_a_ring_is_named_by_when_it_is_written(tmp_path):
    """Not by when its session began."""
    scene = Scene(tmp_path)
    scene.rings.settings = RingSettings(
        messages=10, size=1 << 20, pattern=str(tmp_path / "%H-{network}.pcapng"), reasons=()
    )
    scene.start(1)
    scene.now += 3 * 3600 * SECOND
    scene.rings.write_all("by hand")
    assert scene.file.name == "03-lbry-regtest.pcapng"
