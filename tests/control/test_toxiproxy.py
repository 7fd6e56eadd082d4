"""toxiproxy's own clients drive us: in Go against toxiproxy itself as well, and in Python."""

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.control.serving import Serving
from tests.nodes import free_port, wait_until
from tests.tools import TIMEOUT, absent, program

GO = Path(__file__).parent / "toxiproxy"
SERVER = "github.com/Shopify/toxiproxy/v2/cmd/server"


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build toxiproxy's server and a program that uses its client; return their folder."""
    go = program("go", "install Go, to have toxiproxy's client drive ours")
    folder = tmp_path_factory.mktemp("go")
    for name, package in (("client", "."), ("server", SERVER)):
        command = [go, "build", "-o", str(folder / name), package]
        done = subprocess.run(command, cwd=GO, capture_output=True, text=True, check=False)
        if done.returncode:
            absent(f"toxiproxy cannot be built: {done.stderr.strip()[-500:]}")
    return folder


@pytest.fixture
def toxiproxy(programs: Path) -> Iterator[str]:
    """Run toxiproxy, and return where its API is."""
    port = free_port()
    process = subprocess.Popen(
        [programs / "server", "-host", "127.0.0.1", "-port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until("toxiproxy listens", lambda: _listens(port))
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def drive(programs: Path, api: str) -> list[str]:
    """Run the list of requests with the client; return its output."""
    listens = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    command = [str(programs / "client"), api, *listens]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.slow
def test_the_go_client_sees_no_difference(programs: Path, toxiproxy: str, serving: Serving):
    """Its answers, its errors, and what becomes of traffic are those of toxiproxy, line by line.

    The traffic is any bytes, which have to be opaque: they would be read as an encryption key.
    """
    opaque = {"client_transport": "opaque", "upstream_transport": "opaque"}
    ours = drive(programs, serving.start(proxies=[], **opaque).api)
    assert ours == drive(programs, toxiproxy)
    assert len(ours) > 50


@pytest.fixture
def python_client(serving: Serving) -> Any:
    """Return toxiproxy-python, with its default address changed to ours."""
    try:
        from toxiproxy import Toxiproxy
    except ImportError:
        absent("pip install toxiproxy-python")
    client = Toxiproxy()
    host, port = serving.start(proxies=[]).api.split(":")
    client.update_api_consumer(host, int(port))
    return client


def test_the_python_client_works(python_client: Any):
    """Populate, add, list, remove, disable, reset, destroy."""
    assert python_client.running()
    upstream = f"127.0.0.1:{free_port()}"
    listen = f"127.0.0.1:{free_port()}"
    [proxy] = python_client.populate([{"name": "one", "upstream": upstream, "listen": listen}])
    assert python_client.populate([{"name": "one", "upstream": upstream, "listen": listen}]) == []
    assert (proxy.listen, proxy.upstream, proxy.enabled) == (listen, upstream, True)
    proxy.add_toxic(type="latency", attributes={"latency": 100, "jitter": 5})
    proxy.add_toxic(type="slicer", name="bits", stream="upstream", attributes={"average_size": 9})
    assert sorted(proxy.toxics()) == ["bits", "latency_downstream"]
    found = proxy.get_toxic("latency_downstream")
    assert (found.attributes, found.toxicity) == ({"latency": 100, "jitter": 5}, 1.0)
    assert proxy.destroy_toxic("bits")
    with proxy.down():
        assert not _listens(int(listen.split(":")[1]))
    assert _listens(int(listen.split(":")[1]))
    assert python_client.reset()
    assert proxy.toxics() == {}
    python_client.destroy_all()
    assert python_client.proxies() == {}


def test_the_python_client_gets_errors(python_client: Any):
    """Its own exceptions hang on the codes."""
    from toxiproxy.exceptions import InvalidToxic, NotFound, ProxyExists

    proxy = python_client.create(upstream="127.0.0.1:1", name="one")
    with pytest.raises(InvalidToxic):
        proxy.add_toxic(type="unheard")
    with pytest.raises(InvalidToxic):
        proxy.add_toxic(type="latency", attributes={"latancy": 1})
    with pytest.raises(NotFound):
        proxy.destroy_toxic("none")
    proxy.add_toxic(type="latency")
    with pytest.raises(ProxyExists):
        proxy.add_toxic(type="latency")
