"""The command as a whole: its help, its version, its exit codes."""

import subprocess
import sys

import pytest

from lbcproxy import __version__
from lbcproxy.cli.main import COMMANDS
from lbcproxy.wire.engine import ENGINES
from tests.tools import TIMEOUT


def test_version_names_the_program_and_its_libraries(lbcproxy):
    """The block that belongs into a report of a defect."""
    ended = lbcproxy("--version")
    assert ended.code == 0
    names = [line.split(":")[0] for line in ended.lines]
    assert names == ["lbcproxy", "Python", "twisted", "construct", "msgspec", "engine", "Platform"]
    assert ended.lines[0].split() == ["lbcproxy:", __version__]
    assert ended.lines[5].split() == ["engine:", next(iter(ENGINES))]


def test_version_says_what_is_slower_without_the_native_engine(lbcproxy, monkeypatch):
    """And how to get it, for it may be missing for want of a compiler only."""
    assert ("the native engine is not built" in lbcproxy("--version").err) is (len(ENGINES) == 1)
    # Not removed from the registry itself: put back, it would be the last engine and not the first.
    rest = {name: made for name, made in ENGINES.items() if name != "native"}
    monkeypatch.setattr("lbcproxy.wire.engine.ENGINES", rest)
    ended = lbcproxy("--version")
    assert ended.lines[5].split() == ["engine:", "construct"]
    assert "install a C compiler" in ended.err


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_lists_every_command(lbcproxy, flag):
    """New users start here."""
    ended = lbcproxy(flag)
    assert ended.code == 0
    assert ended.err == ""
    listed = ended.out.split("Commands:")[1]
    for name in COMMANDS:
        assert f"\n  {name} " in listed


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(lbcproxy, name):
    """The line in the list of commands is the first sentence of the command's own help."""
    ended = lbcproxy(name, "--help")
    assert ended.code == 0
    assert ended.out.startswith(f"Usage: lbcproxy {name} ")


def test_unknown_command_is_a_usage_error_with_a_hint(lbcproxy):
    """A mistyped command names those there are."""
    ended = lbcproxy("shwo")
    assert (ended.code, ended.out) == (2, "")
    first, second = ended.err.splitlines()
    assert first == "lbcproxy: no command 'shwo'; the commands are " + ", ".join(COMMANDS)
    assert second == "Hint: see `lbcproxy --help`"


def test_unknown_option_is_a_usage_error_with_a_hint(lbcproxy):
    """The hint names the command whose help is wanted."""
    ended = lbcproxy("show", "--nope")
    assert ended.code == 2
    assert ended.err.startswith("lbcproxy: No such option")
    assert ended.err.splitlines()[-1] == "Hint: see `lbcproxy show --help`"


def test_no_command_shows_the_help_and_fails(lbcproxy):
    """A script that forgot the command must not go on."""
    ended = lbcproxy()
    assert ended.code == 2
    for name in COMMANDS:
        assert f"\n  {name} " in ended.err


def test_help_does_not_wait_for_twisted():
    """Help is there at once: the heavy imports belong to the commands that need them."""
    code = (
        "import sys\n"
        "before = set(sys.modules)\n"
        "from lbcproxy.cli.main import main\n"
        "try:\n    main(['--help'])\n"
        "except SystemExit:\n    pass\n"
        "heavy = {'twisted', 'construct', 'msgspec', 'importlib.metadata'}\n"
        "heavy &= set(sys.modules) - before\n"
        "assert not heavy, heavy\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT)
    assert done.returncode == 0, done.stderr
