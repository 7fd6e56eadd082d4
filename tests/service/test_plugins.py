"""Plugins of a config: loaded, reloaded when they change, refused if they are invalid."""

import subprocess
import sys

import pytest

from lbcproxy import networks
from lbcproxy.capture import open_capture
from lbcproxy.wire.envelope import frame
from tests.proxy.encrypted_sockets import connect_over
from tests.proxy.loops import listening
from tests.services import RUN, TWISTD, Service
from tests.tools import TIMEOUT

pytestmark = pytest.mark.slow

NETWORK = networks.get("lbry-regtest")
PING, PONG = (frame(NETWORK.magic, name, bytes(8)) for name in ("ping", "pong"))
DROPS = """
from lbcproxy.plugin import Drop, Plugin

class Drops(Plugin):
    why: str = "?"

    def on_{command}(self, session, message):
        return Drop(self.why)
"""

each_program = pytest.mark.parametrize(
    ("command", "transport"),
    [(RUN, "v1"), (RUN, "v2"), (TWISTD, "v1")],
    ids=["run-v1", "run-v2", "twistd-v1"],
)


def config(server, *plugins):
    proxy = {"listen": 0, "upstream": f"127.0.0.1:{server.getsockname()[1]}"}
    return {
        "network": NETWORK.id,
        "record": "x.pcapng",
        "plugins": list(plugins),
        "proxies": [proxy],
    }


@each_program
def test_a_changed_plugin_is_reloaded_and_sessions_are_kept(tmp_path, command, transport):
    """The new file is at work from the next message on; a broken one changes nothing."""
    path = tmp_path / "drops.py"
    path.write_text(DROPS.format(command="ping"))
    with listening() as server:
        service = Service(tmp_path, config(server, "drops.py why=first"), command)
        try:
            with connect_over(transport, service.ports[0], server) as (client, node):
                client.sendall(PING + PONG)
                assert node.recv(100) == PONG
                path.write_text(DROPS.format(command="pong"))
                service.said("reloaded")
                client.sendall(PONG + PING)
                assert node.recv(100) == PING
                path.write_text("class (")
                service.said("SyntaxError.*the version loaded before stays")
                client.sendall(PONG + PING)
                assert node.recv(100) == PING
            assert service.end() == 0
        finally:
            service.close()
    entries = list(open_capture(tmp_path / "x.pcapng"))
    dropped = [each for each in entries if each.verdict == "drop"]
    assert [each.command for each in dropped] == ["ping", "pong", "pong"]
    assert {each.trail for each in dropped} == {("drops: drop: first",)}
    assert {each.session for each in entries} == {1}


LEAVES = """
from lbcproxy.plugin import Drop, Plugin

class Leaves(Plugin):
    def on_ping(self, session, message):
        raise SystemExit("leaving")

    async def on_pong(self, session, message):
        raise KeyboardInterrupt("leaving")

    def on_end(self, session, why):
        raise {error}
"""


@each_program
def test_a_plugin_that_exits_stops_only_itself(tmp_path, command, transport):
    """In a hook, at import and at the end: it is reported, reloading goes on, SIGTERM works."""
    path = tmp_path / "leaves.py"
    path.write_text(LEAVES.format(error="SystemExit(3)"))
    with listening() as server:
        service = Service(tmp_path, config(server, "leaves.py"), command)
        try:
            with connect_over(transport, service.ports[0], server) as (client, node):
                client.sendall(PING + PONG)
                assert node.recv(len(PING)) == PING
                assert node.recv(len(PONG)) == PONG
                service.said("leaves: on_ping failed: leaving .SystemExit")
                service.said("leaves: on_pong failed: leaving .KeyboardInterrupt")
                path.write_text("import sys; sys.exit(1)")
                service.said("SystemExit.*the version loaded before stays")
                path.write_text(LEAVES.format(error="KeyboardInterrupt"))
                service.said("reloaded")
                client.sendall(PING)
                assert node.recv(len(PING)) == PING
                assert service.end() == 0
            service.said("leaves: on_end failed")
        finally:
            service.close()


def test_sighup_changes_the_plugins_of_new_sessions(tmp_path, transport):
    """Open ones keep theirs."""
    (tmp_path / "drops.py").write_text(DROPS.format(command="ping"))
    with listening() as server:
        settings = config(server)
        settings["proxies"][0]["name"] = "one"
        service = Service(tmp_path, settings, RUN)
        try:
            with connect_over(transport, service.ports[0], server) as (client, node):
                client.sendall(PING)
                assert node.recv(100) == PING
                service.configure({**settings, "plugins": ["drops.py"]})
                service.hang_up()
                client.sendall(PING)
                assert node.recv(100) == PING
            with connect_over(transport, service.ports[-1], server) as (client, node):
                client.sendall(PING + PONG)
                assert node.recv(100) == PONG
            assert service.end() == 0
        finally:
            service.close()


@pytest.mark.parametrize(
    ("plugins", "words"),
    [
        (["nowhere.py"], "no plugin file 'nowhere.py'"),
        (["drop_command"], "needs the setting 'commands'"),
        (["drop_command commands=pign"], "is ping meant?"),
        (["slow_inventory seconds=soon"], "SlowInventory.seconds: Expected `float`"),
        (["slow_inventory second=1"], "has no setting 'second': seconds"),
    ],
)
def test_an_invalid_plugin_is_an_error_at_the_start(tmp_path, plugins, words):
    """Before anything listens."""
    options = [part for each in plugins for part in ("-s", each)]
    mode = "reverse:127.0.0.1:1@0"
    done = subprocess.run(
        [sys.executable, "-m", "lbcproxy", "run", "--network", NETWORK.id, "-m", mode, *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 2
    assert words in done.stderr
    assert "listening" not in done.stdout
    assert not list(tmp_path.glob("captures/*"))


def test_a_plugin_over_a_capture(tmp_path):
    """What it gets wrong is said once, on standard error."""
    capture = "captures/lbcd-sync.pcap"
    (tmp_path / "fails.py").write_text(
        "from lbcproxy.plugin import Plugin\nclass F(Plugin):\n"
        "    def on_getaddr(self, session, message): return 7\n"
    )
    command = [sys.executable, "-m", "lbcproxy", "show", "-s", str(tmp_path / "fails.py"), capture]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=True)
    assert len(done.stdout.splitlines()) == len(list(open_capture(capture)))
    assert "plugin fails: on_getaddr failed: 7 is not a verdict" in done.stderr
