"""One message in a thousand altered at full load, in the program as it is run."""

import hashlib
import threading

import pytest

from lbcproxy import networks
from lbcproxy.capture import open_capture
from lbcproxy.wire.envelope import frame
from tests.live.proxies import Proxy
from tests.proxy.encrypted_sockets import connect_over
from tests.proxy.loops import listening
from tests.tools import TIMEOUT

NETWORK = networks.get("lbry-regtest")
MESSAGES = 60_000
EACH = 1000
PLUGIN = f"""
from lbcproxy.plugin import Drop, Plugin, Replace

class OneInAThousand(Plugin):
    def __init__(self):
        self.count = 0

    def on_ping(self, session, message):
        self.count += 1
        if self.count % {EACH}:
            return None
        if self.count % {2 * EACH}:
            return Drop("every other")
        return Replace(message.replace(nonce=self.count))
"""


@pytest.mark.slow
def test_one_in_a_thousand_is_altered_and_all_others_are_exact(tmp_path, transport):
    """In order, byte for byte, and the capture has each alteration with its reason."""
    (tmp_path / "altering.py").write_text(PLUGIN)
    sent, expected = bytearray(), hashlib.sha256()
    size = pings = 0
    for number in range(1, 2 * MESSAGES + 1):
        if number % 2:
            raw = frame(NETWORK.magic, "tx", number.to_bytes(4, "little") * 60)
            out = raw
        else:
            pings += 1
            raw = frame(NETWORK.magic, "ping", number.to_bytes(8, "little"))
            changed = frame(NETWORK.magic, "ping", pings.to_bytes(8, "little"))
            out = raw if pings % EACH else b"" if pings % (2 * EACH) else changed
        sent += raw
        expected.update(out)
        size += len(out)
    got = hashlib.sha256()
    with listening() as server:
        proxy = Proxy(
            NETWORK, server.getsockname()[1], tmp_path, "-q", "-s", str(tmp_path / "altering.py")
        )
        try:
            with connect_over(transport, proxy.port, server) as (client, node):
                sender = threading.Thread(target=client.sendall, args=(bytes(sent),))
                sender.start()
                left = size
                while left:
                    data = node.recv(1 << 20)
                    assert data, "the proxy has closed"
                    got.update(data)
                    left -= len(data)
                sender.join(TIMEOUT)
            assert proxy.stop() == 0
        finally:
            proxy.close()
    assert got.digest() == expected.digest()
    altered = [each for each in open_capture(proxy.capture) if each.verdict != "pass"]
    assert len(altered) == MESSAGES // EACH
    assert [each.verdict for each in altered] == ["drop", "rewrite"] * (len(altered) // 2)
    assert altered[0].trail == ("altering: drop: every other",)
    assert altered[1].trail == ("altering: rewrite ping 8 B -> ping 8 B",)
    raws = hashlib.sha256()
    for each in open_capture(proxy.capture):
        raws.update(each.raw)
    assert raws.digest() == hashlib.sha256(sent).digest()
