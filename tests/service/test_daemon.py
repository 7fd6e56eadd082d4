"""`twistd` without `-n`: a daemon, and the twistd that waits until it has started."""

import contextlib
import os
import signal
import socket
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from lbcproxy import networks
from lbcproxy.wire.envelope import frame
from tests.echo import Echo
from tests.nodes import free_port, wait_until
from tests.services import TWISTD, streams
from tests.tools import TIMEOUT

DAEMON = tuple(each for each in TWISTD if each != "-n")
PING = frame(networks.get("lbry-regtest").magic, "ping", bytes(8))


@pytest.fixture
def daemon(tmp_path):
    """Have twistd start a daemon with a config; it is ended with the test."""

    def start(proxy):
        config = {"network": "lbry-regtest", "record": "it.pcapng", "proxies": [proxy]}
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
        # Not into pipes: a daemon may keep them open.
        with (tmp_path / "output.txt").open("wb") as output:
            done = subprocess.run(
                [*DAEMON, "-c", "config.yaml"],
                cwd=tmp_path,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=TIMEOUT,
                check=False,
            )
        return done.returncode, (tmp_path / "output.txt").read_text()

    yield start
    with contextlib.suppress(OSError, ValueError):
        os.kill(int((tmp_path / "twistd.pid").read_text()), signal.SIGKILL)


def is_alive(number: int) -> bool:
    """Whether a process, which need not be a child of ours, is there and no zombie."""
    with contextlib.suppress(OSError):
        return ") Z " not in Path(f"/proc/{number}/stat").read_text()
    return False


@pytest.mark.slow
def test_a_daemon_forwards_and_records_until_it_is_stopped(daemon, tmp_path):
    """Its files are where twistd was called, though a daemon has no terminal."""
    port = free_port()
    with closing(Echo()) as echo:
        assert daemon({"listen": port, "upstream": f"127.0.0.1:{echo.port}"}) == (0, "")
        number = int((tmp_path / "twistd.pid").read_text())
        with socket.create_connection(("127.0.0.1", port), TIMEOUT) as connection:
            connection.sendall(PING)
            assert connection.recv(65_536) == PING
            client = connection.getsockname()[1]
            os.kill(number, signal.SIGTERM)
            wait_until("it has ended", lambda: not is_alive(number))
    assert streams(tmp_path / "it.pcapng") == {client: (PING, PING)}
    assert not (tmp_path / "twistd.pid").exists()


@pytest.mark.slow
def test_a_daemon_that_cannot_start_is_an_error(daemon, tmp_path):
    """The caller gets the error without waiting for ever, and nothing is left running."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, said = daemon({"listen": port, "upstream": "127.0.0.1:1"})
    assert code == 1
    assert f"cannot listen at 127.0.0.1:{port}: Address already in use" in said
    assert not (tmp_path / "twistd.pid").exists()
