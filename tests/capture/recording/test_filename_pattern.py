"""Patterns of file names: what they make, and which files they can have made."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcproxy.capture import FilenamePatternError, file_name
from lbcproxy.capture.recording.filename_pattern import (
    FilesOfPattern,
    fixed_folder,
    format_problem,
    has_generated_names,
)
from tests.capture.fake_sessions import SECOND
from tests.capture.recording.aged_files import (
    capture,
)


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


@given(
    session=st.integers(1, 10**9),
    time_ns=st.integers(0, 4_000_000_000 * SECOND),
    pattern=st.sampled_from(
        [
            "captures/%Y%m%d-%H%M%S-{network}.pcapng",
            "%Y/%m-%d/{name}.pcapng",
            "{name}/%j-%y-%U-{session}",
            "a.b-{session:06}.pcapng",
            "{network:>20}-%b %d %e-%%.pcapng",
            "{{x}}-%H.%M",
            "[x]+.pcapng",
        ]
    ),
    again=st.sampled_from(["", "-2", "-17"]),
    packed=st.sampled_from(["", ".gz", ".zst"]),
)
def test_what_a_pattern_makes_is_known_for_its_own(
    tmp_path_factory, session, time_ns, pattern, again, packed
):
    """Whatever the time, the session, and how often the name was taken."""
    folder = tmp_path_factory.mktemp("made")
    pattern = str(folder / pattern)
    made = Path(
        file_name(pattern, network="lbry-regtest", name="main", session=session, time_ns=time_ns)
    )
    path = made.with_name(f"{made.stem}{again}{made.suffix}{packed}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")
    found = FilesOfPattern(
        pattern, network="lbry-regtest", name="main", suffixes=(".gz", ".zst")
    ).files()
    assert [each for each, _ in found] == [path]


@pytest.mark.parametrize(
    "name",
    [
        "20241004-000000-bitcoin-regtest.pcapng",
        "20241004-000000-lbry-regtest.pcap",
        "20241004-000000-lbry-regtest.pcapng.bak",
        "20241004-000000-lbry-regtest-mine.pcapng",
        "my-20241004-000000-lbry-regtest.pcapng",
        "2024100x-000000-lbry-regtest.pcapng",
        "deep/20241004-000000-lbry-regtest.pcapng",
    ],
)
def test_what_a_pattern_does_not_make_is_not_its_own(tmp_path, name):
    """However near the name."""
    capture(tmp_path / name)
    made = FilesOfPattern(
        str(tmp_path / "%Y%m%d-%H%M%S-{network}.pcapng"),
        network="lbry-regtest",
        name="main",
        suffixes=(".gz",),
    )
    assert list(made.files()) == []
