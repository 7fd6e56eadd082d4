"""Mistakes of configuration and of the system at the start: the place, what is wrong, the code.

Both ways to start say the same and end with the same code: `lbcproxy run -c` and
`twistd -n lbcproxy -c`.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tests.limits.programs import (
    ENVIRONMENT,
    STARTS,
    TIMEOUT,
    Node,
    Program,
    hello,
    neighbour,
    proxied,
    start_of,
    write_config,
)
from tests.nodes import free_port, wait_until
from tests.tools import absent

pytestmark = pytest.mark.slow

TOP = "network: lbry-regtest\nrecord: null\n"
HINT = "Hint: `lbcproxy options` lists every setting"

kinds = pytest.mark.parametrize("kind", STARTS)


def refused(command: Sequence[str], folder: Path, code: int) -> list[str]:
    """Start what does not begin, and return what it says, without what is twistd's own."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    lines = (done.stdout + done.stderr).splitlines()
    stamped = [line.partition("[stderr#error] ")[2] or line for line in lines]
    return [line for line in stamped if line.startswith(("lbcproxy: ", "Hint: "))]


@kinds
@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(
            TOP + "memroy: 1 GiB\nproxies: [{listen: 0, upstream: 'node:1'}]",
            "config.yaml, line 3: memroy: unknown setting, did you mean memory?",
            id="unknown key",
        ),
        pytest.param(
            TOP + "proxies:\n  - {listen: 0, upstream: 'node:1'}\n  - listen: 0\n    upstraem: x",
            "config.yaml, line 6: proxies[1].upstraem: unknown setting, did you mean upstream?",
            id="unknown key of a proxy",
        ),
        pytest.param(
            TOP + "proxies:\n  - listen: 0\n    upstream: 'node:1'\n    idle_timeout: soon",
            "config.yaml, line 6: proxies[0].idle_timeout: Expected a time such as 30, 90 s, 5 m, "
            "1 h or 1 d, got `soon`; allowed: time or null",
            id="wrong type",
        ),
        pytest.param(
            TOP + "log_level: loud\nproxies: [{listen: 0, upstream: 'node:1'}]",
            "config.yaml, line 3: log_level: Invalid enum value 'loud'; allowed: debug, info, warn "
            "or error",
            id="wrong value",
        ),
        pytest.param(
            TOP + "proxies:\n- {listen: 9999, upstream: 'a:1'}\n- listen: 0.0.0.0:9999\n"
            "  upstream: b:1",
            "config.yaml, line 5: proxies[1].listen: another proxy already listens at "
            "127.0.0.1:9999",
            id="duplicate listener",
        ),
        pytest.param(
            TOP + "proxies:\n- listen: 9999\n  upstream: localhost:9999",
            "config.yaml, line 5: proxies[0].upstream: it leads back to itself: 127.0.0.1:9999 -> "
            "127.0.0.1:9999",
            id="own listener",
        ),
        pytest.param(
            "a: [1,\nb: {",
            "config.yaml, line 2: not valid YAML: expected the node content, but found "
            "'<stream end>'",
            id="not valid YAML",
        ),
        pytest.param(
            "Dear reader",
            "config.yaml: settings are expected, as `name: value`",
            id="other text",
        ),
        pytest.param(None, "config.yaml: No such file or directory", id="no file"),
    ],
)
def test_a_bad_config_is_refused(tmp_path: Path, kind: str, text: str | None, said: str):
    """Exit code 2; the file, the line, the path of the setting, and what would be right."""
    if text is not None:
        (tmp_path / "config.yaml").write_text(text)
    lines = refused(start_of(kind, "config.yaml"), tmp_path, 2)
    assert lines == [f"lbcproxy: {said}", HINT]
    assert {each.name for each in tmp_path.iterdir()} <= {"config.yaml"}


