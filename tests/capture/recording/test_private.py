"""Nobody else may read recordings, and no name that we make leads to an existing file."""

import os
import stat

import pytest

from lbcproxy.background import Background
from lbcproxy.capture import (
    CaptureFile,
    Recorder,
    Recording,
    RecordingSettings,
    Rings,
    RingSettings,
    open_capture,
)
from lbcproxy.capture.compression import compress_file
from lbcproxy.capture.recording.filename_pattern import fixed_folder, has_generated_names
from lbcproxy.errors import CaptureError
from lbcproxy.private import ACCESS, create, make_folders
from lbcproxy.proxy.budget import Budget
from tests.capture.fake_sessions import MIDNIGHT, NETWORK, FakeSessions, ping

NAME = "20241004-000000"


@pytest.fixture(params=[0o000, 0o022, 0o177], ids=oct)
def _umask(request):
    """Whatever the umask is: that of systemd, or of nobody."""
    before = os.umask(request.param)
    yield
    os.umask(before)


def mode(path):
    """Return the permissions of a file or folder."""
    return stat.S_IMODE(path.stat().st_mode)


class Scene:
    """A recording and rings below a folder; each session goes to both."""

    def __init__(self, folder, pattern="a/%Y%m%d-%H%M%S.pcapng", access="owner", **settings):
        self.folder = folder
        self.notices = []
        self.disk = Background(1 << 24)
        self.recording = Recording(
            RecordingSettings(pattern=str(folder / pattern), access=ACCESS[access], **settings),
            self.disk,
            self.say,
            network=NETWORK.id,
            name="main",
            changes=False,
            now=lambda: MIDNIGHT,
        )
        self.rings = Rings(
            RingSettings(
                messages=10,
                size=1 << 20,
                pattern=str(folder / "rings" / "%Y" / "{session}.pcapng"),
                reasons=("reset",),
                access=ACCESS[access],
            ),
            self.disk,
            self.say,
            Budget(1 << 30),
            network=NETWORK.id,
            name="main",
            changes=False,
            now=lambda: MIDNIGHT,
        )

    def say(self, text, bad):
        self.notices.append((text, bad))

    def play(self):
        """Record a session that is reset."""
        self.recording.open()
        for observer in (self.recording, self.rings):
            play = FakeSessions(observer)
            play.start(1)
            play.receive(1, ping(1))
            play.reset(1)
        self.recording.close()
        assert self.disk.close(10)


@pytest.mark.usefixtures("_umask")
@pytest.mark.parametrize("access", ACCESS)
def test_recordings_and_rings_are_for_whom_the_config_says(tmp_path, access):
    """By default for their owner alone: they hold what people sent."""
    root = tmp_path / "new"
    Scene(root, access=access).play()
    files = list(root.rglob("*.pcapng"))
    assert len(files) == 2
    for path in files:
        assert mode(path) == ACCESS[access].file
    for folder in [root, *(each for each in root.rglob("*") if each.is_dir())]:
        assert mode(folder) == ACCESS[access].folder


def test_what_is_there_keeps_its_mode(tmp_path):
    """The permissions of a folder or file that exists are left as they are."""
    (tmp_path / "a").mkdir(mode=0o755)
    (tmp_path / "a").chmod(0o755)
    with (tmp_path / "a" / "x.pcapng").open("wb") as file:
        Recorder(file.write, network=NETWORK.id)
    (tmp_path / "a" / "x.pcapng").chmod(0o644)
    Scene(tmp_path, pattern="a/x.pcapng").play()
    assert mode(tmp_path / "a") == 0o755
    assert mode(tmp_path / "a" / "x.pcapng") == 0o644
    assert [each.raw for each in open_capture(tmp_path / "a" / "x.pcapng")] == [ping(1)]


# Names that we make.


def planted(path, what, target):
    """Put something where a recording is expected."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if what == "link":
        target.write_bytes(b"")
        path.symlink_to(target)
    elif what == "dangling link":
        path.symlink_to(target)
    elif what == "hard link":
        target.write_bytes(b"")
        os.link(target, path)
    elif what == "empty file":
        path.write_bytes(b"")
    elif what == "capture":
        with path.open("wb") as file:
            Recorder(file.write, network=NETWORK.id)
    elif what == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()


PLANTED = ["link", "dangling link", "hard link", "empty file", "capture", "pipe", "folder"]


@pytest.mark.parametrize("what", PLANTED)
def test_a_name_that_we_make_never_opens_what_is_there(tmp_path, what):
    """In a folder of all, anybody can tell what we will call a file, and put a link there."""
    target = tmp_path / "victim"
    for path in (tmp_path / "a" / f"{NAME}.pcapng", tmp_path / "rings" / "2024" / "1.pcapng"):
        target.unlink(missing_ok=True)
        planted(path, what, target)
    before = target.read_bytes() if target.exists() else None
    Scene(tmp_path).play()
    assert (target.read_bytes() if target.exists() else None) == before
    for path in (tmp_path / "a" / f"{NAME}-2.pcapng", tmp_path / "rings" / "2024" / "1-2.pcapng"):
        assert [each.raw for each in open_capture(path)] == [ping(1)]
        assert not path.is_symlink()


def test_a_folder_whose_name_we_make_is_not_a_link(tmp_path):
    """It would lead the recording to wherever somebody likes."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "2024").symlink_to(elsewhere)
    scene = Scene(tmp_path, pattern="%Y/x.pcapng")
    with pytest.raises(CaptureError, match="a symbolic link stands in its path"):
        scene.recording.open()
    assert list(elsewhere.iterdir()) == []
    (tmp_path / "mine").symlink_to(elsewhere)
    Scene(tmp_path, pattern="mine/%Y.pcapng").play()  # a link that the user has named
    assert [each.name for each in elsewhere.iterdir()] == ["2024.pcapng"]


