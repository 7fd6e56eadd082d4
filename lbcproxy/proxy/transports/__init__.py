"""What the legs of a session speak: from bytes of a node to frames, and back (BIP324).

`LegTransports` decides which transport each leg has. On an encrypted leg, `EncryptedLeg` is our end
of the connection; a `PacketReceiver` turns the packets of a node into frames, and a `PacketSender`
turns deliveries into packets for a node.
"""

from __future__ import annotations

from lbcproxy.proxy.inspector import Inspector
from lbcproxy.proxy.settings import RelaySettings, Runtime
from lbcproxy.proxy.transports.leg_transports import LegTransports
from lbcproxy.proxy.transports.transport_host import TransportHost
from lbcproxy.proxy.wires import Wires
from lbcproxy.transport.kind import Transport

__all__ = ["LegTransports", "transports_of"]


def transports_of(
    host: TransportHost,
    settings: RelaySettings,
    runtime: Runtime,
    inspector: Inspector,
    wires: Wires,
) -> LegTransports | None:
    """Return the transports of a session; None if all bytes pass as they come."""
    chosen = {settings.client_transport, settings.upstream_transport}
    if Transport.OPAQUE in chosen:
        inspector.pass_unread("not read: transport opaque")
        return None
    if chosen == {Transport.V1}:
        return None
    return LegTransports(host, settings, runtime, inspector, wires)
