"""The documentation says what is: generated pages are fresh, every option is mentioned."""

from __future__ import annotations

import contextlib
import importlib.machinery
import importlib.util
import json
import os
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import click
import pytest
import yaml

from lbcproxy.capture.formats import pcap, pcapng
from lbcproxy.cli.main import COMMANDS, cli
from lbcproxy.config import Config, load
from lbcproxy.filters import parse
from lbcproxy.filters.fields import DERIVED
from lbcproxy.networks import all_networks
from lbcproxy.peer import Peer, PeerConfig, Timeouts
from lbcproxy.replay.comparing.ignored_fields import VOLATILE_FIELDS
from lbcproxy.wire import commands
from tests.nodes import free_port
from tests.tools import TIMEOUT

ROOT = Path(__file__).parent.parent
FOLDERS = (".", "docs", "captures", "plugins")
PAGES = sorted(path for folder in FOLDERS for path in (ROOT / folder).glob("*.md"))
MANUAL = "\n".join(path.read_text() for path in PAGES)
LINK = re.compile(r"\]\((?!https?://)([^)#]+)(?:#[^)]*)?\)")


def generator():
    """Load script/generate-docs, which has no suffix."""
    path = str(ROOT / "script" / "generate-docs")
    loader = importlib.machinery.SourceFileLoader("generate_docs", path)
    spec = importlib.util.spec_from_loader(loader.name, loader)
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_the_page_of_messages_is_fresh():
    """It is made from the declarations; run script/generate-docs after changing one."""
    assert (ROOT / "docs" / "messages.md").read_text() == generator().page()


def test_the_page_of_messages_has_every_message():
    """Each command has a section."""
    text = generator().page()
    assert re.findall(r"^## (\w+)$", text, re.MULTILINE) == list(commands())


def test_the_tables_of_the_peer_are_fresh():
    """They are made from the declarations; run script/generate-docs after changing one."""
    text = (ROOT / "docs" / "peer.md").read_text()
    assert text == generator().peer_page(text)


def test_the_tables_of_the_filters_are_fresh():
    """They are made from the declarations; run script/generate-docs after changing one."""
    text = (ROOT / "docs" / "filters.md").read_text()
    assert text == generator().filters_page(text)


def test_the_page_of_the_filters_has_what_only_filters_have():
    """Ids, addresses and claims stand in no table of messages."""
    text = (ROOT / "docs" / "filters.md").read_text()
    for record, members in DERIVED.items():
        missing = [name for name in members if not re.search(rf"`[\w.]*\b{name}`", text)]
        assert missing == [], record


def test_the_examples_of_the_filters_are_filters():
    """Whoever copies one finds that it works."""
    text = (ROOT / "docs" / "filters.md").read_text()
    shown = re.findall(r"\| `([^`]+)` \|$", text, re.MULTILINE)
    quoted = re.findall(r"^(?:\$ )?lbcproxy (?:show|run) .*?'([^'\n]+)'$", text, re.MULTILINE)
    assert len(shown) > 30
    assert len(quoted) >= 3
    for each in shown + quoted:
        parse(each)


def test_the_tables_of_faults_are_fresh():
    """They are made from the declarations; run script/generate-docs after changing one."""
    text = (ROOT / "docs" / "faults.md").read_text()
    assert text == generator().faults_page(text)


def test_the_examples_of_faults_are_configs():
    """What is copied from the page works."""
    examples = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "faults.md").read_text(), re.S)
    assert len(examples) > 3
    for example in examples:
        assert load(yaml.safe_load(example)).proxies


@pytest.mark.parametrize("struct", [PeerConfig, Timeouts], ids=lambda struct: struct.__name__)
def test_the_page_of_the_peer_explains_every_field(struct):
    """Each has a row with its default and a meaning."""
    rows = {
        row.split(" | ")[0].strip("| `"): row.strip("|").split(" | ")
        for row in (ROOT / "docs" / "peer.md").read_text().splitlines()
        if row.startswith("| `")
    }
    for name in struct.__struct_fields__:
        _, kind, default, meaning = map(str.strip, rows[name])
        assert kind
        assert default
        assert meaning


@pytest.mark.parametrize("name", [name for name in dir(Peer) if not name.startswith("_")])
def test_the_page_of_the_peer_names_what_users_call(name):
    """Names in camelCase are Twisted's, and `ELSEWHERE` says whose the rest are."""
    if name.lower() == name and name not in ELSEWHERE:
        assert re.search(rf"\b{name}\b", (ROOT / "docs" / "peer.md").read_text())


