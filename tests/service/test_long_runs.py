"""What a program that is kept running keeps of its sessions: switched, dumped, tidied."""

import gzip
import os
import signal
import subprocess
import sys

import pytest

from lbcproxy import networks
from lbcproxy.capture import open_capture
from lbcproxy.wire.envelope import frame
from tests.nodes import wait_until
from tests.proxy.loops import break_off, connect, listening
from tests.services import RUN, TWISTD, Service
from tests.tools import TIMEOUT

pytestmark = pytest.mark.slow

NETWORK = networks.get("lbry-regtest")


def ping(nonce):
    return frame(NETWORK.magic, "ping", nonce.to_bytes(8, "little"))


def say(client, node, *numbers):
    """Have pings pass."""
    for number in numbers:
        client.sendall(ping(number))
        assert node.recv(100) == ping(number)


def config(server, **settings):
    proxy = {"name": "main", "listen": 0, "upstream": f"127.0.0.1:{server.getsockname()[1]}"}
    return {"network": NETWORK.id, "record": "x.pcapng", "proxies": [proxy], **settings}


@pytest.fixture
def start(tmp_path):
    """Return a function that starts a program, which is stopped at the end."""
    started = []

    def begin(server, command=RUN, **settings):
        service = Service(tmp_path, config(server, **settings), command)
        started.append(service)
        return service

    yield begin
    for service in started:
        service.close()


def record(service, *words):
    """Run the command against its socket; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "lbcproxy", "record", "--control", "./control.sock", *words],
        cwd=service.folder,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=True,
    )
    return done.stdout


def nonces(path):
    """Return those of a file's pings."""
    return [each.message.record.nonce for each in open_capture(path)]


def test_recording_is_turned_off_and_on_and_rings_are_written(tmp_path, start):
    """By its socket; a node that breaks off leaves what it said last, recorded or not."""
    with listening() as server:
        service = start(server, control="./control.sock", ring=3, ring_file="ring-{session}.pcapng")
        with connect(service.ports[0], server) as (client, node):
            say(client, node, 1)
            assert record(service, "off").startswith("main: off, ring of 3 messages\n")
            say(client, node, 2, 3, 4, 5)
            record(service, "dump")
            service.said("session 1: by hand, its last 3 messages are in ring-1.pcapng")
            assert record(service, "on", "main").startswith("main: on, into x-2.pcapng")
            say(client, node, 6)
            break_off(node)
            service.said("session 1: reset, its last 3 messages are in ring-1-2.pcapng")
        assert service.end() == 0
    assert nonces(tmp_path / "ring-1.pcapng") == [3, 4, 5]
    assert nonces(tmp_path / "ring-1-2.pcapng") == [4, 5, 6]
    assert nonces(tmp_path / "x.pcapng") == [1]
    assert nonces(tmp_path / "x-2.pcapng") == [6]


def test_old_files_are_compressed_and_deleted_after_a_rotation(tmp_path, start):
    """Those of an earlier run as well; what is there in the end is what may be."""
    settings = {
        "record": "x-%Y%m%d-%H%M%S.pcapng",
        "rotate_size": 4096,
        "record_keep_size": 60_000,
        "record_compress": "gz",
    }
    others = tmp_path / "x-20200101-000000.pcapng"
    others.write_text("no capture of ours")
    os.utime(others, (0, 0))
    with listening() as server:
        service = start(server, **settings)
        with connect(service.ports[0], server) as (client, node):
            for number in range(400):  # each a packet of its own
                say(client, node, number)
        service.said("compressed x-.*gz: [0-9,]+ to [0-9,]+ bytes")
        assert service.end() == 0
        assert len(list(tmp_path.glob("x-*"))) > 4
        total = sum(each.stat().st_size for each in tmp_path.glob("x-*"))
        assert total < 60_000 + 3 * 8192
        again = start(server, **{**settings, "record_keep_size": 3000, "rotate_size": 0})
        again.said("deleted x-.*: more than record_keep_size")
        wait_until(
            "the old ones are compressed", lambda: len(list(tmp_path.glob("x-*.pcapng"))) == 2
        )
        assert again.end() == 0
    assert others.read_text() == "no capture of ours"
    assert sum(each.stat().st_size for each in tmp_path.glob("x-*.gz")) <= 3000
    for each in tmp_path.glob("x-*.gz"):
        whole = tmp_path / "whole.pcapng"
        whole.write_bytes(gzip.decompress(each.read_bytes()))
        list(open_capture(whole))


@pytest.mark.parametrize("command", [RUN, TWISTD])
@pytest.mark.parametrize("number", [signal.SIGABRT, signal.SIGQUIT, signal.SIGTERM])
def test_the_rings_of_a_program_that_dies_are_written(tmp_path, start, command, number):
    """By a watchdog's signal; an orderly stop does not count."""
    with listening() as server:
        service = start(server, command, record=None, ring=9, ring_file="ring-{session}.pcapng")
        with connect(service.ports[0], server) as (client, node):
            say(client, node, 1, 2, 3)
            node.sendall(ping(4))  # what was sent before that has been taken note of
            assert client.recv(100) == ping(4)
            code = service.end(number)
    died = number is not signal.SIGTERM
    assert code == (-number if died else 0)
    files = list(tmp_path.glob("ring*"))
    assert len(files) == died
    for each in files:
        assert nonces(each)[:3] == [1, 2, 3]
        assert b'"ring":"death"' in each.read_bytes()


def test_a_stop_is_a_reason_if_it_is_asked_for(tmp_path, start):
    """Written after the sessions end, before the program exits."""
    with listening() as server:
        service = start(
            server, record=None, ring=2, ring_on=["stop"], ring_file="ring-{session}.pcapng"
        )
        with connect(service.ports[0], server) as (client, node):
            say(client, node, 1, 2, 3)
            assert service.end() == 0
    assert nonces(tmp_path / "ring-1.pcapng") == [2, 3]
