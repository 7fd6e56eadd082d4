"""What would be written over: a file that is read, or that a running proxy writes."""

import fcntl
import os

import pytest

from tests.capture.roundtrip import entries_of
from tests.tools import CASES

CASE = CASES / "rotated" / "a.pcapng"


def commands(path, out):
    """Return each command that writes a capture, of a path into another."""
    return {
        "convert": ("convert", path, out),
        "cut": ("cut", path, out, "ping"),
        "anonymise": ("anonymise", path, out),
        "merge": ("merge", "-q", path, "-w", out),
    }


NAMES = tuple(commands("", ""))


@pytest.fixture
def own(tmp_path):
    """A capture of ours that may be changed."""
    path = tmp_path / "folder" / "x.pcapng"
    path.parent.mkdir()
    path.write_bytes(CASE.read_bytes())
    return path


@pytest.fixture
def held(own):
    """The same, while somebody writes it as a proxy does."""
    with own.open("ab") as file:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield own


def spelt(own, how):
    """Return another name of a file."""
    other = own.with_name("other.pcapng")
    if how == "symbolic link":
        other.symlink_to(own.name)
    elif how == "hard link":
        os.link(own, other)
    elif how == "another spelling":
        other = own.parent / ".." / own.parent.name / own.name
    elif how == "relative":
        other = own.relative_to(own.parent.parent)
    else:
        other = own
    return other


WAYS = ("itself", "symbolic link", "hard link", "another spelling", "relative")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("how", WAYS)
def test_an_input_is_not_overwritten(lbcproxy, own, name, how, monkeypatch):
    """--force alone is not enough; --in-place replaces it when all is written."""
    monkeypatch.chdir(own.parent.parent)
    before = own.read_bytes()
    out = spelt(own, how)
    ended = lbcproxy(*commands(own, out)[name], "--force")
    assert ended.code == 1
    assert ended.err == f"lbcproxy: {own} is being read: overwrite it with --in-place\n"
    assert own.read_bytes() == before
    wanted = own.with_name("wanted.pcapng")
    assert lbcproxy(*commands(own, wanted)[name]).code == 0
    ended = lbcproxy(*commands(own, out)[name], "--force", "--in-place")
    assert (ended.code, ended.err) == (0, "")
    assert len(entries_of(out)) == len(entries_of(wanted)) > 0
    assert sorted(each.name for each in own.parent.iterdir()) == sorted(
        {own.name, out.name, wanted.name}
    )
    assert out.is_symlink() is (how == "symbolic link")


def test_in_place_overwrites_only_an_input(lbcproxy, own):
    """Any other file still needs --force."""
    other = own.with_name("other.pcapng")
    other.write_text("mine")
    ended = lbcproxy("convert", own, other, "--in-place")
    assert ended.code == 1
    assert "--force overwrites it" in ended.err
    assert other.read_text() == "mine"


def test_one_of_several(lbcproxy, own):
    """`merge` reads many."""
    ended = lbcproxy("merge", CASE, own, "-w", own, "--force")
    assert ended.code == 1
    assert f"{own} is being read" in ended.err
    assert lbcproxy("merge", "-q", CASE, own, "-w", own, "--in-place").code == 0
    assert len(entries_of(own)) == 2 * len(entries_of(CASE))


def test_a_failure_leaves_the_input_unchanged(lbcproxy, own):
    """Where the end of the file is damage and nothing is written."""
    before = own.read_bytes()
    ended = lbcproxy("convert", own, own, "--in-place", "--network", "nowhere")
    assert ended.code == 2
    assert own.read_bytes() == before


@pytest.mark.parametrize("below", [False, True])
def test_a_core_folder_never_overwrites_itself(lbcproxy, tmp_path, below):
    """It would be read while it is written."""
    folder = tmp_path / "core"
    assert lbcproxy("convert", CASE, folder, "-F", "core").code == 0
    before = {path: path.read_bytes() for path in folder.rglob("*.dat")}
    source = next(path for path in folder.iterdir()) if below else folder
    network = ("--network", "lbry-regtest")
    for more in ([], ["--in-place"]):
        ended = lbcproxy("convert", source, folder, "-F", "core", "--force", *network, *more)
        assert ended.code == 1
        assert "a folder cannot be overwritten in place" in ended.err
    assert {path: path.read_bytes() for path in folder.rglob("*.dat")} == before


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_a_proxy_writes_is_not_overwritten(lbcproxy, held, name):
    """Its recording would go on into a file that has no name any more."""
    before = held.read_bytes()
    ended = lbcproxy(*commands(CASE, held)[name], "--force")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == f"lbcproxy: {held} is being written by another process\n"
    for more in ("--in-place", "--force"):
        assert lbcproxy(*commands(held, held)[name], more).code == 1
    assert held.read_bytes() == before
    assert [each.name for each in held.parent.iterdir()] == [held.name]


def test_a_file_that_a_proxy_writes_is_not_repaired(lbcproxy, held):
    """What looks torn may be a block that is being written."""
    with held.open("ab") as file:
        file.write(b"\x06\0\0\0")
    before = held.read_bytes()
    ended = lbcproxy("repair", held)
    assert (ended.code, ended.err) == (
        1,
        f"lbcproxy: {held} is being written by another process\n",
    )
    assert held.read_bytes() == before
    assert lbcproxy("repair", held, "-o", held.with_name("whole.pcapng")).code == 0


def test_a_file_that_is_being_written_can_be_read(lbcproxy, held):
    """The lock is only for writers."""
    assert lbcproxy("convert", held, held.with_name("other.pcapng")).code == 0