ELSEWHERE = {
    *(
        "agreed",
        "broken",
        "carry_by",
        "carrier_buffer",
        "opened",
        "received",
        "finished",
        "closed",
        "filled",
        "drained",
    ),  # what Twisted's calls become
    *(
        "write",
        "finish",
        "close",
        "abort",
        "full",
        "aborted",
        "hand_over",
    ),  # Connection's, for a RelayPeer
    "core",  # the inside, for whoever builds on it
    *("connected", "factory", "transport"),  # Twisted's
}


def test_the_examples_of_the_peer_meet(tmp_path):
    """One asks the other over loopback, as docs/peer.md tells."""
    port = str(free_port())
    with background([sys.executable, "examples/listen.py", "lbry-regtest", port]) as listener:
        assert listener.stdout.readline() == f"listening at 127.0.0.1:{port}\n"
        done = example("headers.py", "lbry-regtest", f"127.0.0.1:{port}")
        assert done.returncode == 0, done.stderr
        said = done.stdout.splitlines()
        assert said[0].endswith("/listen:1/' speaks version 70016")
        assert len(said) == 5
        assert said[-1] == "3 headers came"
        assert "/headers:1/" in listener.stdout.readline()
        assert "closed by the node" in listener.stdout.readline()


@pytest.mark.slow
def test_the_example_says_why_it_has_no_headers():
    """Nobody listens, or on another network."""
    port = str(free_port())
    done = example("headers.py", "lbry-regtest", f"127.0.0.1:{port}")
    assert done.returncode == 1
    assert "Connection was refused" in done.stderr
    assert "Traceback" not in done.stderr
    with background([sys.executable, "examples/listen.py", "lbry-regtest", port]) as listener:
        listener.stdout.readline()
        done = example("headers.py", "lbry-mainnet", f"127.0.0.1:{port}")
        assert (done.returncode, done.stderr) == (
            1,
            f"127.0.0.1:{port} sent no headers: closed by the node\n",
        )


@pytest.mark.parametrize("command", VOLATILE_FIELDS)
def test_the_page_of_replay_names_what_is_not_compared(command):
    """Whoever wonders why there is no difference finds it there."""
    text = (ROOT / "docs" / "replay.md").read_text()
    [row] = [row for row in text.splitlines() if re.match(rf"\|.*`{command}`.*\|.*\|$", row)]
    assert [name for name in VOLATILE_FIELDS[command] if f"`{name}`" not in row] == []


@contextlib.contextmanager
def background(command):
    """Run a program in the repository while something else happens."""
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=subprocess.STDOUT, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def example(name, *arguments):
    """Run a script of examples/ to its end."""
    command = [sys.executable, f"examples/{name}", *arguments]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=TIMEOUT
    )


def options(name):
    """Return the spellings of each of a command's options, as its help shows them."""
    command = cli.get_command(click.Context(cli), name)
    found = command.get_params(click.Context(command))
    return [tuple(option.opts) for option in found if isinstance(option, click.Option)]


OPTIONS = [(name, spellings) for name in COMMANDS for spellings in options(name)]


@pytest.mark.parametrize(
    ("name", "spellings"), OPTIONS, ids=[f"{name}{spelled[-1]}" for name, spelled in OPTIONS]
)
def test_every_option_is_mentioned(name, spellings):
    """An option nobody can read of is an option nobody uses. One of its spellings will do.

    Of a flag that is a setting, the setting's name.
    """
    settings = [each[2:].replace("-", "_") for each in spellings if each.startswith("--")]
    spellings = (*spellings, *(each for each in settings if each in Config.__struct_fields__))
    forms = "|".join(map(re.escape, spellings))
    assert re.search(rf"(?<![\w-])(?:{forms})(?![\w-])", MANUAL), f"{name} {spellings}"


def test_there_are_options_to_look_for():
    """The test above looks at something."""
    assert ("run", ("--legs", "--record-legs")) in OPTIONS
    assert ("show", ("-V", "--verbose")) in OPTIONS


@pytest.mark.parametrize("network", all_networks())
def test_every_network_is_mentioned(network):
    """The names are what one types."""
    assert network in MANUAL


def test_the_numbers_of_the_format_are_those_of_the_code():
    """Anyone who writes a reader relies on them."""
    text = (ROOT / "docs" / "capture-format.md").read_text()
    for number in (pcapng.PEN, pcapng.OPTION_CUSTOM):
        assert str(number) in text


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    """A link in a page names a file that is there."""
    broken = [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()]
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_files_that_are_named_are_there(page):
    """A page that names a source file does not outlive it."""
    named = re.findall(r"`((?:lbcproxy|script|docs|tests)/[\w./-]+)`", page.read_text())
    assert [name for name in named if not (ROOT / name).exists()] == []


