"""A recording of some messages only."""

import subprocess

import pytest

from lbcproxy import networks
from lbcproxy.capture import open_capture
from lbcproxy.wire.envelope import frame
from tests.proxy.loops import connect, listening
from tests.services import RUN, Service
from tests.tools import TIMEOUT

NETWORK = networks.get("lbry-regtest")
BLOCK = frame(NETWORK.magic, "block", bytes(100_000))


def ping(nonce):
    return frame(NETWORK.magic, "ping", nonce.to_bytes(8, "little"))


def config(server, **settings):
    proxy = {"listen": 0, "upstream": f"127.0.0.1:{server.getsockname()[1]}"}
    return {"network": NETWORK.id, "record": "x.pcapng", "proxies": [proxy], **settings}


def recorded(tmp_path, wanted):
    """Send some messages; return what was recorded."""
    stream = b"".join(map(ping, range(100))) + BLOCK + b"junk" + ping(100)
    with listening() as server:
        service = Service(tmp_path, config(server, record_filter=wanted), RUN)
        try:
            with connect(service.ports[0], server) as (client, node):
                client.sendall(stream)
                got = b""
                while len(got) < len(stream):
                    got += node.recv(1 << 16)
                assert got == stream
            assert service.end() == 0
        finally:
            service.close()
    return [each.raw for each in open_capture(tmp_path / "x.pcapng")]


@pytest.mark.slow
def test_only_what_the_filter_matches_is_recorded(tmp_path):
    """All of it passes; a capture of some commands of a busy node stays small."""
    assert recorded(tmp_path / "a", "ping and ping.nonce > 97") == [ping(98), ping(99), ping(100)]
    assert recorded(tmp_path / "b", "size > 1000") == [BLOCK]
    assert recorded(tmp_path / "c", "tx") == []


@pytest.mark.slow
def test_an_invalid_filter_is_an_error_with_its_line(tmp_path):
    """Before anything listens."""
    (tmp_path / "config.yaml").write_text(
        "network: lbry-regtest\nrecord_filter: pign\nproxies: [{listen: 0, upstream: 'x:1'}]\n"
    )
    command = [*RUN, "-c", "config.yaml"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=TIMEOUT, check=False
    )
    assert done.returncode == 2
    assert "config.yaml, line 2: record_filter" in done.stderr
    assert "did you mean ping?" in done.stderr
