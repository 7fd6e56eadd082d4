"""Replace all addresses that nodes send each other by one, as that of the proxy.

Usage: lbcproxy run ... -s "pin_addresses host=10.0.0.5 port=9246"

Otherwise a node learns the real addresses of others and connects to them without the proxy.
"""

import ipaddress

import msgspec

from lbcproxy.plugin import Plugin, Replace


class PinAddresses(Plugin):
    """Rewrite `addr`, `addrv2`, and the sender's own address in `version`."""

    host: str
    port: int

    def on_version(self, session, message):
        own = getattr(message.record, "addr_from", None)
        if own is None:
            return None
        return Replace(message.replace(addr_from=_changed(own, ip=self._ip(), port=self.port)))

    def on_addr(self, session, message):
        if message.record is None:
            return None
        pinned = [
            _changed(each, ip=self._ip(), port=self.port) for each in message.record.addresses[:1]
        ]
        return Replace(message.replace(addresses=tuple(pinned)))

    def on_addrv2(self, session, message):
        if message.record is None:
            return None
        address = ipaddress.ip_address(self.host)
        network = 1 if address.version == 4 else 2
        pinned = [
            _changed(each, network_id=network, addr=address.packed, port=self.port)
            for each in message.record.addresses[:1]
        ]
        return Replace(message.replace(addresses=tuple(pinned)))

    def _ip(self):
        address = ipaddress.ip_address(self.host)
        return address.packed if address.version == 6 else bytes(10) + b"\xff\xff" + address.packed


def _changed(record, **changes):
    return msgspec.structs.replace(record, **changes)
