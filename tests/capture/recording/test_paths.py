"""Where a recording may be written, and the names that its pattern makes."""

import os
import sys

import pytest

from lbcproxy.capture import FilenamePatternError, Recorder, file_name
from lbcproxy.capture.formats import pcapng
from lbcproxy.capture.recording.filename_pattern import (
    FilesOfPattern,
    fixed_folder,
    format_problem,
    has_generated_names,
)
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


# Names.


def filled(pattern):
    """Return what a pattern makes."""
    return file_name(pattern, network="lbry-regtest", name="main", session=7, time_ns=0)


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("{nme}", "braces may contain network, name, session"),
        ("a\0b", "does not make a path"),
        ("", "does not make a path"),
        ("x.pcap", "a recording is pcapng, not pcap"),
        ("x.ndjson", "a recording is pcapng, not ndjson"),
        ("x.pcapng.gz", "a recording is pcapng"),
    ],
)
def test_a_pattern_without_a_name_is_refused(pattern, words):
    """In words that say what to write instead."""
    with pytest.raises(FilenamePatternError, match=words):
        filled(pattern)


@pytest.mark.parametrize("path", ["x", "x.pcapng", "x.log", "pcap"])
def test_any_other_name_may_be_recorded_to(path):
    """Only a name that promises another format is a mistake."""
    assert format_problem(path) is None
    assert filled(path) == path


@pytest.mark.parametrize(
    ("pattern", "generated"),
    [
        ("x.pcapng", False),
        ("{name}-{network}.pcapng", False),
        ("100%%.pcapng", False),
        ("100%%%d.pcapng", True),
        ("%-d.pcapng", True),
        ("{session}", True),
        ("{session:05}", True),
        ("{{session}}", False),
    ],
)
def test_names_that_no_user_chose(pattern, generated):
    """They are never continued, since two of them may be the same by chance."""
    assert has_generated_names(pattern) is generated


@pytest.mark.parametrize(
    ("pattern", "folder"),
    [
        ("x", "."),
        ("a/b/c", "a/b"),
        ("a/{name}/b/c", "a"),
        ("a/%Y/b/c", "a"),
        ("%Y/b/c", "."),
        ("/a/b", "/a"),
    ],
)
def test_the_folder_that_is_known_before_a_name_is_filled_in(pattern, folder):
    """Nothing below the first part that is made up is the user's."""
    assert str(fixed_folder(pattern)) == folder


def found(folder, pattern, *, suffixes=(".gz",)):
    """Return the names of what a pattern can have made."""
    files = FilesOfPattern(str(folder / pattern), network="n.t", name="main", suffixes=suffixes)
    return sorted(path.relative_to(folder).as_posix() for path, _ in files.files())


@pytest.mark.parametrize(
    ("pattern", "own", "foreign"),
    [
        ("a", ["a", "a-2", "a-17.gz", "a.gz"], ["b", "a-", "a-x", "a.zst", "a.gz.gz"]),
        ("a.p", ["a.p", "a-2.p", "a-2.p.gz"], ["a-2", "a.p-2", "a-2.q", "axp"]),
        ("{network}-{name}", ["n.t-main", "n-3.t-main"], ["nxt-main", "n.t-main-3", "n.t-x"]),
        ("{session}", ["1", "23", "4-2"], ["x", ""]),
        ("{session:05}", ["00001", "anything"], []),
        ("x-%d%%", ["x-07%", "x-7%"], ["x-ab%", "x-07"]),
        ("%B", ["October"], []),
        ("{{a}}%H", ["{a}12"], ["a12", "{a}x"]),
    ],
)
def test_files_that_a_pattern_can_have_made(tmp_path, pattern, own, foreign):
    """As far as their names tell."""
    for name in (*own, *foreign):
        if name:
            (tmp_path / name).write_bytes(b"")
    assert found(tmp_path, pattern) == sorted(own)


def test_files_are_found_in_the_folders_of_a_pattern_alone(tmp_path):
    """Neither above nor below them, and no link is followed."""
    for name in ("2024/01/x", "2024/02/x", "2024/x", "x", "other/01/x", "2024/01/x-2/x"):
        path = tmp_path / name
        if path.exists() or path.parent.is_file():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    (tmp_path / "2023").symlink_to(tmp_path / "2024")
    (tmp_path / "2024" / "03").mkdir()
    (tmp_path / "2024" / "03" / "x").symlink_to(tmp_path / "x")
    assert found(tmp_path, "%Y/%m/x") == ["2024/01/x", "2024/02/x"]
    assert found(tmp_path, "%Y/x") == ["2024/x"]
    assert found(tmp_path, "nothing/x") == []


def test_a_pattern_may_be_relative(tmp_path, monkeypatch):
    """Its files are found from the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").write_bytes(b"")
    for pattern, names in (("x", ["x"]), ("", [])):
        files = FilesOfPattern(pattern, network="n", name="n", suffixes=())
        assert [str(path) for path, _ in files.files()] == names


def test_a_file_that_is_removed_in_the_meantime_is_left_out(tmp_path, monkeypatch):
    """Others may use the folder too."""
    for number in range(3):
        (tmp_path / f"x-{number}").write_bytes(b"")
    files = FilesOfPattern(str(tmp_path / "x-%d"), network="n", name="n", suffixes=())
    names = []
    for path, _ in files.files():
        names.append(path.name)
        for other in tmp_path.iterdir():
            if other != path:
                other.unlink()
    assert len(names) == 1
