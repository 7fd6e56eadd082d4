"""The plugin as a file: what is in it, where it comes from, how it gets to Wireshark."""

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from lbcproxy.wire.record import MessageRecord, Record
from lbcproxy.wire.registry import commands, record_of
from lbcproxy.wire.schema import describe
from lbcproxy.wireshark import FILE_NAME, NotOurs, dissector, install, plugin_folder, uninstall
from lbcproxy.wireshark.lua import lua
from lbcproxy.wireshark.plugin import MODULES
from tests.tools import REPOSITORY, TIMEOUT, program
from tests.wireshark.judging import run_tshark

pytestmark = pytest.mark.slow

RUNTIME = REPOSITORY / "lbcproxy" / "wireshark" / "runtime"
SYNC = REPOSITORY / "captures" / "lbcd-sync.pcap"
FOREIGN = b"-- somebody else's\n"


def lbcproxy(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run our program as a user does."""
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY), **variables}
    command = [sys.executable, "-m", "lbcproxy", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env=env, timeout=TIMEOUT
    )


def filters(folder: Path) -> dict[str, str]:
    """Return what tshark knows to filter by, with what it says of it."""
    tshark = program("tshark", "install tshark")
    home = {"HOME": str(folder), "PATH": os.environ["PATH"]}
    assert lbcproxy("wireshark-plugin", "--install", **home).returncode == 0
    listed = subprocess.run(
        [tshark, "-G", "fields"],
        capture_output=True,
        text=True,
        check=True,
        env=home,
        timeout=TIMEOUT,
    ).stdout
    rows = [line.split("\t") for line in listed.splitlines()]
    return {row[2]: row[-1] for row in rows if row[0] in "PF"}


def all_records() -> list[type[Record]]:
    """Return every record of messages, those inside others included."""
    left: list[type[Record]] = [Record]
    found = []
    while left:
        left += left.pop().__subclasses__()
        found += [each for each in left if each.__module__.startswith("lbcproxy.wire.")]
    return sorted(set(found), key=lambda each: each.__name__)


# What is in it.


def test_every_field_of_every_message_has_a_filter(tmp_path: Path):
    """Under its name in `lbcproxy schema`, without brackets; the messages themselves as well."""
    known = filters(tmp_path).keys()
    for command in commands():
        record = record_of(command)
        assert record is not None
        assert f"lbry.{command}" in known
        for field in describe(record):
            path = f"lbry.{command}.{field.name.replace('[]', '')}"
            assert known & {path, f"{path}_hex"}, path
            if field.type == "list":
                assert known & {f"{path}.count", f"{path}_hex.count"}, path


def test_a_filter_says_what_its_field_is(tmp_path: Path):
    """Wireshark shows it as one types."""
    said = filters(tmp_path)
    assert said["lbry.addr.addresses.timestamp"].endswith("from protocol version 31402 on")
    assert said["lbry.inv.inventory.count"] == "list; count (CompactSize), entries; 50,000 entries"
    assert said["lbry.tx.outputs.claim.name"] == "the name that is claimed"


def test_no_record_computes_or_refuses_what_the_runtime_does_not_know():
    """What follows from a record by Python code has to be written in Lua once more; only that."""
    source = (RUNTIME / "derived.lua").read_text()
    own = (each for each in all_records() if each.__module__.startswith("lbcproxy."))
    for record in own:  # other tests have records of theirs
        parents = record.__mro__[1:]
        for method, base in (("derived", Record), ("check", Record)):
            if method in vars(record) and base in parents and record is not MessageRecord:
                name = record.__name__
                known = f"of.{name} = {{" in source or name == "Alert"  # an `inside`, see describe
                assert known, f"{name}.{method} has no counterpart in runtime/derived.lua"


def test_a_message_of_ones_own_needs_no_line_of_lua(tmp_path: Path):
    """Declare it in Python, and Wireshark shows it."""
    script = """
import sys
from pathlib import Path
from typing import Annotated, ClassVar
from construct import Int24ub
from lbcproxy import networks
from lbcproxy.wire import MessageRecord, register
from lbcproxy.wire.envelope import frame
from lbcproxy.wire.fields import Hash, UInt32, VarStr
from lbcproxy.wire.record import Record
from lbcproxy.wireshark import dissector
from tests.wireshark.captured import write

class Part(Record, frozen=True, gc=False):
    height: UInt32
    name: Annotated[bytes, VarStr(20)]

@register
class Mine(MessageRecord, frozen=True, gc=False):
    "A message that nobody else has."
    command: ClassVar[str] = "x-mine"
    parts: tuple[Part, ...]
    top: Hash
    odd: Annotated[int, Int24ub]

network = networks.get("lbry-regtest")
payload = b"\\2" + b"\\7\\0\\0\\0\\1a" + b"\\t\\0\\0\\0\\2bc" + bytes(range(32)) + b"\\1\\2\\3"
folder = Path(sys.argv[1])
write(folder / "mine.pcapng", network, [(70013, [frame(network.magic, "x-mine", payload)])])
(folder / "mine.lua").write_text(dissector())
"""
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], check=True, env=env, timeout=TIMEOUT
    )
    wanted = ("parts.count", "parts.height", "parts.name", "top", "odd")
    arguments = ["-X", f"lua_script:{tmp_path / 'mine.lua'}", "-Y", "lbry.x-mine", "-T", "fields"]
    arguments += [word for name in wanted for word in ("-e", f"lbry.x-mine.{name}")]
    shown = run_tshark(tmp_path, tmp_path / "mine.pcapng", *arguments, plugin=False).split()
    # What construct alone can read is shown as it is.
    assert shown == ["2", "7,9", "a,bc", bytes(range(32))[::-1].hex(), "010203"]


def test_the_plugin_is_readable_and_plain():
    """One file, ASCII, no line too wide to read, which says what it is."""
    source = dissector()
    assert source.isascii()
    assert source.startswith("-- Made by lbcproxy")
    assert {path.stem for path in RUNTIME.glob("*.lua")} == set(MODULES)
    for path in RUNTIME.glob("*.lua"):
        lines = path.read_text().splitlines()
        assert lines[0].startswith("-- ")
        assert len(lines) <= 400
        assert max(map(len, lines)) <= 110, path


def test_values_become_lua():
    """Quotes, reserved words, numbers as keys: nothing of it ends a string or a table early."""
    value = {"a": [1, True, 'x"\\\n\x7fé'], "end": {}, 3: "three", "b c": -1}
    expected = (
        '{a = {1, true, "x\\"\\\\\\010\\127\\195\\169"}, ["end"] = {}, [3] = "three", ["b c"] = -1}'
    )
    assert lua(value) == expected
    with pytest.raises(TypeError, match=r"1\.5 has no form"):
        lua({"a": 1.5})


# How it gets to Wireshark.


def test_the_command_prints_it():
    """To be looked at, or put somewhere by other means."""
    done = lbcproxy("wireshark-plugin")
    assert done.returncode == 0
    assert done.stdout == dissector()


def test_installed_by_one_command_wireshark_has_it(tmp_path: Path):
    """Where tshark itself says that it looks, whoever's home that is."""
    program("tshark", "install tshark")
    done = lbcproxy("wireshark-plugin", "--install", HOME=str(tmp_path / "home"))
    assert done.returncode == 0, done.stderr
    assert str(tmp_path / "home") in done.stdout
    path = next((tmp_path / "home").rglob(FILE_NAME))
    assert str(path) in done.stdout
    shown = run_tshark(tmp_path, SYNC, "-Y", "lbry.version", plugin=False)
    assert len(shown.splitlines()) == 2
    assert lbcproxy("wireshark-plugin", "--install", HOME=str(tmp_path / "home")).returncode == 0
    done = lbcproxy("wireshark-plugin", "--uninstall", HOME=str(tmp_path / "home"))
    assert f"removed {path}" in done.stdout
    assert list((tmp_path / "home").rglob("*.lua*")) == []
    done = lbcproxy("wireshark-plugin", "--uninstall", HOME=str(tmp_path / "home"))
    assert done.returncode == 0
    assert "nothing to remove" in done.stdout


def test_without_tshark_it_goes_where_wireshark_looks_as_a_rule(tmp_path: Path, monkeypatch):
    """Wireshark may be on another machine, or come later."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert plugin_folder() == tmp_path / ".local/lib/wireshark/plugins"


@pytest.mark.parametrize(
    ("says", "folder"),
    [
        ("Personal Plugins:\t/p/4.4\nPersonal Lua Plugins:\t/p/lua\n", Path("/p/lua")),
        ("Personal Plugins:\t/p/old\n", Path("/p/old")),
        ("Temp:\t/tmp\n", None),
    ],
    ids=["new", "old", "silent"],
)
def test_wireshark_is_asked_where_it_looks(tmp_path: Path, monkeypatch, says, folder):
    """Versions and systems differ; the program knows."""
    fake = tmp_path / "tshark"
    fake.write_text(f"#!/bin/sh\n[ \"$*\" = '-G folders' ] && printf '%s' '{says}'\n")
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert plugin_folder() == (folder or tmp_path / ".local/lib/wireshark/plugins")


def test_a_file_of_somebody_else_is_left_alone(tmp_path: Path):
    """Its name is not ours alone."""
    (tmp_path / FILE_NAME).write_bytes(FOREIGN)
    for change in (install, uninstall):
        with pytest.raises(NotOurs, match="is not made by lbcproxy"):
            change(tmp_path)
    done = lbcproxy("wireshark-plugin", "--install", "--folder", tmp_path)
    assert done.returncode == 1
    assert re.fullmatch(r"lbcproxy: .*lbcproxy.lua is not made by.*\nHint: .*\n", done.stderr)
    assert (tmp_path / FILE_NAME).read_bytes() == FOREIGN


def test_an_older_one_of_ours_is_replaced(tmp_path: Path):
    """After an update of lbcproxy."""
    (tmp_path / FILE_NAME).write_text("-- Made by lbcproxy 0.0.1: old\n")
    assert install(tmp_path).read_text() == dissector()
    assert [each.name for each in tmp_path.iterdir()] == [FILE_NAME]


def test_a_folder_that_cannot_be_written_is_reported(tmp_path: Path):
    """Not with a traceback."""
    (tmp_path / "file").touch()
    done = lbcproxy("wireshark-plugin", "--install", "--folder", tmp_path / "file" / "below")
    assert done.returncode == 1
    assert done.stderr.startswith("lbcproxy: ")
    assert "Traceback" not in done.stderr


def test_a_folder_alone_is_a_mistake(tmp_path: Path):
    """It would be printed, and not put there."""
    done = lbcproxy("wireshark-plugin", "--folder", tmp_path)
    assert done.returncode == 2
    assert "--folder needs --install" in done.stderr