RECIPES = {
    "Add a message": "wire/messages/greeting.py",
    "Add a network": "networks/own.py",
    "Add a capture format": "capture/formats/raw.py",
    "Add a fault by byte": "faults/by_byte/ticking.py",
    "Add a command": "cli/count.py",
    "Add a mode": "proxy/modes/callback.py",
}


def python_in(heading):
    """Return the first block of Python below a heading of CONTRIBUTING.md."""
    section = (ROOT / "CONTRIBUTING.md").read_text().split(f"\n## {heading}\n")[1]
    return section.split("```python\n")[1].split("```")[0]


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    """Copy the package, follow every recipe to the letter, and return a way to run the result."""
    folder = tmp_path_factory.mktemp("extended")
    shutil.copytree(ROOT / "lbcproxy", folder / "lbcproxy")
    for heading, path in RECIPES.items():
        (folder / "lbcproxy" / path).write_text(python_in(heading))
    main = folder / "lbcproxy" / "cli" / "main.py"
    text = main.read_text()
    main.write_text(text.replace("COMMANDS = {", 'COMMANDS = {\n    "count": "Count.",', 1))

    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "lbcproxy", *map(str, arguments)],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(folder)},
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT,
        )

    return run


@pytest.mark.slow
def test_the_recipe_for_a_message_works(extended):
    """A class in a file, and the message can be read and is described."""
    payload = "0700000002686901" + "00" * 32
    done = extended("decode", "--network", "lbry-regtest", "greeting", payload)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "mood": 7,
        "text_hex": "6869",
        "text": "hi",
        "blocks": ["00" * 32],
    }
    assert "at most 2,000 bytes" in extended("schema", "greeting").stdout


def test_the_recipe_for_a_network_works(extended):
    """A tuple in a file, and the network can be named."""
    done = extended("decode", "--network", "own-testnet", "ping", "00" * 8)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_recipe_for_a_mode_works(extended):
    """A class in a file, and flags, errors and config know how the mode is written."""
    done = extended("run", "--network", "own-testnet", "--mode", "callback:host:1@2")
    assert done.returncode == 2
    assert "write callback@[HOST:]PORT" in done.stderr
    assert "callback: connects each client" in extended("options").stdout
    assert "callback@[HOST:]PORT: connects each client" in " ".join(
        extended("run", "-h").stdout.split()
    )


@pytest.mark.slow
def test_the_recipe_for_a_fault_works(extended, tmp_path):
    """A class in a file, and it can be configured; a name that is nearly right tells of it."""
    path = tmp_path / "config.yaml"
    fault = {"type": "ticking", "attributes": {"evry": 5}}
    proxy = {"listen": 0, "upstream": "127.0.0.1:1", "faults": [fault]}
    path.write_text(yaml.safe_dump({"network": "lbry-regtest", "proxies": [proxy]}))
    done = extended("run", "-c", path)
    assert done.returncode == 2
    assert "ticking has no such attribute, did you mean every?" in done.stderr


@pytest.mark.slow
def test_the_recipes_for_a_format_and_a_command_work(extended, tmp_path):
    """A capture written in the recipe's format is counted by the recipe's command."""
    file = tmp_path / "probe.rawpkts"
    raw = b"RAWPKTS1"
    with (ROOT / "captures" / "lbcd-probe.pcap").open("rb") as capture:
        for packet in pcap.read(capture):
            data = packet.data[14:]  # without Ethernet's header
            raw += struct.pack(">QI", packet.time_ns, len(data)) + data
    file.write_bytes(raw)
    done = extended("count", file)
    assert (done.returncode, done.stdout) == (0, "104\n"), done.stderr
    file.write_bytes(raw[:-1])
    assert extended("show", file).returncode == 3
    refused = extended("convert", file, tmp_path / "out.bin", "-F", "raw")
    assert (refused.returncode, "Traceback" in refused.stderr) == (2, False)
    assert "can be written" in extended("convert", file, tmp_path / "out.rawpkts").stderr


def test_the_tests_that_the_page_beside_lbcd_names_exist():
    """A table of tests that are not there would be a promise."""
    named = re.findall(r"`([a-z0-9_]+)`", (ROOT / "docs" / "peer-lbcd.md").read_text())
    tests = "\n".join(path.read_text() for path in (ROOT / "tests" / "peer").glob("*.py"))
    there = set(re.findall(r"def test_(\w+)\(", tests))
    assert [name for name in named if name.count("_") >= 3 and name not in there] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda each: each.relative_to(ROOT).as_posix())
def test_who_reads_of_encryption_learns_what_it_needs(page):
    """On the page, or on the one that it names."""
    text = page.read_text()
    if re.search(r"transport v2|Transport\.V2|key-log", text):
        assert "encrypted.md" in text or "bip324" in text