@kinds
def test_a_port_in_use_ends_the_start(tmp_path: Path, kind: str):
    """Exit code 1, and no other listener is left open for it."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        path = write_config(tmp_path, proxied("node:1"), proxied("node:1", listen=port))
        lines = refused(start_of(kind, path), tmp_path, 1)
    assert lines[0] == f"lbcproxy: cannot listen at 127.0.0.1:{port}: Address already in use"
    assert lines[1].startswith("Hint: ")


@kinds
@pytest.mark.parametrize(
    ("setting", "doing"), [("record", "cannot write"), ("log_file", "cannot log to")]
)
def test_a_folder_that_is_a_file_ends_the_start(
    tmp_path: Path, kind: str, setting: str, doing: str
):
    """Exit code 1: nobody is to find out in a month that nothing was recorded."""
    (tmp_path / "taken").write_text("I am no folder")
    for folder in ("taken", "taken/deeper"):
        path = write_config(tmp_path, proxied("node:1"), **{setting: f"{folder}/file"})
        [line] = refused(start_of(kind, path), tmp_path, 1)
        assert line.startswith(f"lbcproxy: {doing} {folder}/file: ")
        assert line.endswith(("its folder is a file", "Not a directory"))


@kinds
def test_a_folder_without_rights_ends_the_start(tmp_path: Path, kind: str):
    """The same."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    path = write_config(tmp_path, proxied("node:1"), record="closed/x.pcapng")
    [line] = refused([*_without_rights(closed), *start_of(kind, path)], tmp_path, 1)
    assert line == "lbcproxy: cannot write closed/x.pcapng: Permission denied"


def _without_rights(folder: Path) -> list[str]:
    """Return the prefix of a command that must obey the permissions of a folder, even as root."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        absent("install setpriv (util-linux), or run the tests as another user than root")
    os.chown(folder, 65534, 65534)
    powers = "-dac_override,-dac_read_search"
    return ["setpriv", f"--bounding-set={powers}", f"--inh-caps={powers}", "--"]


# What leads to the listener at a port under a name that hides it; a second listener may be between.
HIDDEN = {
    "short form": "127.1:{}",
    "host name": socket.gethostname() + ":{}",
    "IPv4 in IPv6": "[::ffff:127.0.0.1]:{}",
    "any": "0:{}",
    "another listener": "127.1:{}",
}


@pytest.mark.parametrize("mode", ["reverse", "terminate"])
@pytest.mark.parametrize("name", HIDDEN)
def test_an_upstream_that_turns_out_to_be_the_listener_ends_its_sessions(
    tmp_path: Path, mode: str, name: str
):
    """The config cannot tell what a name means: the first session does, and no flood follows."""
    if name == "host name" and _address_of(socket.gethostname()) != "127.0.0.1":
        pytest.skip("this host's name leads elsewhere")
    own, other = free_port(), free_port()
    loops = [proxied(HIDDEN[name].format(own), listen=own, mode=mode)]
    if name == "another listener":
        loops = [
            proxied(HIDDEN[name].format(other), listen=own, mode=mode),
            proxied(HIDDEN[name].format(own), listen=other, mode=mode),
        ]
    with Node() as node:
        path = write_config(tmp_path, proxied(node.port, mode=mode), *loops, record=None)
        with (
            Program(start_of("run", path), tmp_path) as program,
            neighbour(program.ports(1 + len(loops))[0]),
        ):
            with (
                socket.create_connection(("127.0.0.1", own), TIMEOUT) as client,
                suppress(ConnectionResetError),
            ):
                client.sendall(hello())
                assert client.recv(100) == b""
            why = "the upstream is this proxy itself;" if mode == "reverse" else "connected to self"
            program.wait_for(f"end: .*{why}")
            wait_until("all but the neighbour's sessions end", lambda: _open(program) == 1)
            assert program.text.count("] client connect\n") <= 5
        assert "Traceback" not in program.text


def _open(program: Program) -> int:
    return program.text.count("] client connect\n") - program.ends


def _address_of(name: str) -> str:
    try:
        return socket.gethostbyname(name)
    except OSError:
        return ""
