"""A service with a key log: which connections are in it, and that secrets are nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

pytest.importorskip("coincurve", reason="install lbcproxy with its extra bip324")

from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol

from lbcproxy.capture import open_capture
from lbcproxy.errors import LbcproxyError
from lbcproxy.peer import NonceCache, Peer, PeerConfig, Transport
from lbcproxy.transport.key_log import KeyLog, LoggedSecret
from lbcproxy.transport.keys import SessionKeys
from tests.nodes import free_port
from tests.proxy.loops import Loop
from tests.proxy.transports import NETWORK
from tests.service.served import Served

CONFIG = PeerConfig(network=NETWORK, transport=Transport.V2)
ENCRYPTED = {
    "client_transport": "v2",
    "upstream_transport": "v2",
    "log_level": "debug",
}


class Nodes:
    """A node that encrypts, and clients of a proxy in front of it that do."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.accepted: list[Peer] = []
        self.port = loop.listen(self._accept)

    def proxy(self, mode: str = "terminate") -> dict[str, Any]:
        """The settings of a proxy in front of the node."""
        upstream = f"127.0.0.1:{self.port.getHost().port}"
        return {"mode": mode, "listen": free_port(), "upstream": upstream}

    def talk(self, port: int) -> list[LoggedSecret]:
        """Shake hands through a proxy, and disconnect; return the secrets of both legs."""
        config = msgspec.structs.replace(CONFIG, user_agent_name="client")
        client = self._peer(config, inbound=False)

        async def talk() -> None:
            endpoint = TCP4ClientEndpoint(self.loop.reactor, "127.0.0.1", port)
            await connectProtocol(endpoint, client)
            await client.when_ready()
            gone = [each.when_disconnected() for each in (client, self.accepted[-1])]
            client.disconnect()
            for each in gone:
                await each

        self.loop.call(talk)
        secrets = [client.logged_secret, self.accepted[-1].logged_secret]
        return [each for each in secrets if each is not None]

    def _accept(self) -> Peer:
        self.accepted.append(self._peer(CONFIG, inbound=True))
        return self.accepted[-1]

    def _peer(self, config: PeerConfig, *, inbound: bool) -> Peer:
        return Peer(config, inbound=inbound, clock=self.loop.reactor, nonces=NonceCache())


@pytest.fixture
def nodes(loop: Loop) -> Any:
    """Return nodes that encrypt."""
    nodes = Nodes(loop)
    yield nodes
    loop.call(nodes.port.stopListening)


def logged(path: Path) -> set[LoggedSecret]:
    """Return what a key log has."""
    log = KeyLog(path.read_text().splitlines())
    starts = [bytes.fromhex(line.split()[1]) for line in path.read_text().splitlines()]
    return {found for start in starts if (found := log.find(start)) is not None}


@pytest.mark.parametrize("mode", ["terminate", "reverse"])
def test_both_legs_are_logged_and_nothing_else_has_their_keys(
    served: Served, nodes: Nodes, mode: str
):
    """Neither the log nor the capture, with everything that can be derived from the secrets."""
    keys, proxy = served.folder / "keys.log", nodes.proxy(mode)
    served.start(proxy, key_log=str(keys), **ENCRYPTED)
    secrets = nodes.talk(proxy["listen"])
    served.stop()
    assert len(set(secrets)) == 2
    assert logged(keys) == set(secrets)
    recorded = served.folder / "x.pcapng"
    assert {"version", "verack"} <= {each.command for each in open_capture(recorded)}
    written = recorded.read_bytes() + "\n".join(served.lines).encode()
    for secret in secrets:
        derived = SessionKeys.derive(secret.secret, secret.magic)
        each_direction = (derived.initiator, derived.responder)
        keys_of = [key for direction in each_direction for key in direction]
        for private in (secret.secret, *keys_of):
            assert private not in written
            assert private.hex().encode() not in written.lower()


def test_without_a_key_log_there_is_none(served: Served, nodes: Nodes):
    """Keys are only written if somebody asked for it."""
    proxy = nodes.proxy()
    served.start(proxy, **ENCRYPTED)
    [*secrets] = nodes.talk(proxy["listen"])
    served.stop()
    for path in served.folder.iterdir():
        for secret in secrets:
            assert secret.secret not in path.read_bytes()
            assert secret.secret.hex().encode() not in path.read_bytes().lower()


def test_a_reload_changes_and_reopens_it(served: Served, nodes: Nodes):
    """For new sessions; a file that was moved away is begun anew."""
    one, other = served.folder / "one.log", served.folder / "other.log"
    proxy = nodes.proxy()
    served.start(proxy, key_log=str(one), **ENCRYPTED)
    first = nodes.talk(proxy["listen"])
    one.rename(served.folder / "moved.log")
    served.hang_up()
    second = nodes.talk(proxy["listen"])
    assert logged(one) == set(second)
    assert logged(served.folder / "moved.log") == set(first)
    served.write(proxy, key_log=str(other), **ENCRYPTED)
    served.hang_up()
    third = nodes.talk(proxy["listen"])
    assert (logged(one), logged(other)) == (set(second), set(third))
    served.write(proxy, **ENCRYPTED)
    served.hang_up()
    nodes.talk(proxy["listen"])
    assert (logged(one), logged(other)) == (set(second), set(third))


def test_a_reload_with_a_file_that_cannot_be_opened(served: Served, nodes: Nodes):
    """Keeps the one before, and says why."""
    keys, proxy = served.folder / "keys.log", nodes.proxy()
    served.start(proxy, key_log=str(keys), **ENCRYPTED)
    served.write(proxy, key_log=str(served.folder), **ENCRYPTED)
    served.hang_up()
    assert f"key_log: cannot append to {served.folder}: Is a directory" in served.log
    assert set(nodes.talk(proxy["listen"])) == logged(keys)


def test_a_file_that_cannot_be_opened_is_an_error_at_the_start(served: Served, nodes: Nodes):
    """Nothing listens then."""
    proxy = nodes.proxy()
    with pytest.raises(LbcproxyError, match="^key_log: cannot append to .*: Is a directory$"):
        served.start(proxy, key_log=str(served.folder), **ENCRYPTED)