def test_the_next_file_of_a_rotation_never_opens_what_is_there(tmp_path):
    """Its suffix is ours though the name is not."""
    (tmp_path / "x-2.pcapng").symlink_to(tmp_path / "victim")
    disk = Background(1 << 24)
    notices = []
    first = CaptureFile(str(tmp_path / "x.pcapng"), disk, notices.append).open()
    second = CaptureFile(str(tmp_path / "x.pcapng"), disk, notices.append, fresh=True).open()
    assert second.path == str(tmp_path / "x-3.pcapng")
    assert not (tmp_path / "victim").exists()
    first.close()
    second.close()
    assert disk.close(10)


@pytest.mark.parametrize("link", [False, True])
def test_a_name_that_the_user_gives_is_continued(tmp_path, link):
    """`-w EXISTING` means that file, also by way of a link."""
    path = tmp_path / "x.pcapng"
    real = tmp_path / "real.pcapng" if link else path
    with real.open("wb") as file:
        Recorder(file.write, network=NETWORK.id)
    if link:
        path.symlink_to(real)
    Scene(tmp_path, pattern="x.pcapng").play()
    assert [each.raw for each in open_capture(real)] == [ping(1)]


@pytest.mark.parametrize(
    ("pattern", "filled", "folder"),
    [
        ("x.pcapng", False, "."),
        ("/var/lib/{name}/{network}.pcapng", False, "/var/lib"),
        ("a/b/%Y/x.pcapng", True, "a/b"),
        ("a/100%%.pcapng", False, "a"),
        ("a/{session}.pcapng", True, "a"),
        ("%d/x", True, "."),
    ],
)
def test_whose_a_name_is(pattern, filled, folder):
    """What time and sessions make is ours."""
    assert has_generated_names(pattern) is filled
    assert str(fixed_folder(pattern)) == folder


# Copies.


@pytest.mark.usefixtures("_umask")
@pytest.mark.parametrize("kind", ["gz", "zst"])
def test_a_compressed_copy_is_for_whom_the_original_is(tmp_path, kind):
    """And while it is written for its owner alone."""
    path = tmp_path / "x.pcapng"
    path.write_bytes(b"capture")
    path.chmod(0o640)
    seen = []

    def go_on():
        seen.extend(mode(each) for each in tmp_path.glob("*.part"))
        return True

    with path.open("rb") as file:
        target, _ = compress_file(path, file, kind, go_on)
    assert seen == [0o600]
    assert mode(target) == 0o640


@pytest.mark.parametrize("ending", ["", ".part"])
@pytest.mark.parametrize("what", ["link", "dangling link"])
def test_a_compressed_copy_follows_no_link(tmp_path, what, ending):
    """Nor does it take it away."""
    path = tmp_path / "x.pcapng"
    path.write_bytes(b"capture")
    planted(tmp_path / f"x.pcapng.gz{ending}", what, tmp_path / "victim")
    with path.open("rb") as file, pytest.raises(FileExistsError):
        compress_file(path, file, "gz", lambda: True)
    assert (tmp_path / f"x.pcapng.gz{ending}").is_symlink()
    assert path.read_bytes() == b"capture"
    assert not (tmp_path / "victim").exists() or not (tmp_path / "victim").read_bytes()


# The parts.


def test_a_file_is_created_or_refused(tmp_path):
    """Others cannot read it at any moment."""
    before = os.umask(0)
    try:
        descriptor = create(tmp_path / "x")
    finally:
        os.umask(before)
    os.close(descriptor)
    assert mode(tmp_path / "x") == 0o600
    with pytest.raises(FileExistsError):
        create(tmp_path / "x")


def test_folders_that_are_missing_are_made(tmp_path):
    """One that is a file is an error."""
    make_folders(tmp_path / "a" / "b" / "c")
    assert [mode(tmp_path / each) for each in ("a", "a/b", "a/b/c")] == [0o700] * 3
    (tmp_path / "f").write_text("")
    with pytest.raises(OSError, match="ile exists|ot a directory"):
        make_folders(tmp_path / "f")
    with pytest.raises(OSError, match="ile exists|ot a directory"):
        make_folders(tmp_path / "f" / "x")
